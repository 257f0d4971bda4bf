"""What is compared, with how many jobs, and what the ratio should be."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs

from benchmarks.figures import Bar, at_least, at_most
from benchmarks.peers.measures import Beside, Defer, Drain, Latency, Measure
from benchmarks.peers.sides import OLD, OURS, PEERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BEST_PEER = "the best peer"  # of those that are neither ours nor 3.10, by its median

# Jobs a second of a worker, roughly, on a machine of two cores: a turn should take some seconds.
GUESSES: Mapping[str, Mapping[int, int]] = {
    OURS: {1: 600, 10: 4_000, 50: 10_000, 100: 15_000, 500: 20_000, 1_000: 40_000},
    OLD: {1: 250, 10: 350, 50: 400, 100: 400, 500: 400},
    "saq": {1: 200, 10: 400, 50: 500, 100: 500, 500: 500},
    "pgqueuer": {1: 300, 10: 2_000, 50: 4_000, 100: 6_000, 500: 6_000},
    "oban": {1: 200, 10: 1_000, 50: 1_500, 100: 2_000, 500: 2_000},
    "graphile": {1: 800, 10: 6_000, 50: 12_000, 100: 40_000, 500: 15_000},
    "pg-boss": {1: 300, 10: 1_500, 50: 4_000, 100: 6_000, 500: 10_000},
}
SECONDS = 4  # of a turn


@attrs.frozen(kw_only=True)
class Entry:
    """A side's part in a case; ``name`` if it is not the only part of that side."""

    side: str
    measure: Measure
    jobs: int
    name: str = ""
    note: str = ""  # how it is set here, unless as its side says

    @property
    def key(self) -> str:
        return self.name or self.side


@attrs.frozen
class Against:
    """A bar: our figure to that of another entry, or of the best peer."""

    key: str
    bar: Bar


@attrs.frozen(kw_only=True)
class Row:
    """One figure of a case. The first entry is ours."""

    metric: str
    name: str
    unit: str
    cheaper: bool = False  # less is better
    bars: Sequence[Against] = ()


@attrs.frozen(kw_only=True)
class Case:
    key: str
    entries: Sequence[Entry]
    rows: Sequence[Row]
    absent: Mapping[str, str] = attrs.field(factory=dict[str, str])  # side: why it has no part
    seconds: float = 0  # a turn takes, with what goes before and after

    def estimate(self, rounds: int, scale: float) -> float:
        """Seconds. Starting programs and databases takes its time at any scale."""
        turn = self.seconds or SECONDS * 1.5
        return rounds * len(self.entries) * (turn * scale + 5)


def _far(own: int, known: int) -> int:
    return abs(known - own)


def drained(concurrency: int, sides: Mapping[str, int]) -> list[Entry]:
    """Each side drains at a concurrency of its own, as many jobs as it may do in a turn."""
    entries: list[Entry] = []
    for side, own in sides.items():
        near = min(GUESSES[side], key=functools.partial(_far, own))
        note = "" if own == concurrency else f"at {own}"
        measure = Drain(concurrency=own)
        jobs = GUESSES[side][near] * SECONDS
        entries.append(Entry(side=side, measure=measure, jobs=jobs, note=note))
    return entries


def drains() -> list[Case]:
    old = {1: 3, 10: 17, 50: 32, 100: 42, 500: 55}
    cases: list[Case] = []
    for concurrency, limit in old.items():
        sides = dict.fromkeys((OURS, OLD, *PEERS), concurrency)
        if concurrency == 500:
            sides[OLD] = 50  # where it is best
        row = Row(
            metric="rate",
            name=f"drain, async, concurrency {concurrency}",
            unit="jobs/s",
            bars=[Against(OLD, at_least(limit))],
        )
        entries = drained(concurrency, sides)
        cases.append(Case(key=f"drain-{concurrency}", entries=entries, rows=[row]))
    return cases


# What was tried for each, and came out best: see the decision.
BEST = {
    OURS: 1_000,
    OLD: 50,
    "saq": 20,
    "pgqueuer": 100,
    "oban": 300,
    "graphile": 100,
    "pg-boss": 1_000,
}
PREFETCH = 1_000  # of ours in the same case: it is what graphile's ``localQueue`` is


