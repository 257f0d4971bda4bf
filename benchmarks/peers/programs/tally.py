"""
What every Python program here says of a run, in one form: one line of JSON at its end.

Each program runs in the environment of the package that it measures, so this file may need
nothing but the standard library. The database comes in libpq's variables. All times are
nanoseconds of the machine's monotonic clock, which its processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import pathlib
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

Settings = dict[str, Any]
Answer = dict[str, Any]
WARM = 6  # defers of each client that are not timed: psycopg prepares a statement at the sixth

Verb = Callable[[Settings], Coroutine[Any, Any, Answer]]


def resident() -> float:
    """The megabytes that this process has in memory just now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Tally:
    """Which jobs a worker has run, each by its number, until all of them have."""

    def __init__(self, settings: Settings) -> None:
        self.jobs: int = settings["jobs"]
        self.patience: float = settings["patience"]
        self.seen = bytearray(self.jobs)
        self.stamps: list[tuple[int, int]] | None = [] if settings.get("stamps") else None
        self.others = 0  # jobs of the load, which have no number
        self._runs = itertools.count(1)  # its next() is atomic: sync tasks run in threads
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._end: Answer = {}
        self._quiet: float = settings.get("quiet", self.patience)
        self._gate = settings.get("gate", False)

    def begin(self) -> None:
        """Call this right before the worker starts."""
        print(json.dumps({"ready": time.monotonic_ns()}), flush=True)
        if self._gate:  # several workers start at one word
            sys.stdin.readline()
        self._start = time.monotonic_ns()
        self._cpu = time.process_time()
        self._last = self._start

    def run(self, number: int) -> None:
        if number < 0:
            self.others += 1
            return
        if self.stamps is not None:
            self.stamps.append((number, time.monotonic_ns()))
        self.seen[number] = min(255, self.seen[number] + 1)
        self._last = time.monotonic_ns()
        if next(self._runs) == self.jobs:
            self._end = self._now()
            self._loop.call_soon_threadsafe(self._done.set)

    def _now(self) -> Answer:
        return {
            "end": self._last,
            "cpu": time.process_time() - self._cpu,
            "rss": resident(),
        }

    async def wait(self) -> None:
        """
        Until all jobs have run, or patience is at its end: the count then says so.

        One worker of several runs only some of the jobs: it ends when none came for a while.
        """
        until = time.monotonic() + self.patience
        while not self._done.is_set():
            last = self._last
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._done.wait(), self._quiet)
            silent = self._last == last and last != self._start
            if not self._done.is_set() and (silent or time.monotonic() > until):
                self._end = self._now()
                break

    def answer(self) -> Answer:
        seen = self.seen.hex()
        stamps = self.stamps or []
        return {
            "start": self._start,
            "seen": seen,
            "stamps": stamps,
            "others": self.others,
        } | self._end


def numbers(jobs: int, size: int) -> Iterable[range]:
    """The numbers of the jobs, ``size`` at a time."""
    return (range(start, min(jobs, start + size)) for start in range(0, jobs, size))


async def clients(jobs: int, concurrent: int, one: Callable[[int], Awaitable[object]]) -> None:
    """Defer jobs 0, 1, … one by one in so many coroutines."""
    ahead = iter(range(jobs))

    async def client() -> None:
        for number in ahead:
            await one(number)

    await asyncio.gather(*(client() for _ in range(concurrent)))


async def defer(
    settings: Settings,
    one: Callable[[int], Awaitable[object]],
    many: Callable[[Sequence[int]], Awaitable[object]] | None = None,
) -> Answer:
    """Time jobs that are deferred in batches, or one by one."""
    jobs, batch, concurrent = settings["jobs"], settings["batch"], settings["concurrent"]
    for _ in range(WARM):  # connections are open, statements prepared
        await clients(concurrent, concurrent, one)
    start = time.monotonic_ns()
    if batch > 1:
        assert many is not None, "the package has no call for many jobs"
        for part in numbers(jobs, batch):
            await many(part)
    else:
        await clients(jobs, concurrent, one)
    end = time.monotonic_ns()
    return {"start": start, "end": end, "warm": WARM * concurrent}


async def trickle(settings: Settings, one: Callable[[int], Awaitable[object]]) -> Answer:
    """Defer one job after another, with pauses of random length; tell when each was begun."""
    dice = random.Random(settings["jobs"])
    stamps: list[tuple[int, int]] = []
    await asyncio.sleep(settings["ahead"])  # the worker has just been started
    for number in range(settings["jobs"]):
        await asyncio.sleep(settings["gap"] * dice.uniform(0.5, 1.5))
        stamps.append((number, time.monotonic_ns()))
        await one(number)
    return {"stamps": stamps}


def main(
    run: Callable[[Coroutine[Any, Any, Answer]], Answer] = asyncio.run, **verbs: Verb
) -> None:
    logging.disable()
    verb, settings = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(run(verbs[verb](settings))), flush=True)
