"""On which event loop our own programs run, with uvloop and without it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, SyncPsycopgConnector, loops

if TYPE_CHECKING:
    import psycopg


class Loop(asyncio.SelectorEventLoop):
    """One that somebody else made."""


@pytest.fixture(autouse=True)
def without_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(loops.SWITCH, raising=False)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A uvloop whose loops can be told from others."""
    module: Any = types.ModuleType("uvloop")
    module.new_event_loop = Loop
    monkeypatch.setitem(sys.modules, "uvloop", module)


async def kind_of_loop() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


@pytest.mark.usefixtures("installed")
def test_uvloop_is_used_if_it_is_installed() -> None:
    assert loops.run(kind_of_loop()) is Loop


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("value", ["off", "0", "False", "no"])
def test_a_variable_turns_uvloop_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(loops.SWITCH, value)
    assert loops.run(kind_of_loop()) is not Loop


def test_without_uvloop_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # what imports as if it were not there
    kind = loops.run(kind_of_loop())
    assert kind.__module__.startswith("asyncio.")


@pytest.mark.usefixtures("installed")
async def test_the_loop_of_a_running_program_is_left_alone() -> None:
    before = asyncio.get_running_loop()
    main = kind_of_loop()
    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        loops.run(main)
    main.close()
    assert asyncio.get_running_loop() is before


@pytest.mark.usefixtures("installed")
def test_the_sync_worker_runs_on_it(dsn: str) -> None:
    app = App(connector=SyncPsycopgConnector(conninfo=dsn))
    kinds: list[type[asyncio.AbstractEventLoop]] = []

    @app.task(name="t")
    async def task() -> None:
        kinds.append(await kind_of_loop())

    with app.open():
        task.defer()
    app.run_worker(wait=False, install_signal_handlers=False)
    assert kinds == [Loop]


PROGRAM = """\
import asyncio, sys, threading
import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))

@app.task(name="in a thread")
def in_a_thread():
    assert threading.current_thread() is not threading.main_thread()

@app.task(name="in the loop")
async def in_the_loop():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0], flush=True)

app.run_worker(concurrency=2)
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_real_uvloop_runs_threads_and_heeds_signals(
    dsn: str, conn: psycopg.Connection, number: signal.Signals
) -> None:
    for name in ("in a thread", "in the loop"):
        conn.execute("select procrastinate_defer_job('default', %s)", [name])
    environment = {name: value for name, value in os.environ.items() if name != loops.SWITCH}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, dsn],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "uvloop\n"
        program.send_signal(number)
        rest, _ = program.communicate(timeout=30)
    assert (rest, program.returncode) == ("stopped\n", 0)
    ended = conn.execute("select status::text from procrastinate_jobs").fetchall()
    assert ended == [("succeeded",), ("succeeded",)]
