"""What a fetch costs beside masses of jobs that it must not see, against near-empty tables."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.options import Options

BATCH = 10
CALLS = 50  # exchanges that find something, a round; as many that find nothing
BAR = figures.at_most(1.5)
FAR_OFF = "2999-01-01"


@attrs.frozen(kw_only=True)
class Mass:
    """``fill`` makes it; workers of ``queues`` then have to see past it."""

    name: str
    jobs: int
    fill: Callable[[Connection, int, figures.Report], None]
    queues: tuple[list[str] | None, ...]


def foreign(conn: Connection, jobs: int, report: figures.Report) -> None:
    wires.fill(conn, jobs, queue="other")


def delayed(conn: Connection, jobs: int, report: figures.Report) -> None:
    wires.fill(conn, jobs, scheduled_at=FAR_OFF)


def blocked(conn: Connection, jobs: int, report: figures.Report) -> None:
    """One job holds the lock, all others wait for it; fetches park them, some at each call."""
    wires.fill(conn, 1, locks=1)
    holder = wires.OurWorker(conn)
    if len(holder.exchange(1)) != 1:
        raise wires.StuckError("the first job of the lock was not claimed")
    wires.fill(conn, jobs, locks=1)
    took: list[float] = []
    again = True
    while again:
        start = time.perf_counter()
        claims = holder.exchange(BATCH)
        took.append(time.perf_counter() - start)
        if claims.job_ids:
            raise wires.StuckError("a job was claimed though its lock is held")
        again = claims.again
    report.say(
        f"the first fetches parked {jobs:,} blocked jobs in {len(took):,} calls,"
        f" {sum(took):.2f} s, at most {max(took) * 1e3:.1f} ms a call"
    )


def paused(conn: Connection, jobs: int, report: figures.Report) -> None:
    wires.fill(conn, jobs, queue="paused")
    conn.execute("select procrastinate_pause_queue('paused')")


def finished(conn: Connection, jobs: int, report: figures.Report) -> None:
    wires.fill(conn, jobs, status="succeeded")


MASSES = (
    Mass(name="in another queue", jobs=1_000_000, fill=foreign, queues=(["q"], ["q", "none"])),
    Mass(name="delayed", jobs=1_000_000, fill=delayed, queues=(["q"], None)),
    Mass(name="blocked by one lock", jobs=100_000, fill=blocked, queues=(["q"], None)),
    Mass(
        name="in a paused queue",
        jobs=1_000_000,
        fill=paused,
        queues=(["q"], ["q", "paused"], None),
    ),
    Mass(name="finished", jobs=5_000_000, fill=finished, queues=(["q"], None)),
)


@attrs.define
class Side:
    """One of the two databases: its worker, and what its calls took."""

    conn: Connection
    worker: wires.OurWorker
    claims: wires.Claims = wires.NOTHING
    took: list[float] = attrs.field(factory=list[float])

    def begin(self, jobs: int) -> None:
        wires.fill(self.conn, jobs)
        self.took.clear()

    def step(self, limit: int = BATCH) -> None:
        def call() -> None:
            self.claims = self.worker.exchange(limit, self.claims)

        self.took.append(figures.seconds(call) * 1e6)

    def finish(self) -> None:
        self.step(0)
        self.took.clear()


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start(
        "deep",
        f"an exchange of {BATCH} jobs, and one that finds none, beside …",
        "near-empty tables",
    )
    with server.database("empty") as empty_database:
        install_ours(server, empty_database)
        for mass in MASSES:
            with server.database("deep") as deep_database:
                install_ours(server, deep_database)
                with contextlib.ExitStack() as stack:
                    deep = stack.enter_context(server.connect(deep_database))
                    empty = stack.enter_context(server.connect(empty_database))
                    jobs = options.scaled(mass.jobs)
                    took = figures.seconds(lambda: mass.fill(deep, jobs, report))  # noqa: B023
                    report.say(f"{jobs:,} jobs {mass.name}: filled in {took:.0f} s")
                    wires.settle(deep)
                    for queues in mass.queues:
                        measure(mass, queues, deep, empty, options, report)


def measure(
    mass: Mass,
    queues: list[str] | None,
    deep: Connection,
    empty: Connection,
    options: Options,
    report: figures.Report,
) -> None:
    """Both sides call in turns, so that each pair of calls meets the same machine."""
    sides = [Side(conn, wires.OurWorker(conn, queues=queues)) for conn in (deep, empty)]
    full: list[list[float]] = [[], []]
    none: list[list[float]] = [[], []]
    for _ in range(options.rounds + 1):
        for side in sides:
            side.begin(BATCH * CALLS)
        for _ in range(CALLS):
            for side in sides:
                side.step()
        for side, medians in zip(sides, full, strict=True):
            if len(side.claims) != BATCH:
                raise wires.StuckError(f"beside jobs {mass.name} a fetch found {side.claims}")
            medians.append(statistics.median(side.took))
            side.finish()
        for _ in range(CALLS):
            for side in sides:
                side.step()
        for side, medians in zip(sides, none, strict=True):
            if side.claims.job_ids:
                raise wires.StuckError("a fetch found jobs where none are left")
            medians.append(statistics.median(side.took))
    whose = "all queues" if queues is None else ", ".join(queues)
    # the first round warmed caches and plans up
    for what, (ours, base) in ((f"exchange of {BATCH}", full), ("idle exchange", none)):
        name = f"{mass.name}: {what} [{whose}]"
        report.add(name, "µs/call", ours[1:], base[1:], bar=BAR)