def best() -> Case:
    row = Row(
        metric="rate",
        name="drain, best setting of each",
        unit="jobs/s",
        bars=[
            Against("graphile", at_least(1.2)),
            Against("pgqueuer", at_least(3)),
        ],
    )
    entries = [attrs.evolve(entry, note=f"at {BEST[entry.side]}") for entry in drained(0, BEST)]
    entries[0] = attrs.evolve(
        entries[0],
        measure=Drain(concurrency=BEST[OURS], prefetch=PREFETCH),
        note=f"{entries[0].note} with `prefetch` {PREFETCH}",
    )
    return Case(key="drain-best", entries=entries, rows=[row])


def sync() -> Case:
    jobs = {OURS: 8_000, OLD: 1_000, "saq": 1_000, "pgqueuer": 6_000}
    measure = Drain(concurrency=10, kind="sync")
    row = Row(
        metric="rate",
        name="drain, sync tasks, concurrency 10",
        unit="jobs/s",
        bars=[Against(OLD, at_least(10))],
    )
    return Case(
        key="drain-sync",
        entries=[Entry(side=side, measure=measure, jobs=many) for side, many in jobs.items()],
        rows=[row],
        absent={
            "oban": "its workers are async",
            "graphile": "Node has no sync tasks",
            "pg-boss": "Node has no sync tasks",
        },
    )


BEHIND = 30_000  # what waits for a lock is what a fetch of 3.10 reads


def locks() -> list[Case]:
    absent = {
        "pgqueuer": "it has no locks of jobs",
        "oban": "it has no locks of jobs",
        "pg-boss": "it has no locks of jobs",
    }
    # As many for each: what waits for a lock is what a fetch may have to read.
    shapes = (
        ("locks-100", 100, 10, 5_000, 0, 13),
        ("locks-100-behind", 100, 10, 5_000, BEHIND, 13),
        ("locks-1", 1, 1, 1_000, 0, 8),
        ("locks-1-behind", 1, 1, 1_000, BEHIND, 8),
    )
    cases: list[Case] = []
    for key, number, concurrency, jobs, behind, limit in shapes:
        measure = Drain(concurrency=concurrency, locks=number, behind=behind)
        what = f"{number} locks" if number > 1 else "one lock"
        if behind:
            what += f" with {behind:,} more waiting"
        row = Row(
            metric="rate",
            name=f"drain, {what}, concurrency {concurrency}",
            unit="jobs/s",
            bars=[Against(OLD, at_least(limit))],
        )
        entries = [
            Entry(side=side, measure=measure, jobs=jobs)
            for side in ((OURS, OLD) if behind else (OURS, OLD, "saq", "graphile"))
        ]
        without = {} if behind else absent
        cases.append(Case(key=key, entries=entries, rows=[row], absent=without))
    return cases


def defers() -> list[Case]:
    sides = (OURS, OLD, *PEERS)
    shapes = (
        ("defer-1", 1, 2_000, "defer one by one", 2),
        ("defer-10", 10, 4_000, "defer one by one, 10 at once", 6),
        ("defer-100", 100, 6_000, "defer one by one, 100 at once", 10),
    )
    cases = [
        Case(
            key=key,
            entries=[
                Entry(side=side, measure=Defer(concurrent=concurrent), jobs=jobs)
                for side in sides
            ],
            rows=[
                Row(
                    metric="rate",
                    name=name,
                    unit="jobs/s",
                    bars=[Against(OLD, at_least(limit))],
                )
            ],
        )
        for key, concurrent, jobs, name, limit in shapes
    ]
    batch = Row(
        metric="rate",
        name="defer in batches of 1,000",
        unit="jobs/s",
        bars=[Against(OLD, at_least(5)), Against(BEST_PEER, at_least(0.75))],
    )
    entries = [
        Entry(side=side, measure=Defer(batch=1_000), jobs=20_000 if side == OLD else 60_000)
        for side in sides
        if side != "saq"
    ]
    absent = {"saq": "it has no call for many jobs"}
    return [*cases, Case(key="defer-batch", entries=entries, rows=[batch], absent=absent)]


