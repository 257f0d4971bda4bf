"""How each kind of case is measured: one turn of one side."""

from __future__ import annotations

import abc
import contextlib
import functools
import statistics
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs

from benchmarks import deep, figures, wires
from benchmarks.peers import counting
from benchmarks.snapshot import old_snapshot

if TYPE_CHECKING:
    from benchmarks.peers.places import Answer, Place, Site

Figures: TypeAlias = dict[str, float]
Turn: TypeAlias = Callable[[int], Figures]  # of so many jobs
NANO = 1e-9
WARM = 20  # jobs of a trickle whose start does not count: connections open, statements prepare
GAP = 0.03  # seconds between two of its jobs: each side is idle again by then
AHEAD = 2.0  # seconds before the first: the worker connects and finds nothing to do
WAIT = 0.005  # seconds that each job waits where the task is not a no-op


def rate(jobs: int, answers: Sequence[Answer]) -> float:
    """Jobs a second from the start of the first worker to the last job's run."""
    start: int = min(answer["start"] for answer in answers)
    end: int = max(answer["end"] for answer in answers)
    return jobs / ((end - start) * NANO)


@attrs.frozen(kw_only=True)
class Measure(abc.ABC):
    """What a side does in its turn. Most start in a fresh database each time."""

    @contextlib.contextmanager
    def prepared(self, site: Site, scale: float) -> Generator[Turn]:
        yield functools.partial(self.turn, site)

    @abc.abstractmethod
    def turn(self, site: Site, jobs: int) -> Figures: ...


@attrs.frozen(kw_only=True)
class Drain(Measure):
    """A full queue is emptied by one worker, or by several that start at once."""

    concurrency: int
    kind: str = "async"
    locks: int = 0
    workers: int = 1
    held: bool = False  # by another session: a snapshot from before
    prefetch: int = 0  # ours only
    behind: int = 0  # jobs that wait behind those that are counted; of procrastinate's only

    def turn(self, site: Site, jobs: int) -> Figures:
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(site.fresh())
            place.call("fill", jobs=jobs, locks=self.locks, behind=self.behind)
            place.settle()
            if self.held:
                dsn = site.server.dsn_of(place.database)
                stack.enter_context(old_snapshot(dsn))
            answers = self.run(place, jobs)
            ahead = place.call("left")["left"] - self.behind
            counting.none_left(ahead + sum(answer["others"] for answer in answers))
        return {
            "rate": rate(jobs, answers),
            "cpu": sum(answer["cpu"] for answer in answers) / jobs * 1_000,
            "rss": sum(answer["rss"] for answer in answers),
        }

    def run(self, place: Place, jobs: int) -> list[Answer]:
        with contextlib.ExitStack() as stack:
            settings: dict[str, object] = {
                "jobs": jobs,
                "concurrency": self.concurrency,
                "kind": self.kind,
                "wait": WAIT,
                "prefetch": self.prefetch,
            }
            if self.workers > 1:  # none of them can tell when all jobs have run
                settings["quiet"] = 1.0
            starting = [
                stack.enter_context(place.start("work", gate=True, **settings))
                for _ in range(self.workers)
            ]
            for worker in starting:
                worker.line()
            for worker in starting:
                worker.tell("go")
            answers = [worker.answer() for worker in starting]
        counting.once([answer["seen"] for answer in answers], jobs)
        return answers


@attrs.frozen(kw_only=True)
class Beside(Drain):
    """A drain in tables that hold masses of other jobs, or in empty ones."""

    deep: bool

    @contextlib.contextmanager
    def prepared(self, site: Site, scale: float) -> Generator[Turn]:
        """The database is filled once for all rounds."""
        with site.fresh() as place, contextlib.ExitStack() as stack:
            if self.deep:
                conn = stack.enter_context(site.server.connect(place.database))
                for mass in deep.MASSES:
                    if mass.name != "in a paused queue":
                        mass.fill(conn, max(100, round(mass.jobs * scale)), figures.Report())
            place.settle()
            yield functools.partial(self.among, place)

    def among(self, place: Place, jobs: int) -> Figures:
        with place.server.connect(place.database) as conn:
            before = wires.count(conn, "succeeded")
            place.call("fill", jobs=jobs)
            place.settle()
            answers = self.run(place, jobs)
            done = wires.count(conn, "succeeded") - before
        counting.none_left(jobs - done)
        return {"rate": rate(jobs, answers)}


@attrs.frozen(kw_only=True)
class Defer(Measure):
    """So many coroutines defer one by one, or one defers in batches."""

    concurrent: int = 1
    batch: int = 1

    def turn(self, site: Site, jobs: int) -> Figures:
        with site.fresh() as place:
            answer = place.call(
                "defer", jobs=jobs, concurrent=self.concurrent, batch=self.batch
            )
            counting.deferred(place.call("left")["left"], jobs + answer["warm"])
        return {"rate": rate(jobs, [answer])}


def quantile(values: Sequence[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def latencies(deferred: Answer, worked: Answer) -> list[float]:
    """Milliseconds from the call that defers a job to its start, but those of the warm-up."""
    started = dict(worked["stamps"])
    pairs = ((number, at) for number, at in deferred["stamps"] if number >= WARM)
    return [(started[number] - at) * NANO * 1_000 for number, at in pairs]


@attrs.frozen(kw_only=True)
class Latency(Measure):
    """One process defers a job every now and then to a worker in another."""

    load: int = 0  # jobs a second that a third process defers
    own: bool = True  # the load is the same worker's, or else another's with a queue of its own
    concurrency: int = 10

    def turn(self, site: Site, jobs: int) -> Figures:
        jobs += WARM
        with site.fresh() as place, contextlib.ExitStack() as stack:
            place.settle()
            worker = stack.enter_context(
                place.start(
                    "work", jobs=jobs, concurrency=self.concurrency, kind="async", stamps=True
                )
            )
            worker.line()
            with contextlib.ExitStack() as load:  # it ends with the last of our jobs
                if self.load:
                    queue = "q" if self.own else "load"
                    load.enter_context(place.start("load", rate=self.load, queue=queue))
                    if not self.own:  # it never sees the one job that would end it
                        load.enter_context(
                            place.start(
                                "work", jobs=1, concurrency=50, kind="async", queue=queue
                            )
                        )
                deferred = place.call("trickle", jobs=jobs, gap=GAP, ahead=AHEAD)
            worked = worker.answer()
        counting.once([worked["seen"]], jobs)
        took = latencies(deferred, worked)
        found = {"p50": quantile(took, 0.50), "p99": quantile(took, 0.99)}
        if self.load and self.own:
            seconds = (worked["end"] - worked["start"]) * NANO
            found["load"] = worked["others"] / seconds
        return found
