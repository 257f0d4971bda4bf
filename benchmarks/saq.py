"""
SAQ's interface over our queue beside SAQ itself: the same program, but for its imports.

Each measure runs in a process of its own, with queue and worker on one loop, as SAQ's own
documentation shows them.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING

import attrs
import psycopg.conninfo

from benchmarks import figures
from benchmarks.peers import environments
from benchmarks.server import install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.server import Server

PUBLISHED = environments.Python(package="saq", version="0.26", extras="[postgres]")
IMPORTS = {"ours": "from procrastinate.contrib import saq", "theirs": "import saq"}

# What a drain takes ends with the last job's run, for both alike.
PROGRAM = """\
import asyncio, logging, sys, time
IMPORT

dsn, measure, number, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
logging.disable()

async def task(ctx, *, n):
    global ran
    ran += 1
    if ran == jobs:
        ended.set()
    return n

async def drain(queue):
    worker = saq.Worker(queue, [task], concurrency=number)
    began, cpu = time.perf_counter(), time.process_time()
    run = asyncio.create_task(worker.start())
    await ended.wait()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(jobs / wall, wall, cpu)
    await worker.stop()
    await run

async def served(queue, ask):
    worker = saq.Worker(queue, [task], concurrency=number)
    run = asyncio.create_task(worker.start())
    await queue.apply("task", n=-1)  # it serves
    await ask(queue)
    await worker.stop()
    await run

async def map_(queue):
    began = time.perf_counter()
    results = await queue.map("task", [{"n": n} for n in range(jobs)])
    print(jobs / (time.perf_counter() - began))
    assert results == list(range(jobs))

async def apply(queue):
    took = []
    for n in range(jobs):
        began = time.perf_counter()
        assert await queue.apply("task", n=n) == n
        took.append(time.perf_counter() - began)
    print(sorted(took)[jobs // 2] * 1000)

async def main():
    global ended, ran
    ended, ran = asyncio.Event(), 0
    queue = saq.Queue.from_url(dsn)
    await queue.connect()
    if measure == "fill":
        await asyncio.gather(*(fill(queue, first) for first in range(8)))
    elif measure == "drain":
        await drain(queue)
    else:
        await served(queue, map_ if measure == "map" else apply)
    await queue.disconnect()

async def fill(queue, first):
    for n in range(first, jobs, 8):
        await queue.enqueue("task", n=n)

asyncio.run(main())
"""
PATIENCE = 90  # seconds for one program; the longest needs a tenth


@attrs.frozen
class Measure:
    """One comparison; SAQ is given fewer jobs, for it takes longer."""

    name: str
    kind: str
    concurrency: int
    jobs: int
    base_jobs: int
    unit: str
    bar: figures.Bar


MEASURES = (
    Measure("drain, concurrency 1", "drain", 1, 2_000, 1_000, "jobs/s", figures.at_least(4)),
    Measure("drain, concurrency 10", "drain", 10, 5_000, 1_000, "jobs/s", figures.at_least(8)),
    Measure(
        "drain, concurrency 50", "drain", 50, 10_000, 1_000, "jobs/s", figures.at_least(12)
    ),
    Measure(
        "map of 1,000, concurrency 50", "map", 50, 1_000, 1_000, "jobs/s", figures.at_least(10)
    ),
    Measure("apply, p50", "apply", 10, 50, 10, "ms", figures.at_most(1)),
)


def program(
    interpreter: str, side: str, dsn: str, kind: str, concurrency: int, jobs: int
) -> list[float]:
    """Return what a program of one side has measured, its figure first."""
    text = PROGRAM.replace("IMPORT", IMPORTS[side], 1)
    done = subprocess.run(
        [interpreter, "-I", "-c", text, dsn, kind, str(concurrency), str(jobs)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if done.returncode:
        raise RuntimeError(f"{side}, {kind}: {environments.last_line(done.stderr)}")
    return [float(word) for word in done.stdout.split()]


def measure(server: Server, interpreter: str, side: str, case: Measure, jobs: int) -> float:
    """Measure one side once, in a database of its own."""
    with server.database(f"saq_{side}") as database:
        if side == "ours":
            install_ours(server, database)
        dsn = url(server.dsn_of(database))
        if case.kind == "drain":
            program(interpreter, side, dsn, "fill", 0, jobs)
        return program(interpreter, side, dsn, case.kind, case.concurrency, jobs)[0]


def _their_turn(
    server: Server, interpreter: str, case: Measure, jobs: int, report: figures.Report
) -> float:
    """Measure SAQ once; a turn in which a job is never run is told, and tried once more."""
    try:
        return measure(server, interpreter, "theirs", case, jobs)
    except subprocess.TimeoutExpired:
        report.say(f"SAQ, {case.name}: not all jobs had run after {PATIENCE} s; once more")
        return measure(server, interpreter, "theirs", case, jobs)


def url(conninfo: str) -> str:
    """Return a connection string as SAQ knows them."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://?{urllib.parse.urlencode(parts)}"


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Both sides take turns, measure by measure."""
    version = PUBLISHED.ready()
    report.start("saq", "SAQ's interface over our queue", f"SAQ {version}")
    theirs = str(PUBLISHED.interpreter)
    for case in MEASURES:
        ours: list[float] = []
        base: list[float] = []
        for _ in range(options.rounds):
            jobs, fewer = options.scaled(case.jobs), options.scaled(case.base_jobs)
            if case.kind == "apply":
                jobs, fewer = case.jobs, case.base_jobs
            ours.append(measure(server, sys.executable, "ours", case, jobs))
            base.append(_their_turn(server, theirs, case, fewer, report))
        report.add(case.name, case.unit, ours, base, bar=case.bar)
