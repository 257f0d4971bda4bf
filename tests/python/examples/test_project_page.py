"""
The three examples of procrastinate 2.2's project page run, statement for statement.

``project_page/`` has them as they stand there; ``harness.py`` is what they leave out.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg.conninfo
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = pathlib.Path(__file__).parent
FIRST, SECOND, THIRD = (
    (HERE / "project_page" / f"{name}.txt").read_text() for name in ("first", "second", "third")
)

# The page's task sleeps 3 + 5 seconds. What is tested is that it was asked to.
SITECUSTOMIZE = """
import asyncio

sleep = asyncio.sleep


async def short_sleep(delay, result=None):
    if delay == 8:
        with open("slept", "w") as file:
            file.write(str(delay))
        delay = 0
    return await sleep(delay, result)


asyncio.sleep = short_sleep
"""

LIBPQ = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
}


@pytest.fixture
def environment(dsn: str, tmp_path: pathlib.Path) -> dict[str, str]:
    """The variables that libpq needs, since the examples say nothing of a server."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    programs = pathlib.Path(sys.executable).parent
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "PROCRASTINATE"))
        },
        **{name: str(given[key]) for key, name in LIBPQ.items() if given.get(key)},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": ".",
    }


def run_python(
    source: str, tmp_path: pathlib.Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "mycode.py").write_text(source)
    return subprocess.run(
        [sys.executable, str(HERE / "harness.py"), "mycode.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def jobs(conn: psycopg.Connection) -> list[Any]:
    return conn.execute(
        "select task_name, queue_name, args, status from procrastinate_jobs"
    ).fetchall()


DONE = [("mycode.sum", "sums", {"a": 3, "b": 5}, "succeeded")]


def test_the_sync_example_writes_its_file(
    tmp_path: pathlib.Path, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    outcome = run_python(FIRST, tmp_path, environment)

    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (tmp_path / "myfile").read_text() == "8"
    assert jobs(conn) == DONE


def test_the_async_example_sleeps_the_sum(
    tmp_path: pathlib.Path, environment: dict[str, str], conn: psycopg.Connection
) -> None:
    outcome = run_python(THIRD, tmp_path, environment)

    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert (tmp_path / "slept").read_text() == "8"
    assert jobs(conn) == DONE


@pytest.fixture
def shell(
    tmp_path: pathlib.Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """The second example, typed into a shell beside a module with the third one's app."""
    (tmp_path / "mycode.py").write_text(THIRD[: THIRD.index("async with")])
    process = subprocess.Popen(
        ["bash", "-e", "-c", SECOND],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_the_command_line_example_defers_a_job_and_runs_it(
    shell: subprocess.Popen[str], tmp_path: pathlib.Path, conn: psycopg.Connection
) -> None:
    lines: list[str] = []
    assert shell.stderr is not None
    for line in shell.stderr:
        lines.append(line.rstrip("\n"))
        if "ended with status" in line:
            break
    os.killpg(shell.pid, signal.SIGINT)  # as Ctrl-C does
    out, _ = shell.communicate(timeout=30)

    assert (shell.returncode, out) == (0, "")
    assert lines[:3] == [
        "Launching a job: mycode.sum(a=3, b=5)",
        "INFO:procrastinate.jobs:Deferred 1 job",
        "Launching a worker on sums",
    ]
    assert (tmp_path / "slept").read_text() == "8"
    assert jobs(conn) == DONE
