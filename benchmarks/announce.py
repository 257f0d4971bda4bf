"""Workers that store results: what it costs them that somebody waits, and is told of each end."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.server import Server

PROGRAM = """\
import asyncio, logging, sys
import procrastinate

dsn, concurrency = sys.argv[1], int(sys.argv[2])
logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

@app.task(name="task", queue="q")
async def task(a): return a

async def main():
    async with app.open_async():
        print("ready", flush=True)
        sys.stdin.readline()
        await app.run_worker_async(queues=["q"], concurrency=concurrency, wait=False)

asyncio.run(main())
"""
LEFT = (
    "select exists (select from procrastinate_todo) or exists (select from procrastinate_doing)"
)
LOOK_AFTER = 0.01  # seconds between two looks at whether all has ended
PATIENCE = 120  # seconds for one drain


@attrs.frozen
class Shape:
    """So many worker processes, alike."""

    workers: int
    concurrency: int
    jobs: int


SHAPES = (
    Shape(workers=1, concurrency=10, jobs=8_000),
    Shape(workers=4, concurrency=10, jobs=16_000),
    Shape(workers=8, concurrency=2, jobs=8_000),
    Shape(workers=2, concurrency=100, jobs=40_000),
)


def drain(server: Server, database: str, shape: Shape, jobs: int, *, waits: bool) -> float:
    """Return the jobs a second of all workers together; every result is counted."""
    with server.connect(database) as conn:
        wires.empty(conn)
        conn.execute("truncate procrastinate_results, procrastinate_announcements")
        wires.fill(conn, jobs)
        conn.execute("update procrastinate_jobs set ttl = '10 min'")
        if waits:
            conn.execute(
                "insert into procrastinate_announcements (ends_until)"
                " values (now() + interval '1 h')"
            )
        wires.settle(conn)
        arguments = [
            *(sys.executable, "-c", PROGRAM),
            *(server.dsn_of(database), str(shape.concurrency)),
        ]
        workers = [
            subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(shape.workers)
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()
        began = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        while conn.execute(LEFT).fetchone() == (True,):
            if time.perf_counter() - began > PATIENCE:
                raise wires.StuckError(f"{wires.count(conn, 'succeeded')} of {jobs} jobs")
            time.sleep(LOOK_AFTER)
        seconds = time.perf_counter() - began
        for worker in workers:
            worker.communicate()
        row = conn.execute("select count(*) from procrastinate_results").fetchone()
        assert row == (jobs,)
    return jobs / seconds


def run(server: Server, options: Options, report: figures.Report) -> None:
    """With somebody who waits, and without, in turn."""
    report.start("announce", "drains of jobs with results", "while somebody waits")
    with server.database("announce") as database:
        install_ours(server, database)
        for shape in SHAPES:
            jobs = options.scaled(shape.jobs)
            values: list[float] = []
            base: list[float] = []
            for _ in range(options.rounds):
                values.append(drain(server, database, shape, jobs, waits=False))
                base.append(drain(server, database, shape, jobs, waits=True))
            name = f"nobody waits, {shape.workers} workers of concurrency {shape.concurrency}"
            report.add(name, "jobs/s", values, base)
