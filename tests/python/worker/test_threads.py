"""The threads of sync tasks."""

from __future__ import annotations

import asyncio
import queue
import subprocess
import sys
import threading
from typing import Any

import pytest

from procrastinate import App
from procrastinate.worker.threads import Threads

from .conftest import PATIENCE, Drain


class Ends(list[tuple[Any, BaseException | None]]):
    """What was told."""

    def __init__(self) -> None:
        super().__init__()
        self._told = asyncio.Event()

    def add(self, returned: Any, raised: BaseException | None) -> None:
        self.append((returned, raised))
        self._told.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self._told.clear()
            await self._told.wait()


async def test_what_was_returned_and_raised_is_told_on_the_loop() -> None:
    threads = Threads(asyncio.get_running_loop(), 2, "t")
    ends = Ends()
    here = threading.current_thread()
    told_in: set[threading.Thread] = set()

    def on_end(returned: Any, raised: BaseException | None) -> None:
        told_in.add(threading.current_thread())
        ends.add(returned, raised)

    def leave() -> None:
        raise SystemExit(3)

    threads.call(lambda: 7, on_end)
    await ends.until(1)
    threads.call(leave, on_end)
    await ends.until(2)
    threads.close()
    threads.join()

    assert ends[0] == (7, None)
    assert ends[1][0] is None
    assert isinstance(ends[1][1], SystemExit)
    assert told_in == {here}


async def test_a_free_thread_is_used_again_and_no_more_are_started_than_may_be() -> None:
    threads = Threads(asyncio.get_running_loop(), 2, "mine")
    ends = Ends()

    def name() -> str:
        return threading.current_thread().name

    for count in (1, 2):  # one after the other: the first thread is enough
        threads.call(name, ends.add)
        await ends.until(count)
    assert ends == [("mine_0", None)] * 2
    there = [t.name for t in threading.enumerate() if t.name.startswith("mine")]
    assert there == ["mine_0"]

    barrier = threading.Barrier(2, timeout=10)

    def together() -> str:
        barrier.wait()
        return name()

    for _ in range(4):  # two at once, twice
        threads.call(together, ends.add)
    await ends.until(6)
    threads.close()
    threads.join()
    assert {returned for returned, _ in ends[2:]} == {"mine_0", "mine_1"}


async def test_the_loop_is_woken_once_for_all_that_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    woken: list[Any] = []
    wake = loop.call_soon_threadsafe

    def count_and_wake(callback: Any, *args: Any) -> Any:
        woken.append(callback)
        return wake(callback, *args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count_and_wake)
    threads = Threads(loop, 1, "t")
    ends = Ends()
    all_called = threading.Event()
    for _ in range(100):
        threads.call(lambda: None, ends.add)
    threads.call(all_called.set, ends.add)
    all_called.wait(10)  # the loop is kept busy until then
    await ends.until(101)
    threads.close()
    threads.join()
    assert len(woken) <= 3


async def test_after_the_close_nothing_is_told_and_no_thread_is_left() -> None:
    threads = Threads(asyncio.get_running_loop(), 3, "closing")
    go: queue.SimpleQueue[None] = queue.SimpleQueue()
    ends = Ends()
    for _ in range(2):
        threads.call(go.get, ends.add)
    threads.close()
    go.put(None)
    go.put(None)
    threads.join()
    for _ in range(3):
        await asyncio.sleep(0)
    assert ends == []
    assert not [t for t in threading.enumerate() if t.name.startswith("closing")]


async def test_a_worker_that_has_ended_leaves_no_thread_behind(app: App, drain: Drain) -> None:
    ran_in: list[threading.Thread] = []

    @app.task(name="t")
    def task() -> None:
        ran_in.append(threading.current_thread())

    await task.batch_defer_async({}, {})
    await drain(name="mine")
    assert {thread.name for thread in ran_in} == {"procrastinate-mine_0"}
    for thread in ran_in:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_call_that_ends_after_its_loop_harms_nobody() -> None:
    go: queue.SimpleQueue[None] = queue.SimpleQueue()

    async def begin() -> Threads:
        threads = Threads(asyncio.get_running_loop(), 1, "t")
        threads.call(go.get, Ends().add)
        return threads

    threads = asyncio.run(begin())
    go.put(None)
    threads.close()
    threads.join()  # An error in a thread fails the test.


def test_a_program_ends_when_its_calls_have_though_nobody_closed_the_threads() -> None:
    program = """\
import asyncio, os, time
from procrastinate.worker.threads import Threads

def say(words):
    os.write(1, f"{words}\\n".encode())  # a line at a time, whoever speaks

def work():
    say("begins")
    time.sleep(0.2)  # the work
    say("ends")

async def main():
    threads = Threads(asyncio.get_running_loop(), 2, "t")
    threads.call(work, lambda *_: None)
    threads.call(lambda: None, lambda *_: None)

asyncio.run(main())
say("main has ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(done.stdout.splitlines()) == ["begins", "ends", "main has ended"]
    assert done.stderr == ""
