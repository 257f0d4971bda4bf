"""Does a drain keep its speed while another session holds an old snapshot?"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import attrs
import psycopg

from benchmarks import figures, wires
from benchmarks.server import Server, install_ours

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.options import Options

PARTS = 5
HELD = figures.at_least(0.7)
FREE = figures.at_least(0.9)


@attrs.frozen(kw_only=True)
class Drain:
    jobs: int
    batch: int
    locks: int
    arriving: int = 0
    """Jobs that are deferred before each exchange; 0: all of them wait from the start."""

    @property
    def name(self) -> str:
        locks = f", {self.locks} hot locks" if self.locks else ""
        arriving = f", {self.arriving} arriving each time" if self.arriving else ""
        return f"{self.jobs:,} at {self.batch}{locks}{arriving}"


DRAINS = (
    Drain(jobs=200_000, batch=100, locks=0),
    Drain(jobs=60_000, batch=10, locks=0),
    Drain(jobs=200_000, batch=100, locks=20),
    Drain(jobs=60_000, batch=10, locks=20),
    Drain(jobs=60_000, batch=20, locks=0, arriving=10),
)


@contextlib.contextmanager
def old_snapshot(dsn: str) -> Generator[None]:
    """A session as a dump or a report leaves it: idle, in REPEATABLE READ, with a snapshot."""
    with psycopg.connect(dsn) as conn:
        conn.execute("set transaction isolation level repeatable read")
        conn.execute("select count(*) from procrastinate_jobs where id = 0")
        yield
        conn.rollback()


def rates(
    worker: wires.OurWorker, producer: psycopg.Connection[Any], drain: Drain
) -> list[float]:
    """Jobs a second of exchanges in each fifth of a drain."""
    parts: list[float] = []
    done, since, claims = 0, 0, wires.NOTHING
    last = time.perf_counter()
    idle = 0
    while done < drain.jobs:
        if drain.arriving:
            began = time.perf_counter()
            wires.fill(producer, drain.arriving, locks=drain.locks)
            last += time.perf_counter() - began
        claims = worker.exchange(drain.batch, claims)
        done += len(claims)
        idle = 0 if claims.job_ids else idle + 1
        if idle > 1000:
            raise wires.StuckError(f"{done} of {drain.jobs} jobs were handed out")
        if done - since >= drain.jobs // PARTS or done == drain.jobs:
            now = time.perf_counter()
            parts.append((done - since) / (now - last))
            last, since = now, done
    worker.exchange(0, claims)
    return parts[:PARTS]


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start(
        "snapshot",
        "throughput of the last fifth of a drain; the ratio is to the first fifth",
        "first fifth",
    )
    with server.database("ours") as database:
        install_ours(server, database)
        for drain in DRAINS:
            measure(
                server,
                database,
                attrs.evolve(drain, jobs=options.scaled(drain.jobs)),
                options,
                report,
            )


def measure(
    server: Server, database: str, drain: Drain, options: Options, report: figures.Report
) -> None:
    last: dict[bool, list[float]] = {True: [], False: []}
    first: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(options.rounds):
        for held in (True, False):
            with contextlib.ExitStack() as stack:
                conn = stack.enter_context(server.connect(database))
                wires.empty(conn)
                producer = stack.enter_context(server.connect(database))
                if not drain.arriving:
                    wires.fill(conn, drain.jobs, locks=drain.locks)
                wires.settle(conn)
                if held:
                    stack.enter_context(old_snapshot(server.dsn_of(database)))
                parts = rates(wires.OurWorker(conn), producer, drain)
                first[held].append(parts[0])
                last[held].append(parts[-1])
                word = "held" if held else "free"
                figure = " ".join(figures.number(part) for part in parts)
                report.say(f"{drain.name}, {word}: {figure} jobs/s")
    for held, word, bar in ((True, "snapshot held", HELD), (False, "free", FREE)):
        report.add(f"{drain.name}, {word}", "jobs/s", last[held], first[held], bar=bar)
