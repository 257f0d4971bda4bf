"""Each SQL file below is a test: psql runs it, and prints what pg_prove would read."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tools import pgtap, tap


class SqlFile(pytest.File):
    """A file of pgTAP tests, one item."""

    def collect(self) -> Iterator[pytest.Function]:
        path = self.path

        def run(tap_dsn: str, psql: Callable[..., subprocess.CompletedProcess[str]]) -> None:
            done = psql(tap_dsn, "-q", "-A", "-t", "-f", str(path))
            problems = tap.judge(done.stdout, done.stderr, done.returncode)
            if problems:
                pytest.fail("\n".join([str(path), *problems]), pytrace=False)

        yield cast(Any, pytest.Function).from_parent(self, name=path.stem, callobj=run)


def pytest_collect_file(file_path: pathlib.Path, parent: pytest.Collector) -> SqlFile | None:
    if file_path.suffix != ".sql":
        return None
    # pytest leaves the keywords of from_parent untyped.
    return cast(SqlFile, cast(Any, SqlFile).from_parent(parent, path=file_path))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = "tests/sql/"
    reports = terminalreporter.getreports("skipped")
    skipped = sum(report.nodeid.startswith(here) for report in reports)
    if skipped:
        terminalreporter.write_sep(
            "!", f"{skipped} files of SQL tests were SKIPPED: {pgtap.MISSING}", red=True
        )
