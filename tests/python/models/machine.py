"""Random commands, given to PostgreSQL and to the memory connector alike."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from procrastinate import SyncPsycopgConnector, jobs, types
from procrastinate.rpc import defers, front, old_wire, wire
from procrastinate.testing import InMemoryConnector
from tests.python.models import sides

START = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)

#: Every table: of one run nothing may be left for the next.
EMPTY = """
truncate procrastinate_jobs, procrastinate_events, procrastinate_todo, procrastinate_doing,
    procrastinate_workers, procrastinate_periodic_defers, procrastinate_queues,
    procrastinate_priorities, procrastinate_counts, procrastinate_sweep,
    procrastinate_results, procrastinate_keys, procrastinate_announcements
restart identity
"""

SECONDS = (-20, 0, 10, 40, 90)
LONG = "x" * 129

queue_names = st.sampled_from(["a", "b", "ü" * 21])
queue_lists = st.sampled_from([None, None, ("a",), ("b",), ("a", "b"), ("ü" * 21, "a"), ()])
locks = st.sampled_from([None, None, "l", "m"])
queueing_locks = st.sampled_from([None, None, "p", "q"])
priorities = st.sampled_from([0, 0, 0, 5, -3])
offsets = st.sampled_from([None, None, *SECONDS])
statuses = st.sampled_from(list(jobs.Status))
ends = st.sampled_from(["succeeded", "failed", "aborted"])
job_names = st.integers(0, 9)
worker_names = st.integers(0, 2)
limits = st.integers(0, 4)
ages = st.sampled_from([0, 5, 30, 60]).map(lambda seconds: datetime.timedelta(seconds=seconds))
new_jobs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "queue": queue_names,
        "task_name": st.sampled_from(["s", "t"]),
        "priority": priorities,
        "lock": locks,
        "queueing_lock": queueing_locks,
        "task_kwargs": st.sampled_from([{}, {"x": 1}, {"y": ["ü", None, 2.5]}]),
        "offset": offsets,
    }
)
faults = st.sampled_from(
    [
        {"queue": ""},
        {"queue": LONG},
        {"queue": "\0"},
        {"task_name": ""},
        {"task_name": LONG},
        {"priority": 2**31},
        {"lock": "a\0b"},
        {"queueing_lock": "\0"},
        {"task_kwargs": [1]},
        {"task_kwargs": "no"},
        {"task_kwargs": 3},
        {"task_kwargs": True},
        {"task_kwargs": None},
    ]
)


class Machine(RuleBasedStateMachine):
    """Two sides that have to agree after each command."""

    database_connector: SyncPsycopgConnector

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime.datetime = START
        memory = InMemoryConnector()
        memory.clock = lambda: self.now
        self.memory_connector = memory
        self.database = sides.DatabaseSide(self.database_connector)
        self.memory = sides.MemorySide(memory)
        with self.database_connector.pool.connection() as connection:
            connection.execute(EMPTY)
        self._set_clock()

    def _set_clock(self) -> None:
        with self.database_connector.pool.connection() as connection:
            connection.execute(
                "select set_config('procrastinate.now', %s, false)", [self.now.isoformat()]
            )

    def both(self, act: Callable[[sides.Side], Any]) -> Any:
        """Do something on both sides, and compare what comes of it."""
        in_database = self.database.attempt(act)
        in_memory = self.memory.attempt(act)
        assert in_memory == in_database, f"{in_memory} in memory, {in_database} in PostgreSQL"
        return in_database

    def at(self, offset: int | None) -> datetime.datetime | None:
        return None if offset is None else self.now + datetime.timedelta(seconds=offset)

    def make_job(self, drawn: dict[str, Any]) -> jobs.Job:
        given = dict(drawn)
        return jobs.Job(scheduled_at=self.at(given.pop("offset")), **given)

    @invariant()
    def both_look_the_same(self) -> None:
        in_database = self.database.look(self.database_connector)
        in_memory = self.memory.look(self.memory_connector)
        assert in_memory == in_database, f"{in_memory} in memory, {in_database} in PostgreSQL"

    @invariant()
    def nothing_is_derived_wrongly(self) -> None:
        assert self.database.call(front.check()) == []

    # Deferring

    @rule(
        drawn=st.lists(new_jobs, max_size=3),
        how=st.sampled_from(["wire", "wire", "try", "front", "old_wire"]),
    )
    def defer(self, drawn: list[dict[str, Any]], how: str) -> None:
        self._defer([self.make_job(job) for job in drawn], how)

    @rule(
        drawn=st.lists(new_jobs, min_size=1, max_size=2),
        fault=faults,
        how=st.sampled_from(["wire", "try", "front", "old_wire", "one"]),
    )
    def defer_what_cannot_be(
        self, drawn: list[dict[str, Any]], fault: dict[str, Any], how: str
    ) -> None:
        self._defer([self.make_job(job) for job in [*drawn, {**drawn[0], **fault}]], how)

    def _defer(self, to_defer: list[jobs.Job], how: str) -> None:
        rows = [
            types.JobToDefer(
                queue_name=job.queue,
                task_name=job.task_name,
                priority=job.priority,
                lock=job.lock,
                queueing_lock=job.queueing_lock,
                args=job.task_kwargs,
                scheduled_at=job.scheduled_at,
            )
            for job in to_defer
        ]

        def act(side: sides.Side) -> Any:
            if how == "try":
                tried = side.call(defers.try_defer_jobs_v1(new_jobs=to_defer))
                names = side.add_jobs(one.job_id for one in tried)
                return names, [(one.ordinal, one.conflict) for one in tried]
            if how == "wire":
                return side.add_jobs(side.call(defers.defer_jobs_v2(new_jobs=to_defer)))
            if how == "old_wire":
                return side.add_jobs(side.call(old_wire.defer_jobs_v1(new_jobs=rows)))
            if how == "one":
                return side.add_jobs([side.call(front.defer_job(**rows[-1]._asdict()))])
            return side.add_jobs(side.call(front.defer_jobs(new_jobs=rows)))

        self.both(act)

    @rule(drawn=new_jobs)
    def defer_one(self, drawn: dict[str, Any]) -> None:
        self._defer([self.make_job(drawn)], "one")

    @rule(
        drawn=new_jobs,
        periodic_id=st.sampled_from(["", "p", LONG]),
        timestamp=st.integers(1, 5),
        old=st.booleans(),
    )
    def defer_tick(
        self, drawn: dict[str, Any], periodic_id: str, timestamp: int, old: bool
    ) -> None:
        job = self.make_job({**drawn, "offset": None})
        function = defers.defer_periodic_job_v3
        if old and periodic_id != LONG:
            function = old_wire.defer_periodic_job_v2
        self.both(
            lambda side: side.add_jobs(
                [
                    side.call(
                        function(job=job, periodic_id=periodic_id, defer_timestamp=timestamp)
                    )
                ]
            )
        )

    # Workers

    @precondition(lambda self: len(self.memory.worker_ids) < 4)
    @rule(queues=queue_lists, old=st.booleans())
    def register(self, queues: Sequence[str] | None, old: bool) -> None:
        self.both(
            lambda side: side.add_worker(
                side.call(
                    old_wire.register_worker_v1()
                    if old
                    else wire.register_worker_v2(name="w", queues=queues)
                )
            )
        )

    @rule(worker=worker_names, old=st.booleans())
    def unregister(self, worker: int, old: bool) -> None:
        function: Any = old_wire.unregister_worker_v1 if old else wire.unregister_worker_v2
        self.both(lambda side: side.call(function(worker_id=side.worker(worker))))

    @rule(worker=worker_names, named=st.none() | st.lists(job_names, max_size=4))
    def beat(self, worker: int, named: list[int] | None) -> None:
        self.both(
            lambda side: [
                (
                    side.job_name(held.job_id),
                    side.claim_name(held.claim_id),
                    held.abort_requested,
                )
                for held in side.call(
                    wire.heartbeat_v2(
                        worker_id=side.worker(worker),
                        job_ids=None if named is None else [side.job(job) for job in named],
                    )
                )
            ]
        )

    @rule(worker=worker_names)
    def beat_as_3x(self, worker: int) -> None:
        self.both(
            lambda side: side.call(old_wire.update_heartbeat_v1(worker_id=side.worker(worker)))
        )

    @rule(age=ages, how=st.sampled_from(["wire", "front", "old_wire", "negative"]))
    def prune(self, age: datetime.timedelta, how: str) -> None:
        def act(side: sides.Side) -> Any:
            if how == "old_wire":
                seconds = age.total_seconds()
                call = old_wire.prune_stalled_workers_v1(seconds_since_heartbeat=seconds)
            elif how == "front":
                call = front.prune_stalled_workers(older_than=age)
            else:
                given = -age * 1.05 if how == "negative" else age
                call = wire.prune_workers_v1(older_than=given)
            return [side.worker_ids.index(worker_id) for worker_id in side.call(call)]

        self.both(act)

    @rule(worker=worker_names, queues=queue_lists, limit=limits)
    def fetch(self, worker: int, queues: tuple[str, ...] | None, limit: int) -> None:
        self._exchange(worker, queues, limit)

    @rule(worker=worker_names, queues=queue_lists)
    def fetch_as_3x(self, worker: int, queues: Sequence[str] | None) -> None:
        def act(side: sides.Side) -> Any:
            job = side.call(old_wire.fetch_job_v2(queues=queues, worker_id=side.worker(worker)))
            return None if job is None else side.plain_job(job)

        self.both(act)
        for side in (self.database, self.memory):
            side.learn_claims()

    @rule(
        worker=worker_names,
        queues=queue_lists,
        limit=limits,
        drawn=st.lists(st.tuples(job_names, ends, st.booleans()), max_size=3),
    )
    def finish_and_fetch(
        self,
        worker: int,
        queues: tuple[str, ...] | None,
        limit: int,
        drawn: list[tuple[int, str, bool]],
    ) -> None:
        self._exchange(worker, queues, limit, drawn)

    def _exchange(
        self,
        worker: int,
        queues: tuple[str, ...] | None,
        limit: int,
        drawn: Sequence[tuple[int, str, bool]] = (),
    ) -> None:
        self.exchange(worker, queues, limit, lambda side: self._ends(side, drawn))

    def exchange(
        self,
        worker: int,
        queues: tuple[str, ...] | None,
        limit: int,
        ends: Callable[[sides.Side], list[wire.End]],
        *,
        with_results: bool = False,
    ) -> None:
        answer = self.both(
            lambda side: side.exchange(
                worker=worker,
                queues=queues,
                limit=limit,
                ends=ends(side),
                with_results=with_results,
            )
        )
        if isinstance(answer, sides.Raised) or len(answer[0]) == limit:
            return
        # To look too early costs a round trip; to look too late is a job that waits.
        exact = self.memory.due
        early = self.database.due
        assert exact is None or (early is not None and early <= exact), (early, exact)

    def claimed(
        self, side: sides.Side, drawn: Sequence[tuple[Any, ...]]
    ) -> list[tuple[int, int, tuple[Any, ...]]]:
        """The latest claims, each job once: those that were lost long ago as well."""
        chosen: dict[int, tuple[int, int, tuple[Any, ...]]] = {}
        for index_and_more in drawn:
            index: int = index_and_more[0]
            if index < len(side.claims):
                job_id, claim_id = side.claims[-1 - index]
                chosen.setdefault(job_id, (job_id, claim_id, index_and_more[1:]))
        return list(chosen.values())

    def _ends(self, side: sides.Side, drawn: Sequence[tuple[int, str, bool]]) -> list[wire.End]:
        return [
            wire.End(job_id=job_id, claim_id=claim_id, status=status, delete=delete)
            for job_id, claim_id, (status, delete) in self.claimed(side, drawn)
        ]

    @rule(
        worker=worker_names,
        drawn=st.lists(st.tuples(job_names, statuses.map(lambda s: s.value), st.booleans())),
    )
    def finish(self, worker: int, drawn: list[tuple[int, str, bool]]) -> None:
        self.both(
            lambda side: side.plain_outcomes(
                side.call(
                    wire.finish_jobs_v1(
                        worker_id=side.worker(worker), ends=self._ends(side, drawn)
                    )
                )
            )
        )

    @rule(
        worker=worker_names,
        drawn=st.lists(
            st.tuples(
                job_names,
                st.sampled_from(SECONDS),
                st.sampled_from([None, 7]),
                st.sampled_from([None, None, "b", "a", "", LONG]),
                st.sampled_from([None, None, "l", "m"]),
            ),
            max_size=3,
        ),
    )
    def retry(self, worker: int, drawn: list[tuple[Any, ...]]) -> None:
        def act(side: sides.Side) -> Any:
            retries = [
                wire.Retry(
                    job_id=job_id,
                    claim_id=claim_id,
                    retry_at=self.now + datetime.timedelta(seconds=offset),
                    priority=priority,
                    queue=queue,
                    lock=lock,
                )
                for job_id, claim_id, (offset, priority, queue, lock) in self.claimed(
                    side, drawn
                )
            ]
            return side.plain_outcomes(
                side.call(wire.retry_jobs_v1(worker_id=side.worker(worker), retries=retries))
            )

        self.both(act)

    @rule(worker=worker_names, drawn=st.lists(st.tuples(job_names), max_size=3))
    def release(self, worker: int, drawn: list[tuple[int]]) -> None:
        self.both(
            lambda side: side.plain_outcomes(
                side.call(
                    wire.release_jobs_v1(
                        worker_id=side.worker(worker),
                        claims=[
                            (job_id, claim_id)
                            for job_id, claim_id, _ in self.claimed(side, drawn)
                        ],
                    )
                )
            )
        )
