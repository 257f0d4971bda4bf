"""Millions of jobs through one database: is the last tenth as fast as the first, and what grows?"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import install_ours

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

JOBS = 5_000_000
QUEUES = 5
PARTS = 10
BACKLOG = 30_000  # jobs that wait at a time: jobs come as they go
CHUNK = 500  # in one transaction: longer ones keep what is dead from being pruned
PATIENCE = 120  # seconds for one tenth's least progress, and for the worker's end
TABLES = ("jobs", "events", "todo", "doing", "counts")

# One job in ten has one of a thousand locks; one in a hundred fails and is tried again.
FEED = """
    insert into procrastinate_jobs (queue_name, task_name, lock, args)
    select
        'q' || n %% %(queues)s, 'task',
        case when n %% 10 = 3 then 'lock ' || n / 10 %% 1000 end,
        jsonb_build_object('fails', n %% 100 = 7)
    from generate_series(%(after)s::bigint + 1, %(upto)s::bigint) as n
"""
SIZES = """
    select c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid)
    from pg_class as c
    where c.relname = any(%s) and c.relnamespace = 'public'::regnamespace
"""
STATISTICS = """
    select n_tup_upd, n_tup_hot_upd, n_dead_tup
    from pg_stat_user_tables where relname = %s
"""
PROGRAM = """\
import asyncio, logging, sys
import procrastinate

logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))

@app.task(name="task", retry=1, pass_context=True)
async def task(context, fails):
    if fails and not context.job.attempts:
        raise ValueError("the first try of this one fails")

async def main():
    async with app.open_async():
        await app.run_worker_async(queues=sys.argv[3:], concurrency=int(sys.argv[2]))

asyncio.run(main())
"""
CONCURRENCY = "50"


@attrs.frozen(kw_only=True)
class Mark:
    """What was seen when some of the jobs had ended."""

    ended: int
    at: float
    sizes: dict[str, tuple[int, int]]
    dead: int

    def bytes_of(self, table: str) -> int:
        return sum(self.sizes[table])


def ended(conn: Connection) -> int:
    row = conn.execute("select coalesce(sum(jobs), 0)::bigint from procrastinate_counts")
    (number,) = row.fetchone() or (0,)
    assert isinstance(number, int)
    return number


def statistics_of(conn: Connection, table: str) -> tuple[int, int, int]:
    """Updates, HOT updates and dead rows, as the server has counted them."""
    row = conn.execute(STATISTICS, (f"procrastinate_{table}",)).fetchone()
    assert row is not None
    updates, hot, dead = (number for number in row if isinstance(number, int))
    return updates, hot, dead


def look(conn: Connection, done: int) -> Mark:
    names = [f"procrastinate_{table}" for table in TABLES]
    sizes: dict[str, tuple[int, int]] = {}
    for name, table, indexes in conn.execute(SIZES, (names,)).fetchall():
        assert isinstance(table, int)
        assert isinstance(indexes, int)
        sizes[str(name).removeprefix("procrastinate_")] = (table, indexes)
    dead = sum(statistics_of(conn, table)[2] for table in ("todo", "doing"))
    return Mark(ended=done, at=time.perf_counter(), sizes=sizes, dead=dead)


@contextlib.contextmanager
def working(dsn: str, queues: list[str]) -> Generator[None]:
    worker = subprocess.Popen([sys.executable, "-I", "-c", PROGRAM, dsn, CONCURRENCY, *queues])
    try:
        yield
        assert worker.poll() is None, "the worker has ended"
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


def feed_and_watch(conn: Connection, jobs: int, report: figures.Report) -> list[Mark]:
    """Keep jobs waiting until so many have gone through; look at each tenth."""
    fed = done = 0
    marks = [look(conn, 0)]
    progress = time.monotonic()
    while done < jobs:
        while fed < jobs and fed - done < BACKLOG:
            upto = min(fed + CHUNK, jobs)
            conn.execute(FEED, {"queues": QUEUES, "after": fed, "upto": upto})
            fed = upto
        before, done = done, ended(conn)
        if done > before:
            progress = time.monotonic()
        elif time.monotonic() - progress > PATIENCE:
            raise wires.StuckError(f"{done:,} of {fed:,} jobs ended, and no more do")
        while done >= jobs * len(marks) // PARTS and len(marks) <= PARTS:
            marks.append(look(conn, done))
            tell(marks[-2], marks[-1], report)
        time.sleep(0.05)
    return marks


def tell(last: Mark, mark: Mark, report: figures.Report) -> None:
    sizes = ", ".join(f"{name} {mark.bytes_of(name) / 1e6:.1f}" for name in TABLES)
    rate = (mark.ended - last.ended) / (mark.at - last.at)
    report.say(f"{mark.ended:,} ended, {rate:,.0f}/s; MB: {sizes}; {mark.dead:,} dead rows")


def run(server: Server, options: Options, report: figures.Report) -> None:
    """One worker of five queues; jobs are deferred as others end."""
    jobs = options.scaled(JOBS, least=50_000)
    report.start("soak", f"{jobs:,} jobs through {QUEUES} queues", "the first tenth")
    queues = [f"q{number}" for number in range(QUEUES)]
    with server.database("soak") as database, server.connect(database) as conn:
        install_ours(server, database)
        with working(server.dsn_of(database), queues):
            marks = feed_and_watch(conn, jobs, report)
        succeeded = wires.count(conn, "succeeded")
        assert succeeded == jobs, f"{succeeded:,} of {jobs:,} jobs succeeded"
        judge(conn, marks, report)


def judge(conn: Connection, marks: list[Mark], report: figures.Report) -> None:
    rates = [
        (after.ended - before.ended) / (after.at - before.at)
        for before, after in itertools.pairwise(marks)
    ]
    # what the first tenth starts with is the worker's own start
    report.add("the last tenth", "jobs/s", rates[-1:], rates[:1], bar=figures.at_least(0.85))
    conn.execute("select pg_stat_force_next_flush()")
    updates, hot, _ = statistics_of(conn, "jobs")
    report.add("HOT updates of jobs", "%", [100 * hot / updates], bar=figures.at_least(95))
    for table in ("todo", "doing", "counts"):  # as large as the work in hand
        sizes = [mark.bytes_of(table) / 1e6 for mark in marks[1:]]
        report.add(f"{table} at the end", "MB", sizes[-1:], [max(sizes[:5])])
    for table in ("jobs", "events"):  # a history grows; each job's part must not
        each = [mark.bytes_of(table) / mark.ended for mark in (marks[5], marks[-1])]
        report.add(f"{table}, of each job", "bytes", each[1:], each[:1])
