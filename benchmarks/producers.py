"""A process of each side defers: what a user of the Python package gets."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, upstream, wires
from benchmarks.server import install_ours
from tools import upstream as published

if TYPE_CHECKING:
    import pathlib

    from benchmarks.options import Options
    from benchmarks.server import Server

# Both packages bear one name: the same program runs on either, in a process of its own (-I).
PROGRAM = """\
import asyncio, logging, resource, sys, time
import procrastinate

dsn, kind, width, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
logging.disable()
connectors = {True: procrastinate.SyncPsycopgConnector, False: procrastinate.PsycopgConnector}
app = procrastinate.App(connector=connectors[kind == "sync"](conninfo=dsn))

@app.task(name="task", queue="q")
def task(a): pass

def heaviest():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

def say(wall, cpu):
    print(time.perf_counter() - wall, time.process_time() - cpu)

async def one_by_one(first, last):
    for a in range(first, last):
        await task.defer_async(a=a)

async def at_once(jobs):
    each = jobs // width
    await asyncio.gather(*(one_by_one(i * each, (i + 1) * each) for i in range(width)))

async def batches(jobs):
    arguments = [{"a": a} for a in range(width)]
    for _ in range(jobs // width):
        await task.batch_defer_async(*arguments)

async def memory(jobs):
    await batches(width)
    arguments = [{"a": a} for a in range(jobs)]
    before = heaviest()
    ids = await task.batch_defer_async(*arguments)
    assert len(ids) == jobs
    print(heaviest() - before, jobs)

async def main():
    async with app.open_async():
        if kind == "memory":
            return await memory(jobs)
        work = batches if kind == "batch" else at_once
        await work(width)  # connections, statements, the first pages of each relation
        wall, cpu = time.perf_counter(), time.process_time()
        await work(jobs)
        say(wall, cpu)

if kind == "sync":
    with app.open():
        task.defer(a=0)
        wall, cpu = time.perf_counter(), time.process_time()
        for a in range(jobs):
            task.defer(a=a)
        say(wall, cpu)
else:
    asyncio.run(main())
"""
PATIENCE = 900  # seconds for one process


@attrs.frozen
class Case:
    """One comparison: how wide a side defers, and how many jobs."""

    name: str
    kind: str
    width: int
    jobs: int
    base_width: int
    base_jobs: int
    bar: figures.Bar | None


CASES = (
    Case("one by one, async", "async", 1, 2_000, 1, 1_000, figures.at_least(2)),
    Case("one by one, sync", "sync", 1, 2_000, 1, 1_000, figures.at_least(1.5)),
    Case("10 at once", "async", 10, 20_000, 10, 2_000, figures.at_least(6)),
    # against 10 of 3.10, which it defers fastest
    Case("100 at once", "async", 100, 40_000, 10, 2_000, figures.at_least(10)),
    Case("batches of 1,000", "batch", 1_000, 50_000, 1_000, 10_000, figures.at_least(5)),
)
ALL_AT_ONCE = 1_000_000  # jobs of one batch
SOME_AT_ONCE = 100_000  # jobs of one batch of 3.10, which builds them all


def produce(
    server: Server, database: str, interpreter: str | pathlib.Path, kind: str, *shape: int
) -> tuple[float, float]:
    """Run the program; return the two numbers that it prints."""
    width, jobs = shape
    with server.connect(database) as conn:
        wires.empty(conn)
        done = subprocess.run(
            [interpreter, "-I", "-c", PROGRAM, server.dsn_of(database), kind, *map(str, shape)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        waiting = wires.count(conn, "todo")
    assert waiting >= jobs // width * width, f"{waiting} of {jobs} jobs wait"
    first, second = map(float, done.stdout.split())
    return first, second


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Both sides take turns, process by process."""
    report.start("producers", "jobs that a process defers", f"upstream {published.VERSION}")
    theirs = published.python()
    with server.database("ours") as ours, server.database("theirs") as base:
        install_ours(server, ours)
        upstream.install(server, base)
        for case in CASES:
            measure(server, options, report, case, (ours, sys.executable), (base, theirs))
        weigh(server, options, report, (ours, sys.executable), (base, theirs))


def measure(
    server: Server,
    options: Options,
    report: figures.Report,
    case: Case,
    ours: tuple[str, str],
    theirs: tuple[str, pathlib.Path],
) -> None:
    """Add the rates of a case, and Python's processor time for each job."""
    rates: list[float] = []
    base_rates: list[float] = []
    costs: list[float] = []
    base_costs: list[float] = []
    for _ in range(options.rounds):
        jobs = options.scaled(case.jobs, least=case.width)
        wall, cpu = produce(server, *ours, case.kind, case.width, jobs)
        rates.append(jobs / wall)
        costs.append(cpu / jobs * 1e6)
        jobs = options.scaled(case.base_jobs, least=case.base_width)
        wall, cpu = produce(server, *theirs, case.kind, case.base_width, jobs)
        base_rates.append(jobs / wall)
        base_costs.append(cpu / jobs * 1e6)
    report.add(case.name, "jobs/s", rates, base_rates, bar=case.bar)
    report.add(f"{case.name}, processor", "µs/job", costs, base_costs, cheaper=True)


def weigh(
    server: Server,
    options: Options,
    report: figures.Report,
    ours: tuple[str, str],
    theirs: tuple[str, pathlib.Path],
) -> None:
    """Add what a batch makes a process grow by, beside its arguments: bytes for each job."""
    sizes: list[float] = []
    base_sizes: list[float] = []
    for _ in range(options.rounds):
        grown, jobs = produce(
            server, *ours, "memory", 1_000, options.scaled(ALL_AT_ONCE, least=10_000)
        )
        sizes.append(grown * 1e6 / jobs)
        grown, jobs = produce(
            server, *theirs, "memory", 1_000, options.scaled(SOME_AT_ONCE, least=10_000)
        )
        base_sizes.append(grown * 1e6 / jobs)
    report.add(
        "one batch of 1,000,000, memory",
        "bytes/job",
        sizes,
        base_sizes,
        bar=figures.at_least(5),
        cheaper=True,
    )