def latencies() -> list[Case]:
    idle = Latency()
    return [
        Case(
            key="latency",
            entries=[Entry(side=side, measure=idle, jobs=300) for side in (OURS, OLD, *PEERS)],
            rows=[
                Row(
                    metric=metric,
                    name=f"latency defer → start, idle worker, {metric}",
                    unit="ms",
                    cheaper=True,
                    bars=[Against(OLD, at_most(limit)), Against(BEST_PEER, at_most(1))],
                )
                for metric, limit in (("p50", 0.45), ("p99", 0.5))
            ],
            seconds=16,
        ),
        *(
            Case(
                key=key,
                entries=[
                    Entry(side=side, measure=Latency(load=500, own=own), jobs=300)
                    for side in (OURS, OLD)
                ],
                rows=[
                    *(
                        Row(
                            metric=metric,
                            name=f"latency beside 500 jobs/s {where}, {metric}",
                            unit="ms",
                            cheaper=True,
                            bars=[Against(OLD, at_most(limit))],
                        )
                        for metric, limit in (("p50", 0.4), ("p99", 0.3))
                    ),
                    *(
                        [Row(metric="load", name="of them it ran", unit="jobs/s")]
                        if own
                        else []
                    ),
                ],
                seconds=20,
            )
            for key, where, own in (
                ("latency-loaded", "of the same worker", True),
                ("latency-beside", "of another worker and queue", False),
            )
        ),
    ]


def footprint() -> Case:
    measure = Drain(concurrency=100)
    return Case(
        key="footprint",
        entries=[
            Entry(side=OURS, measure=measure, jobs=40_000),
            Entry(side=OLD, measure=measure, jobs=2_000),
        ],
        rows=[
            Row(
                metric="cpu",
                name="CPU of the worker for 1,000 jobs, concurrency 100",
                unit="s",
                cheaper=True,
                bars=[Against(OLD, at_most(0.1))],
            ),
            Row(
                metric="rss",
                name="memory of the worker, concurrency 100",
                unit="MB",
                cheaper=True,
                bars=[Against(OLD, at_most(1))],
            ),
        ],
    )


def itself() -> list[Case]:
    """Ours against ours: what must not slow it down, and what must speed it up."""
    two = Case(
        key="two-workers",
        entries=[
            Entry(
                side=OURS,
                name=name,
                measure=Drain(concurrency=10, kind="waiting", workers=workers),
                jobs=15_000,
            )
            for name, workers in (("two workers", 2), ("one worker", 1))
        ],
        rows=[
            Row(
                metric="rate",
                name="two worker processes, each task awaits 5 ms, concurrency 10",
                unit="jobs/s",
                bars=[Against("one worker", at_least(1.8))],
            )
        ],
        seconds=14,
    )
    beside = Case(
        key="deep",
        entries=[
            Entry(side=OURS, name=name, measure=Beside(concurrency=50, deep=deep), jobs=40_000)
            for name, deep in (("deep tables", True), ("empty tables", False))
        ],
        rows=[
            Row(
                metric="rate",
                name="drain beside 1 M delayed, 1 M in another queue, 5 M finished, 100 k blocked,"
                " concurrency 50",
                unit="jobs/s",
                bars=[Against("empty tables", at_least(0.8))],
            )
        ],
        seconds=90,  # most of it is filling
    )
    snapshots = [
        Case(
            key=key,
            entries=[
                Entry(
                    side=OURS,
                    name=name,
                    measure=Drain(concurrency=50, locks=number, held=held),
                    jobs=200_000,
                )
                for name, held in (("snapshot held", True), ("none held", False))
            ],
            rows=[
                Row(
                    metric="rate",
                    name=f"drain of 200,000{what} while a session holds a snapshot, concurrency 50",
                    unit="jobs/s",
                    bars=[Against("none held", at_least(limit))],
                )
            ],
            seconds=seconds,
        )
        for key, number, what, limit, seconds in (
            ("snapshot", 0, "", 0.75, 45),
            ("snapshot-locks", 100, " with 100 locks", 0.6, 90),
        )
    ]
    return [two, beside, *snapshots]


FULL: Mapping[str, Case] = {
    case.key: case
    for case in (
        *drains(),
        best(),
        sync(),
        *locks(),
        *defers(),
        *latencies(),
        footprint(),
        *itself(),
    )
}


def only(case: Case, sides: Sequence[str]) -> Case:
    entries = [entry for entry in case.entries if entry.side in sides]
    rows = [
        attrs.evolve(row, bars=[bar for bar in row.bars if bar.key in {*sides, BEST_PEER}])
        for row in case.rows
    ]
    absent = {side: why for side, why in case.absent.items() if side in sides}
    return attrs.evolve(case, entries=entries, rows=rows, absent=absent)


# Ours, 3.10, and the fastest of the others: what a change should be looked at with.
QUICK: Mapping[str, Case] = {
    key: only(FULL[key], (OURS, OLD, "graphile"))
    for key in ("drain-10", "drain-best", "locks-100", "defer-1", "defer-batch", "latency")
}
