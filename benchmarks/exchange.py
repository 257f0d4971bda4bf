"""Fetch and finish: jobs a second through one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, upstream, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options


@attrs.frozen(kw_only=True)
class Batch:
    """Our exchange at one batch size, and how many times upstream's rate it owes."""

    size: int
    jobs: int
    bar: figures.Bar | None = None


@attrs.frozen(kw_only=True)
class Load:
    """Jobs of one kind, which upstream works off once a round, and we once a batch size."""

    name: str
    locks: int
    upstream_jobs: int
    batches: tuple[Batch, ...]


LOADS = (
    Load(
        name="no locks",
        locks=0,
        upstream_jobs=1_500,
        batches=(
            Batch(size=1, jobs=1_500, bar=figures.at_least(1.4)),
            Batch(size=10, jobs=10_000, bar=figures.at_least(10)),
            Batch(size=100, jobs=30_000, bar=figures.at_least(27)),
            Batch(size=500, jobs=50_000),
        ),
    ),
    Load(
        name="100 locks",
        locks=100,
        upstream_jobs=1_500,
        batches=(
            Batch(size=10, jobs=5_000, bar=figures.at_least(6)),
            Batch(size=100, jobs=10_000, bar=figures.at_least(13)),
        ),
    ),
    Load(
        name="one lock",
        locks=1,
        upstream_jobs=1_500,
        batches=(
            Batch(size=1, jobs=1_500, bar=figures.at_least(2)),
            Batch(size=10, jobs=1_500, bar=figures.at_least(2)),
        ),
    ),
)


def rate(conn: Connection, worker: wires.Worker, jobs: int, locks: int, batch: int) -> float:
    """Jobs a second of one drain, from tables that hold nothing else."""
    wires.empty(conn)
    wires.fill(conn, jobs, locks=locks)
    wires.settle(conn)
    took = figures.seconds(lambda: worker.drain(batch))
    done = wires.count(conn, "succeeded")
    if done != jobs:
        raise wires.StuckError(f"{done} of {jobs} jobs succeeded")
    return jobs / took


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start(
        "exchange",
        "finish and fetch in one call, against upstream's fetch and finish one by one",
        f"upstream {upstream.VERSION}",
    )
    with (
        server.database("ours") as our_database,
        server.database("upstream") as their_database,
    ):
        install_ours(server, our_database)
        upstream.install(server, their_database)
        with server.connect(our_database) as ours, server.connect(their_database) as theirs:
            for load in LOADS:
                measure(load, ours, theirs, options, report)


def measure(
    load: Load, ours: Connection, theirs: Connection, options: Options, report: figures.Report
) -> None:
    base: list[float] = []
    rates: dict[int, list[float]] = {batch.size: [] for batch in load.batches}
    for _ in range(options.rounds):
        their_jobs = options.scaled(load.upstream_jobs)
        worker = wires.UpstreamWorker(theirs)
        base.append(rate(theirs, worker, their_jobs, load.locks, 1))
        for batch in load.batches:
            jobs = options.scaled(batch.jobs)
            rates[batch.size].append(
                rate(ours, wires.OurWorker(ours), jobs, load.locks, batch.size)
            )
    for batch in load.batches:
        name = f"{load.name}, batch {batch.size}"
        report.add(name, "jobs/s", rates[batch.size], base, bar=batch.bar)
