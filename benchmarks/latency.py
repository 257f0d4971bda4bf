"""How soon a job starts: deferred to an idle worker, beside other jobs, and when it falls due."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TypeAlias

import attrs

from benchmarks import figures, upstream, wires
from benchmarks.server import install_ours
from tools import upstream as published

if TYPE_CHECKING:
    import pathlib

    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

# Both packages bear one name: the same program runs on either, in processes of its own (-I).
# The clocks of two processes on one machine are one.
PROGRAM = """\
import asyncio, datetime, json, logging, random, sys, time
import procrastinate

part, dsn, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
late = []

@app.task(name="probe", queue="q")
async def probe(at): late.append(time.time() - at)

@app.task(name="load", queue="q")
async def load(): pass

async def work():
    await app.run_worker_async(queues=["q"], concurrency=10)
    print(json.dumps(late))

async def defer():
    for _ in range(count):
        await probe.defer_async(at=time.time())
        await asyncio.sleep(random.uniform(0.01, 0.03))

async def schedule():
    for _ in range(count):
        at = time.time() + random.uniform(0.2, 0.4)
        due = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        await probe.configure(schedule_at=due).defer_async(at=at)
        await asyncio.sleep(random.uniform(0.01, 0.03))

async def burden():
    every = 10 / count
    then = time.perf_counter()
    while True:
        await load.batch_defer_async(*({} for _ in range(10)))
        then += every
        await asyncio.sleep(max(0, then - time.perf_counter()))

async def main():
    async with app.open_async():
        await globals()[part]()

asyncio.run(main())
"""
PROBES = 300
WARM = 30  # probes at the start of each run that do not count
LOAD = 500  # other jobs a second
PATIENCE = 120  # seconds for the jobs that are left when the last one was deferred
SOON = figures.at_most(20)  # milliseconds

Process: TypeAlias = "subprocess.Popen[str]"


@attrs.frozen
class Case:
    """What is deferred beside what, and the bars of the ratios at the median and at 99 %."""

    name: str
    part: str
    load: int = 0
    bars: tuple[figures.Bar | None, figures.Bar | None] = (None, None)


CASES = (
    Case("idle worker", "defer", 0, (figures.at_most(0.45), figures.at_most(0.5))),
    Case(f"{LOAD} jobs/s", "defer", LOAD, (figures.at_most(0.4), figures.at_most(0.3))),
)
DUE = (
    Case("due, idle worker", "schedule", bars=(SOON, SOON)),
    Case(f"due, {LOAD} jobs/s", "schedule", LOAD, (SOON, SOON)),
)


@attrs.frozen
class Side:
    """One package with its database."""

    dsn: str
    conn: Connection
    interpreter: str | pathlib.Path

    def start(self, part: str, count: int = 0) -> Process:
        command = [self.interpreter, "-I", "-c", PROGRAM, part, self.dsn, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def until_nothing_waits(self) -> None:
        end = time.monotonic() + PATIENCE
        while wires.count(self.conn, "todo") or wires.count(self.conn, "doing"):
            if time.monotonic() > end:
                raise wires.StuckError("jobs are left long after the last one was deferred")
            time.sleep(0.05)

    def measure(self, case: Case, probes: int) -> tuple[float, float, int]:
        """Return the milliseconds at the median and at 99 %, and how many jobs waited at last."""
        wires.empty(self.conn)
        wires.settle(self.conn)
        worker = self.start("work")
        burden = self.start("burden", case.load) if case.load else None
        try:
            deferring = self.start(case.part, WARM + probes)
            deferring.communicate(timeout=PATIENCE)
            assert deferring.returncode == 0, "the jobs could not be deferred"
            left = wires.count(self.conn, "todo")
        finally:
            if burden is not None:
                burden.kill()
                burden.communicate()
            self.until_nothing_waits()
            worker.terminate()
            printed, _ = worker.communicate(timeout=PATIENCE)
        late: list[float] = json.loads(printed)
        assert len(late) == WARM + probes, f"{len(late)} of {WARM + probes} jobs ran"
        parts = statistics.quantiles(late[WARM:], n=100)
        return parts[49] * 1e3, parts[98] * 1e3, left


def compare(case: Case, sides: list[Side], options: Options, report: figures.Report) -> None:
    """Each side in turn, round by round; the second, if any, is what the first is held to."""
    took: list[tuple[list[float], list[float]]] = [([], []) for _ in sides]
    for _ in range(options.rounds):
        for side, (middle, tail) in zip(sides, took, strict=True):
            p50, p99, left = side.measure(case, options.scaled(PROBES))
            middle.append(p50)
            tail.append(p99)
            if left > LOAD:
                name = "ours" if side is sides[0] else published.VERSION
                report.say(f"{name} fell behind: {left:,} jobs waited at last")
    for at, bar, name in zip((0, 1), case.bars, ("p50", "p99"), strict=True):
        base = took[1][at] if len(took) > 1 else ()
        report.add(f"{case.name}, {name}", "ms", took[0][at], base, bar=bar)


def run(server: Server, options: Options, report: figures.Report) -> None:
    """From the call that defers to the task's first line, and from its time to that."""
    report.start("latency", "milliseconds until a job starts", f"upstream {published.VERSION}")
    theirs = published.python()
    with server.database("ours") as ours, server.database("theirs") as base:
        install_ours(server, ours)
        upstream.install(server, base)
        with server.connect(ours) as conn, server.connect(base) as old_conn:
            sides = [
                Side(server.dsn_of(ours), conn, sys.executable),
                Side(server.dsn_of(base), old_conn, theirs),
            ]
            for case in CASES:
                compare(case, sides, options, report)
            for case in DUE:  # 3.10 looks for them every five seconds
                compare(case, sides[:1], options, report)
