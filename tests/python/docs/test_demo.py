"""The demo does what it says, and leaves nothing behind."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from tests.conftest import Server

ROOT = pathlib.Path(__file__).parents[3]


def run_demo(**variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "PROCRASTINATE_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "tools.demo", "--orders", "300"],
        env={**inherited, **variables},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def marked(mark: str) -> list[str]:
    """The processes that have this word in their environment."""
    found: list[str] = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:  # it has ended, or is another user's
            continue
    return found


def test_the_demo_succeeds_on_its_own_server_and_leaves_no_process() -> None:
    mark = uuid.uuid4().hex

    done = run_demo(DEMO_MARK=mark)

    assert done.returncode == 0, done.stdout
    assert "PostgreSQL: the embedded server" in done.stdout
    for said in (
        "3 + 5 = 8",
        "20 + 22 = 42",
        "Hello, world!",
        "holds the lock customer-7",
        "jobs a second",
        "finds 0 breaches",
    ):
        assert said in done.stdout
    assert marked(mark) == []


def test_the_demo_uses_the_server_that_is_named_and_drops_its_database(server: Server) -> None:
    done = run_demo(PROCRASTINATE_DSN=server.dsn)

    assert done.returncode == 0, done.stdout
    assert "PostgreSQL: PROCRASTINATE_DSN" in done.stdout
    with psycopg.connect(server.dsn) as connection:
        left = connection.execute(
            "select datname from pg_database where datname ^@ 'procrastinate_demo_'"
        ).fetchall()
    assert left == []


def test_a_demo_without_a_server_fails_and_says_so() -> None:
    done = run_demo(PROCRASTINATE_DSN="host=127.0.0.1 port=1 connect_timeout=2")

    assert done.returncode == 1
    assert "The demo FAILED" in done.stdout
