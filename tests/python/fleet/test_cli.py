"""3.10's own command line on a database of ours."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from . import tasks
from .conftest import environment

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def old_cli(old_python: pathlib.Path, dsn: str, tmp_path: pathlib.Path) -> CommandLine:
    """Run a command of 3.10's."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [old_python, "-m", "procrastinate", "--app=tasks.app", *words],
            cwd=tmp_path,
            env=environment(dsn),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_old_command_line_does_its_work_on_our_schema(
    old_cli: CommandLine, conn: psycopg.Connection
) -> None:
    conn.execute(tasks.TABLE)
    healthy = old_cli("healthchecks")
    assert healthy.stdout.splitlines() == [
        "App configuration: OK",
        "DB connection: OK",
        "Found procrastinate_jobs table: OK",
    ]
    locks = ("--queueing-lock=q", "--lock=l")
    assert old_cli("defer", *locks, "sleep", '{"seconds": 0}').returncode == 0
    twice = old_cli("defer", *locks, "work")
    assert twice.returncode == 1
    assert "already a job in the queue with the queueing lock q" in twice.stderr
    assert old_cli("defer", "--unknown", "--queue=z", "nobody").returncode == 0
    listed = old_cli("shell", "list_jobs", "status=todo", "details").stdout.splitlines()
    about = "attempts=0, priority=0, scheduled_at=None"
    assert listed == [
        f"#1 sleep on both - [todo] ({about}, args={{'seconds': 0}}, lock=l)",
        f"#3 nobody on z - [todo] ({about}, args={{}}, lock=None)",
    ]
    worked = old_cli("worker", "--one-shot", "--delete-jobs=successful")
    assert worked.returncode == 0, worked.stderr
    assert old_cli("shell", "list_jobs").stdout.splitlines() == ["#3 nobody on z - [failed]"]
    assert conn.execute("select * from procrastinate_check()").fetchall() == []
