"""What a worker weighs after 50,000 jobs, against what it weighed after 1,000."""

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import figures
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options

CONCURRENCY = 100
FEW, MANY = 1_000, 50_000
BAR = figures.at_most(1.2)
PATIENCE = 600  # seconds for all jobs

FILL = b"""
    insert into procrastinate_jobs (queue_name, task_name, args)
    select 'q', %s, jsonb_build_object('n', n, 'text', repeat('x', 200))
    from generate_series(1, %s) as n
"""


def resident() -> float:
    """The megabytes that this process has in memory just now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def work(dsn: str, kind: str, marks: list[int]) -> None:
    """Run jobs, and say what this process weighs when so many have run."""
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415 (only this process needs it)

    logging.basicConfig(level=logging.ERROR)
    app = App(connector=PsycopgConnector(conninfo=dsn))
    ran = 0

    def count() -> None:
        nonlocal ran
        ran += 1
        if ran in marks:
            print(resident(), flush=True)

    if kind == "async":

        @app.task(name=kind)
        async def _(n: int, text: str) -> str:
            await asyncio.sleep(0)
            count()
            return text
    else:

        @app.task(name=kind)
        def _(n: int, text: str) -> str:
            loop.call_soon_threadsafe(count)
            return text

    loop = asyncio.get_running_loop()
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY)


def weigh(dsn: str, conn: Connection, kind: str, few: int, many: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.memory", dsn, kind, str(few), str(many)]
    conn.execute(FILL, (kind, few))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        light = float(process.stdout.readline())
        for start in range(few, many, FEW):  # as they come, not in one heap
            conn.execute(FILL, (kind, min(FEW, many - start)))
        heavy = float(process.stdout.readline())
        process.terminate()
        process.wait(PATIENCE)
    return light, heavy


def run(server: Server, options: Options, report: figures.Report) -> None:
    few, many = options.scaled(FEW), options.scaled(MANY)
    report.start(
        "memory",
        f"megabytes of a worker at concurrency {CONCURRENCY} after {many:,} jobs",
        f"after {few:,}",
    )
    for kind in ("async", "sync"):
        light: list[float] = []
        heavy: list[float] = []
        for _ in range(options.rounds):
            with server.database("ours") as database:
                install_ours(server, database)
                with server.connect(database) as conn:
                    first, last = weigh(server.dsn_of(database), conn, kind, few, many)
            light.append(first)
            heavy.append(last)
        report.add(f"{kind} tasks", "MB", heavy, light, bar=BAR)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], [int(mark) for mark in sys.argv[3:]]))
