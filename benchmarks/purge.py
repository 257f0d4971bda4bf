"""Old jobs are deleted by the hundred thousand while a worker runs others: how fast, how gently."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import drain, figures, wires
from benchmarks.server import install_ours
from procrastinate.worker import retention

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

FINISHED = 5_000_000  # a fifth of them goes by each of the two ways
WAITING = 3_000_000  # more than the worker runs meanwhile
CONCURRENCY = "50"
WINDOW = 5.0  # seconds in which the worker runs undisturbed, before and after each purge
PATIENCE = 60  # seconds for the worker's start and end

# As three days of work have left them; a job without a history has no age.
FILL_JOBS = """
    insert into procrastinate_jobs (queue_name, task_name, args, status, attempts)
    select 'old', 'task', '{"a": 1}', 'succeeded', 1 from generate_series(1, %s)
"""
FILL_EVENTS = """
    insert into procrastinate_events (job_id, type, at)
    select j.id, e.type::procrastinate_job_event_type, now() - %s::interval
    from procrastinate_jobs as j
    cross join unnest(array['deferred', 'started', 'succeeded']) as e (type)
    where j.queue_name = 'old' and j.id > %s
    order by j.id
"""
PURGE = "select procrastinate_purge_jobs(%s::interval, max_jobs => %s)"
RETIRE = "select retired, next_id from procrastinate_retire_jobs_v1(%s::interval, %s)"
BATCH = 10_000  # the default of procrastinate_purge_jobs


class DryError(Exception):
    """The worker has run all jobs: what it did beside the purge is not known."""


@attrs.define
class Pace:
    """What one way of purging took, and what the worker did before, meanwhile and after."""

    deleted: int = 0
    seconds: float = 0.0
    last: float = 0.0  # seconds of a step
    longest: float = 0.0
    before: float = 0.0
    meanwhile: float = 0.0
    after: float = 0.0

    def call(self, conn: Connection, query: str, arguments: tuple[object, ...]) -> list[int]:
        """Make one bounded step; return its numbers, none for null."""
        start = time.perf_counter()
        row = conn.execute(query.encode(), arguments).fetchone()
        self.last = time.perf_counter() - start
        self.longest = max(self.longest, self.last)
        assert row is not None
        numbers = [number for number in row if isinstance(number, int)]
        self.deleted += numbers[0]
        return numbers

    def rest(self) -> None:
        """Let the worker have the server, as long as its retention does."""
        time.sleep(self.last * retention.REST)


def claimed(conn: Connection) -> int:
    row = conn.execute("select last_value from procrastinate_claims_seq").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


@contextlib.contextmanager
def counted(conn: Connection) -> Generator[list[float]]:
    """Put the jobs a second of the worker, while the block ran, into the list."""
    rates: list[float] = []
    jobs, start = claimed(conn), time.perf_counter()
    yield rates
    rates.append((claimed(conn) - jobs) / (time.perf_counter() - start))


def undisturbed(conn: Connection) -> float:
    with counted(conn) as rates:
        time.sleep(WINDOW)
    return rates[0]


def purge(conn: Connection, pace: Pace) -> None:
    """As the page tells an operator to do it, until nothing old is left."""
    while pace.call(conn, PURGE, ("60 hours", BATCH))[0]:
        pace.rest()


def retire(conn: Connection, pace: Pace) -> None:
    """As a worker's retention does it: one pass."""
    after_id = [0]
    while after_id:
        after_id = pace.call(conn, RETIRE, ("36 hours", *after_id))[1:]
        pace.rest()


def fill(conn: Connection, finished: int, waiting: int) -> None:
    band = finished // 5
    for age, jobs in (("3 days", band), ("2 days", band), ("0", finished - 2 * band)):
        for start in range(0, jobs, wires.CHUNK):
            row = conn.execute("select coalesce(max(id), 0) from procrastinate_jobs").fetchone()
            assert row is not None
            conn.execute(FILL_JOBS, (min(wires.CHUNK, jobs - start),))
            conn.execute(FILL_EVENTS, (age, row[0]))
    wires.fill(conn, waiting)
    wires.settle(conn)


@contextlib.contextmanager
def working(server: Server, database: str, conn: Connection) -> Generator[None]:
    """A worker that runs jobs all the time, and has not run out of them."""
    command = [sys.executable, "-I", "-c", drain.PROGRAM]
    worker = subprocess.Popen(
        [*command, server.dsn_of(database), "async", CONCURRENCY], stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + PATIENCE
        while claimed(conn) < int(CONCURRENCY) * 20:  # warm
            if time.monotonic() > end:
                raise wires.StuckError("the worker does not begin")
            time.sleep(0.05)
        yield
        if worker.poll() is not None:
            raise DryError("the worker ran out of jobs: give it more, or a smaller scale")
    finally:
        worker.terminate()
        worker.wait(PATIENCE)


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Fill once, and purge twice: each way has jobs of its own age."""
    finished = options.scaled(FINISHED)
    waiting = options.scaled(WAITING, least=400_000)
    report.start("purge", f"a fifth of {finished:,} finished jobs, while a worker runs others")
    with server.database("ours") as database, server.connect(database) as conn:
        install_ours(server, database)
        took = figures.seconds(lambda: fill(conn, finished, waiting))
        report.say(f"filled in {took:.0f} s")
        with working(server, database, conn):
            for name, way in (("procrastinate_purge_jobs", purge), ("retention", retire)):
                pace = Pace(before=undisturbed(conn))
                with counted(conn) as rates:
                    start = time.perf_counter()
                    way(conn, pace)
                    pace.seconds = time.perf_counter() - start
                pace.meanwhile = rates[0]
                pace.after = undisturbed(conn)
                assert pace.deleted == finished // 5, f"{pace.deleted:,} jobs were deleted"
                tell(name, pace, report)


def tell(name: str, pace: Pace, report: figures.Report) -> None:
    rate = pace.deleted / pace.seconds
    report.add(f"{name}, deleted", "jobs/s", [rate], bar=figures.at_least(20_000))
    report.add(f"{name}, longest step", "ms", [pace.longest * 1e3])
    report.add(
        f"{name}, worker beside it",
        "jobs/s",
        [pace.meanwhile],
        [(pace.before + pace.after) / 2],
        bar=figures.at_least(0.7),
    )
