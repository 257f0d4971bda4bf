"""Each SQL file below is a test: psql runs it, and prints what pg_prove would read."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from pytest_postgresql.janitor import DatabaseJanitor

from tools import pgtap

REQUIRED = "PROCRASTINATE_REQUIRE_PGTAP"

LINE = re.compile(r"(?P<bad>not )?ok (?P<number>\d+)(?P<rest>.*)")
PLAN = re.compile(r"1\.\.(?P<count>\d+)(?P<rest>.*)")


class SqlFile(pytest.File):
    """A file of pgTAP tests, one item."""

    def collect(self) -> Iterator[pytest.Function]:
        path = self.path

        def run(tap_dsn: str, psql: Callable[..., subprocess.CompletedProcess[str]]) -> None:
            done = psql(tap_dsn, "-q", "-A", "-t", "-f", str(path))
            problems = judge(done.stdout, done.stderr, done.returncode)
            if problems:
                pytest.fail("\n".join([str(path), *problems]), pytrace=False)

        yield cast(Any, pytest.Function).from_parent(self, name=path.stem, callobj=run)


def pytest_collect_file(file_path: pathlib.Path, parent: pytest.Collector) -> SqlFile | None:
    if file_path.suffix != ".sql":
        return None
    # pytest leaves the keywords of from_parent untyped.
    return cast(SqlFile, cast(Any, SqlFile).from_parent(parent, path=file_path))


def judge(output: str, errors: str, status: int) -> list[str]:
    """What is wrong with the output of a file of tests; nothing if all of them passed."""
    problems: list[str] = []
    planned: int | None = None
    seen = 0
    failing = False
    for line in output.splitlines():
        if plan := PLAN.match(line):
            if planned is not None:
                problems.append("two plans")
            planned = int(plan["count"])
        elif test := LINE.match(line):
            seen += 1
            if int(test["number"]) != seen:
                problems.append(f"test {test['number']} came as number {seen}")
            failing = bool(test["bad"]) and "# todo" not in test["rest"].lower()
            if failing:
                problems.append(line)
        elif line.startswith("#"):
            if failing:
                problems.append(line)
        elif line.startswith("Bail out!"):
            problems.append(line)
    if status:
        problems.append(f"psql ended with status {status}")
    if planned is None:
        problems.append("no plan")
    elif planned != seen or not seen:
        problems.append(f"{planned} tests were planned, {seen} ran")
    if problems and errors:
        problems.append(errors.strip())
    return problems


@pytest.fixture(scope="session")
def tap_dsn(
    request: pytest.FixtureRequest,
    server: Any,
    template: Any,
    make_database: Callable[..., DatabaseJanitor],
) -> Iterator[str]:
    """A database with the schema and pgTAP. Its tests roll back: one is enough for all."""
    script = pgtap.find()
    if script is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{pgtap.MISSING}, and {REQUIRED} is set", pytrace=False)
        pytest.skip(pgtap.MISSING)
    name = f"{template.dbname}_tap"
    with make_database(name, template=template.template_dbname):
        dsn = server.database(name)
        pgtap.install(dsn, script)
        yield dsn


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = "tests/sql/"
    reports = terminalreporter.getreports("skipped")
    skipped = sum(report.nodeid.startswith(here) for report in reports)
    if skipped:
        terminalreporter.write_sep(
            "!", f"{skipped} files of SQL tests were SKIPPED: {pgtap.MISSING}", red=True
        )
