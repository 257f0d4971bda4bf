"""The command and the settings it reads."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Generator

import psycopg.conninfo
import pytest

from procrastinate.contrib import saq
from procrastinate.contrib.saq import __main__ as command
from procrastinate.contrib.saq import worker as worker_module
from procrastinate.contrib.saq.errors import MissingDependencyError
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import PATIENCE

SETTINGS = """
import multiprocessing, os, sys, threading
from procrastinate.contrib import saq

async def add(ctx, *, a, b):
    return a + b

settings = {"queue": saq.Queue.from_url(os.environ["DSN"]), "functions": [add]}

def made():
    return settings

is_first = multiprocessing.parent_process() is None

def broken_beside_one_that_runs():
    if not is_first:
        threading.Event().wait()
    raise LookupError("no settings today")

def broken_beside_one_that_has_ended():
    if not is_first:
        sys.exit()
    for other in multiprocessing.active_children():
        other.join()
    raise LookupError("no settings today")

nothing = {}
"""


@pytest.fixture
def home(tmp_path: pathlib.Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A directory with a module of settings."""
    (tmp_path / "saq_settings.py").write_text(SETTINGS)
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    monkeypatch.setenv("DSN", f"postgresql://?{urllib.parse.urlencode(parts)}")
    return tmp_path


@contextlib.contextmanager
def say(home: pathlib.Path, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    """Run the command; what it leaves behind is killed."""
    root = pathlib.Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-m", "procrastinate.contrib.saq", *arguments],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


async def test_the_command_runs_a_worker_that_a_check_finds_and_a_signal_ends(
    home: pathlib.Path, queue: PostgresQueue
) -> None:
    with say(home, "saq_settings.made", "-q") as process:
        assert await queue.apply("add", timeout=PATIENCE, a=1, b=2) == 3
        with say(home, "saq_settings.settings", "--check") as check:
            assert await asyncio.to_thread(check.wait, PATIENCE) == 0
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0
    with say(home, "saq_settings.settings", "--check") as check:
        _, told = await asyncio.to_thread(check.communicate, timeout=PATIENCE)
    assert check.returncode == 1
    assert "No active workers found for queue default" in told


async def test_several_workers_live_and_end_as_one(
    home: pathlib.Path, queue: PostgresQueue
) -> None:
    with say(home, "saq_settings.made", "-q", "--workers", "2") as process:
        async with asyncio.timeout(PATIENCE):
            while len((await queue.info())["workers"]) < 2:
                pass  # each look is a round trip
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0

    assert (await queue.info())["workers"] == {}


@pytest.mark.parametrize("beside", ["one_that_runs", "one_that_has_ended"])
def test_a_worker_that_can_not_start_takes_the_others_along(
    home: pathlib.Path, beside: str
) -> None:
    with say(home, f"saq_settings.broken_beside_{beside}", "--workers", "2") as process:
        _, told = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "LookupError: no settings today" in told


def test_settings_are_what_a_path_leads_to_or_what_that_returns(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(home), *sys.path])

    settings = worker_module.import_settings("saq_settings.settings")

    assert worker_module.import_settings("saq_settings.made") is settings
    assert isinstance(settings.get("queue"), saq.Queue)
    with pytest.raises(AttributeError):
        worker_module.import_settings("saq_settings.absent")
    with pytest.raises(ModuleNotFoundError):
        worker_module.import_settings("no_such_module.settings")


def test_a_check_of_settings_without_a_queue_says_what_they_lack(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(home), *sys.path])

    with pytest.raises(ValueError, match=r"The settings saq_settings\.nothing name no queue"):
        worker_module.check_health("saq_settings.nothing")


def test_the_web_interface_is_refused_with_a_sentence() -> None:
    with pytest.raises(SystemExit, match="There is no web interface here"):
        command.main(["some.settings", "--web"])
    with pytest.raises(MissingDependencyError, match="There is no web interface here"):
        worker_module.start("some.settings", web=True)


@pytest.mark.parametrize("name", ["queue.redis", "queue.http", "multiplexer", "web"])
def test_what_is_not_here_says_so_when_it_is_imported(name: str) -> None:
    with pytest.raises(MissingDependencyError, match=r"There is no .* here"):
        importlib.import_module(f"procrastinate.contrib.saq.{name}")
