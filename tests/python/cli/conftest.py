"""A program's app, and the command line as a program."""

from __future__ import annotations

import contextlib
import logging
import os
import pty
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Protocol

import attrs
import pytest

from procrastinate import cli

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

PROGRAM = """
    import asyncio
    import os
    import procrastinate

    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=os.environ["TEST_DSN"], min_size=1, max_size=4
        )
    )
    sync_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())
    no_app = 3

    @app.task(queue="sums", aliases=["plus"], priority=3)
    def add(a, b):
        print(a + b, flush=True)

    @app.task(lock="l", queueing_lock="ql")
    def locked():
        pass

    @app.task
    async def endless():
        await asyncio.Event().wait()

    @app.task
    def fail():
        raise ValueError("no")
"""


@attrs.frozen
class Outcome:
    """What a command left behind."""

    status: int | str | None
    out: str
    err: str


class Run(Protocol):
    """Runs a command line."""

    def __call__(self, *args: str, app: str | None = "cliapp.app") -> Outcome: ...


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[None]:
    """No variable of ours, an app to import, and a root logger as a fresh process has it."""
    for name in os.environ:
        if name.startswith("PROCRASTINATE"):
            monkeypatch.delenv(name)
    (tmp_path / "cliapp.py").write_text(textwrap.dedent(PROGRAM))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("TEST_DSN", "")
    monkeypatch.setenv("COLUMNS", "100")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.modules.pop("cliapp", None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process."""

    def run_one(*args: str, app: str | None = "cliapp.app") -> Outcome:
        logging.getLogger().handlers[:] = []
        monkeypatch.setattr(
            sys, "argv", ["procrastinate", *(("-a", app) if app else ()), *args]
        )
        capsys.readouterr()
        try:
            cli.main()
        except SystemExit as exc:
            status = exc.code
        else:
            status = 0
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run_one


@pytest.fixture
def database(dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The app's database."""
    monkeypatch.setenv("TEST_DSN", dsn)
    return dsn


class Start(Protocol):
    """Starts a program."""

    def __call__(self, *args: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    """Start ``python -m procrastinate`` as a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def start_one(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "procrastinate", *args],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_one
    for process in processes:
        process.kill()
        process.communicate()


class Terminal(Protocol):
    """Runs a command line on a terminal."""

    def __call__(self, *args: str, answer: str | None = None) -> Outcome: ...


@pytest.fixture
def terminal(tmp_path: pathlib.Path) -> Terminal:
    """
    Run ``procrastinate`` on a terminal of its own, where ``answer`` is typed.

    Everything that the terminal shows is ``out`` of what is returned.
    """

    def run_one(*args: str, answer: str | None = None) -> Outcome:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "procrastinate", "-a", "cliapp.app", *args],
            cwd=tmp_path,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        if answer is not None:
            os.write(ours, f"{answer}\n".encode())
        shown = b""
        with contextlib.suppress(OSError):  # Linux says EIO where the other end is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
        os.close(ours)
        return Outcome(process.wait(timeout=30), shown.decode().replace("\r\n", "\n"), "")

    return run_one
