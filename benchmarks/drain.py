"""A worker of each side drains a full queue: what a user of the Python package gets."""

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
import asyncio, logging, sys, time
import procrastinate

dsn, kind, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3])
logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

if kind == "async":
    @app.task(name="task", queue="q")
    async def task(a): pass
else:
    @app.task(name="task", queue="q")
    def task(a): pass

async def main():
    async with app.open_async():
        wall, cpu = time.perf_counter(), time.process_time()
        await app.run_worker_async(queues=["q"], concurrency=concurrency, wait=False)
        print(time.perf_counter() - wall, time.process_time() - cpu)

asyncio.run(main())
"""
PATIENCE = 600  # seconds for one drain


@attrs.frozen
class Drain:
    """One comparison: 3.10 with the setting that suits it best, if none is given for it."""

    name: str
    concurrency: int
    jobs: int
    bar: figures.Bar
    kind: str = "async"
    locks: int = 0
    base_concurrency: int = 50
    base_jobs: int = 1_000


DRAINS = (
    Drain("async, concurrency 1", 1, 2_000, figures.at_least(3)),
    Drain("async, concurrency 10", 10, 10_000, figures.at_least(17)),
    Drain("async, concurrency 50", 50, 25_000, figures.at_least(32)),
    Drain("async, concurrency 100", 100, 40_000, figures.at_least(42)),
    Drain("async, concurrency 500", 500, 60_000, figures.at_least(55)),
    Drain(
        "sync, concurrency 10",
        10,
        10_000,
        figures.at_least(10),
        kind="sync",
        base_concurrency=10,
    ),
    Drain(
        "100 locks, concurrency 10",
        10,
        5_000,
        figures.at_least(13),
        locks=100,
        base_concurrency=10,
        base_jobs=5_000,  # as many: those that wait for a lock are what its fetch reads
    ),
    Drain(
        "one lock, concurrency 1",
        1,
        1_000,
        figures.at_least(8),
        locks=1,
        base_concurrency=1,
    ),
)


def drain(
    server: Server,
    database: str,
    interpreter: str | pathlib.Path,
    shape: tuple[str, int],
    jobs: int,
    locks: int,
) -> tuple[float, float]:
    """Return jobs a second, and the microseconds of Python's processor time for each."""
    fill(server, database, jobs, locks)
    wall, cpu = work(server, database, interpreter, shape, jobs)
    return jobs / wall, cpu / jobs * 1e6


def fill(server: Server, database: str, jobs: int, locks: int) -> None:
    """Leave these jobs in the database, and nothing else."""
    with server.connect(database) as conn:
        wires.empty(conn)
        wires.fill(conn, jobs, locks=locks)
        wires.settle(conn)


def work(
    server: Server,
    database: str,
    interpreter: str | pathlib.Path,
    shape: tuple[str, int],
    jobs: int,
) -> tuple[float, float]:
    """Return the seconds that a worker takes for them, and those of Python's processor time."""
    kind, concurrency = shape
    done = subprocess.run(
        [interpreter, "-I", "-c", PROGRAM, server.dsn_of(database), kind, str(concurrency)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    with server.connect(database) as conn:
        succeeded = wires.count(conn, "succeeded")
    assert succeeded == jobs, f"{succeeded} of {jobs} jobs succeeded"
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Both sides take turns, drain by drain."""
    report.start("drain", "jobs a second of one worker", f"upstream {published.VERSION}")
    theirs = published.python()
    with server.database("ours") as ours, server.database("theirs") as base:
        install_ours(server, ours)
        upstream.install(server, base)
        for case in DRAINS:
            rates: list[float] = []
            base_rates: list[float] = []
            for _ in range(options.rounds):
                rate, _cpu = drain(
                    server,
                    ours,
                    sys.executable,
                    (case.kind, case.concurrency),
                    options.scaled(case.jobs),
                    case.locks,
                )
                rates.append(rate)
                rate, _cpu = drain(
                    server,
                    base,
                    theirs,
                    (case.kind, case.base_concurrency),
                    options.scaled(case.base_jobs),
                    case.locks,
                )
                base_rates.append(rate)
            report.add(case.name, "jobs/s", rates, base_rates, bar=case.bar)
