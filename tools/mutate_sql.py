"""
Asks the tests what they hold: breaks the SQL in one place at a time and sees which notice.

    python -m tools.mutate_sql sql/functions/front sql/triggers/jobs_deleted.sql
    python -m tools.mutate_sql --again          # only what survived so far, after new tests
    python -m tools.mutate_sql --suites ...     # survivors of pgTAP, through these pytest paths
    python -m tools.mutate_sql --every 3        # a sample: each third mutant of a file
    python -m tools.mutate_sql --report         # what is known so far

Each mutant of `tools.mutants` is put into a database of its file's own, on an embedded server,
and the pgTAP files that call the function or name it run there: the one that mirrors the file,
those that name it, the others (those that noticed most so far first). The first that fails
ends it. Two of these may run beside each other, over different files. With `--suites`, what no
pgTAP file noticed is given to pytest, whose databases take the mutant from
PROCRASTINATE_TEST_PATCH.

What was found is kept in .cache/mutants.jsonl; a mutant that stands there is not tried again
unless its file has changed. A mutant that PostgreSQL refuses to create counts for nothing.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import attrs
import psycopg
from psycopg import sql

from procrastinate import migrations
from procrastinate.contrib.embedded import EmbeddedServer
from tools import mutants, pgtap, tap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).parent.parent
KEPT = ROOT / ".cache" / "mutants.jsonl"
TESTS = ROOT / "tests" / "sql"
DEFAULT = ("sql/functions", "sql/triggers", "sql/views")
PATCH = "PROCRASTINATE_TEST_PATCH"
TEMPLATE, DATABASE = "mutants_template", "mutants_own"
HEAD = "set search_path to public, pg_temp; set plpgsql.extra_errors = 'all';\n"
TOO_LONG = "10s"  # for one statement of a test: a mutant may loop for ever

STILLBORN, SURVIVED = "stillborn", "survived"


@attrs.frozen
class Verdict:
    """What became of a mutant: `by` is the test that noticed, or one of the two words above."""

    file: str
    line: int
    what: str
    text: str  # what the mutant says, to know it again
    by: str


def replacing(text: str) -> str:
    """A file of sql/ as it can be run again over itself."""
    return HEAD + re.sub(
        r"^create (function|view|trigger)", r"create or replace \1", text, flags=re.MULTILINE
    )


def objects_of(text: str) -> list[str]:
    return re.findall(r"^create (?:function|view) (\w+)", text, flags=re.MULTILINE)


def named(path: pathlib.Path, names: Iterable[str]) -> bool:
    text = path.read_text()
    return any(name in text for name in names)


@attrs.define
class Laboratory:
    """A server, and on it the database in which one file's mutants live one after another."""

    server: EmbeddedServer
    calls: dict[str, set[pathlib.Path]] = attrs.field(factory=dict[str, set[pathlib.Path]])
    noticed: collections.Counter[pathlib.Path] = attrs.field(factory=collections.Counter)

    def set_up(self) -> None:
        script = pgtap.find()
        if script is None:
            raise SystemExit(pgtap.MISSING)
        self._create(TEMPLATE)
        with psycopg.connect(self.server.dsn(TEMPLATE), autocommit=True) as connection:
            connection.execute(migrations.one_file_schema().encode())
        pgtap.install(self.server.dsn(TEMPLATE), script)
        self.renew()
        for path in TESTS.rglob("*.sql"):
            for name in self._called_by(path):
                self.calls.setdefault(name, set()).add(path)

    def renew(self) -> None:
        """The database of the next file."""
        self._create(DATABASE, TEMPLATE)

    def _create(self, name: str, template: str = "template1") -> None:
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )
            connection.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )

    def install(self, text: str) -> str | None:
        """Put a file's text in place of what is there; the error if PostgreSQL refuses."""
        try:
            with psycopg.connect(self.server.dsn(DATABASE)) as connection:
                connection.execute(replacing(text).encode())
        except psycopg.Error as error:
            return str(error)
        return None

    def order(self, file: pathlib.Path, text: str) -> list[pathlib.Path]:
        """The pgTAP files that may notice, the likeliest first."""
        mirror = TESTS / file.relative_to(ROOT / "sql")
        names = objects_of(text)
        # a call that raises is not counted, nor one of what became a part of a query
        calling = {path for name in names for path in self.calls.get(name, ())}
        naming = {path for path in TESTS.rglob("*.sql") if named(path, names)}

        def key(path: pathlib.Path) -> tuple[bool, bool, int]:
            return path != mirror, path not in naming, -self.noticed[path]

        return sorted(calling | naming if calling else TESTS.rglob("*.sql"), key=key)

    def who_notices(self, files: Iterable[pathlib.Path]) -> pathlib.Path | None:
        for path in files:
            if self._fails(path):
                self.noticed[path] += 1
                return path
        return None

    def _fails(self, path: pathlib.Path) -> bool:
        done = self._psql("-f", str(path))
        return bool(tap.judge(done.stdout, done.stderr, done.returncode))

    def _called_by(self, path: pathlib.Path) -> list[str]:
        """The functions that a file of tests calls, whoever calls them for it."""
        count = "select funcname from pg_stat_user_functions where calls > 0"
        flush = "select pg_stat_force_next_flush()"
        done = self._psql("-c", "select pg_stat_reset()", "-f", str(path), "-c", flush)
        done = self._psql("-c", count)
        return done.stdout.split()

    def _psql(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        psql = str(self.server.bin_directory / "psql")
        options = f"-c statement_timeout={TOO_LONG} -c track_functions=all"
        return subprocess.run(
            [psql, "-X", "-q", "-A", "-t", "-d", self.server.dsn(DATABASE), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGOPTIONS": options},
        )


def files_of(paths: Iterable[str]) -> Iterator[pathlib.Path]:
    for path in paths:
        place = ROOT / path
        yield from sorted(place.rglob("*.sql")) if place.is_dir() else [place]


def kept() -> dict[str, Verdict]:
    """What is known, by what the mutant says; the last word counts."""
    if not KEPT.exists():
        return {}
    verdicts = (Verdict(**json.loads(line)) for line in KEPT.read_text().splitlines())
    return {verdict.text: verdict for verdict in verdicts}


def keep(verdict: Verdict) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps(attrs.asdict(verdict)) + "\n")
    if verdict.by == SURVIVED:
        print(f"{verdict.file}:{verdict.line}: {verdict.what}", flush=True)


def try_file(
    laboratory: Laboratory, file: pathlib.Path, *, again: bool, every: int = 1
) -> None:
    """The mutants of a file through the pgTAP tests."""
    text = file.read_text()
    name = str(file.relative_to(ROOT))
    known = kept()
    begun = time.monotonic()
    count = 0
    laboratory.renew()
    for mutant in mutants.mutants(text)[::every]:
        said = mutant.applied(text)
        old = known.get(said)
        if old.by != SURVIVED if again and old else again or old:
            continue
        count += 1
        line = text.count("\n", 0, mutant.start) + 1
        by = STILLBORN
        if laboratory.install(said) is None:
            found = laboratory.who_notices(laboratory.order(file, text))
            by = SURVIVED if found is None else str(found.relative_to(ROOT))
            laboratory.install(text)
        keep(Verdict(name, line, mutant.described(text), said, by))
    if count:
        print(f"{name}: {count} mutants in {time.monotonic() - begun:.0f} s", flush=True)


def try_suites(server: EmbeddedServer, files: set[str], suites: list[str]) -> None:
    """What no pgTAP file noticed, through pytest."""
    patch = KEPT.with_name("mutant.sql")
    for verdict in kept().values():
        if verdict.by != SURVIVED or verdict.file not in files:
            continue
        patch.write_text(replacing(verdict.text))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *suites],
            env={**os.environ, PATCH: str(patch), "PROCRASTINATE_DSN": server.dsn()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if failed := re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE):
            keep(attrs.evolve(verdict, by=failed[1]))
        elif done.returncode:
            raise SystemExit(done.stdout + done.stderr)


