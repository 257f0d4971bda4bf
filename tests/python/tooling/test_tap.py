"""A file of SQL tests passes only if everything that it planned has run and held."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict

from procrastinate.contrib.embedded import EmbeddedServer
from tools import debian, pgtap, tap

ROOT = pathlib.Path(__file__).parents[3]

# pg_prove's options, in libpq's words.
WORDS = {"host": "host", "port": "port", "username": "user", "dbname": "dbname"}

# The SQL tests, on a machine where pgTAP is not to be had: first where it may be missing, then
# where it is required. One process for both: to start pytest costs more than these runs.
WITHOUT_PGTAP = """
import os, pytest
from tools import pgtap
pgtap.find = lambda: None
for variables in ({}, {pgtap.REQUIRED: "1"}):
    os.environ.update(variables)
    status = pytest.main(["-q", "-p", "no:cacheprovider", "tests/sql/views"])
    print(f"status {int(status)}")
"""


def test_a_file_whose_tests_all_hold_passes() -> None:
    assert tap.judge("1..2\nok 1 - one\nok 2 - two\n", "a notice", 0) == []
    assert tap.judge("1..1\nnot ok 1 - later # TODO not yet\n", "", 0) == []


@pytest.mark.parametrize(
    ("output", "status", "problem"),
    [
        ("1..1\nnot ok 1 - one\n# because\n", 0, "# because"),
        ("1..2\nok 1 - one\n", 0, "2 tests were planned, 1 ran"),
        ("1..1\nok 1\nok 2\n", 0, "1 tests were planned, 2 ran"),
        ("1..2\nok 1\nok 1\n", 0, "test 1 came as number 2"),
        ("ok 1\n", 0, "no plan"),
        ("1..0\n", 0, "0 tests were planned, 0 ran"),
        ("1..1\n1..1\nok 1\n", 0, "two plans"),
        ("1..1\nok 1\nBail out! no\n", 0, "Bail out! no"),
        ("1..1\nok 1\n", 3, "psql ended with status 3"),
    ],
)
def test_a_file_with_a_flaw_fails_and_says_which(
    output: str, status: int, problem: str
) -> None:
    assert problem in tap.judge(output, "", status)


def test_what_psql_complained_of_is_shown() -> None:
    assert tap.judge("1..1\n", "ERROR:  no such table\n", 3)[-1] == "ERROR:  no such table"


def test_missing_pgtap_skips_loudly_or_fails_where_it_is_required() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PGTAP],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != pgtap.REQUIRED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    missing, _, required = done.stdout.partition("status 0\n")
    assert "files of SQL tests were SKIPPED" in missing
    assert "PROCRASTINATE_REQUIRE_PGTAP is set" in required
    assert required.endswith("status 1\n")


def test_pg_prove_runs_the_files_as_they_are(
    tap_dsn: str, embedded_server: EmbeddedServer
) -> None:
    package = debian.unpacked("libtap-parser-sourcehandler-pgtap-perl")
    if package is None or not shutil.which("perl"):
        pytest.skip("pg_prove, a Perl program of Debian, is not to be had here")
    parts = conninfo_to_dict(tap_dsn)
    files = sorted((ROOT / "tests" / "sql").rglob("*.sql"))[:5]
    done = subprocess.run(
        [
            *("perl", f"-I{package / 'usr/share/perl5'}", str(package / "usr/bin/pg_prove")),
            *("--psql-bin", str(embedded_server.bin_directory / "psql")),
            *(f"--{option}={parts[word]}" for option, word in WORDS.items() if parts.get(word)),
            *map(str, files),
        ],
        env={**os.environ, "PGPASSWORD": str(parts.get("password") or "")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Files={len(files)}" in done.stdout
    assert "Result: PASS" in done.stdout
