"""Fetch and finish: jobs a second through one connection."""

from __future__ import annotations

import time
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
    """Jobs of one kind, and the sizes of batch at which we are compared with upstream."""

    name: str
    locks: int
    upstream_jobs: int
    batches: tuple[Batch, ...]


SLICE = 0.02  # seconds that one side works before the other has its turn

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


@attrs.define
class Drain:
    """One engine at work, from tables that hold nothing else, a slice of time at a time."""

    worker: wires.Worker
    jobs: int
    batch: int
    took: float = 0.0
    ended: bool = False

    def begin(self, locks: int) -> None:
        wires.empty(self.worker.conn)
        wires.fill(self.worker.conn, self.jobs, locks=locks)
        wires.settle(self.worker.conn)

    def run_slice(self) -> None:
        start = time.perf_counter()
        while not self.ended and time.perf_counter() - start < SLICE:
            self.ended = self.worker.step(self.batch) is None
        self.took += time.perf_counter() - start

    def rate(self) -> float:
        done = wires.count(self.worker.conn, "succeeded")
        if done != self.jobs:
            raise wires.StuckError(f"{done} of {self.jobs} jobs succeeded")
        return self.jobs / self.took


def compare(ours: Drain, theirs: Drain, locks: int) -> tuple[float, float]:
    """Jobs a second of both, which take turns: a neighbour's load hits them alike."""
    for drain in (ours, theirs):
        drain.begin(locks)
    while not (ours.ended and theirs.ended):
        for drain in (ours, theirs):
            if not drain.ended:
                drain.run_slice()
    return ours.rate(), theirs.rate()


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
    for batch in load.batches:
        rates: list[float] = []
        base: list[float] = []
        for _ in range(options.rounds):
            our_rate, their_rate = compare(
                Drain(wires.OurWorker(ours), options.scaled(batch.jobs), batch.size),
                Drain(wires.UpstreamWorker(theirs), options.scaled(load.upstream_jobs), 1),
                load.locks,
            )
            rates.append(our_rate)
            base.append(their_rate)
        name = f"{load.name}, batch {batch.size}"
        report.add(name, "jobs/s", rates, base, bar=batch.bar)