def report(files: Iterable[pathlib.Path]) -> None:
    """A line a file, and the survivors."""
    known = kept()
    total: collections.Counter[str] = collections.Counter()
    left: list[Verdict] = []
    for file in files:
        text = file.read_text()
        said = [mutant.applied(text) for mutant in mutants.mutants(text)]
        found = [known[mutant] for mutant in said if mutant in known]
        if not found:
            continue
        of_file = collections.Counter(
            verdict.by if verdict.by in {STILLBORN, SURVIVED} else "noticed"
            for verdict in found
        )
        total += of_file
        left += [verdict for verdict in found if verdict.by == SURVIVED]
        print(f"{file.relative_to(ROOT)}: {dict(of_file)}, {len(said) - len(found)} not tried")
    for verdict in left:
        print(f"{verdict.file}:{verdict.line}: {verdict.what}")
    print(dict(total))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.mutate_sql", description=__doc__)
    parser.add_argument("paths", nargs="*", default=DEFAULT)
    parser.add_argument("--again", action="store_true", help="only those that survived")
    parser.add_argument("--suites", nargs="+", default=[], help="pytest paths, for survivors")
    parser.add_argument("--every", type=int, default=1, help="a sample: each nth of a file")
    parser.add_argument("--report", action="store_true", help="print what is known")
    options = parser.parse_args()
    files = list(files_of(options.paths))
    if options.report:
        report(files)
        return
    with EmbeddedServer(durable=False, settings={"max_connections": "200"}) as server:
        if options.suites:
            names = {str(file.relative_to(ROOT)) for file in files}
            try_suites(server, names, options.suites)
            return
        laboratory = Laboratory(server)
        laboratory.set_up()
        for file in files:
            try_file(laboratory, file, again=options.again, every=options.every)


if __name__ == "__main__":
    main()
