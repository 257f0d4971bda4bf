"""
PostgreSQL and the memory connector, each with the names that a test has for its ids.

A command speaks of the third job or the second claim; what they are called differs from side to
side, for a sequence also counts what was rolled back.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import attrs

from procrastinate import SyncPsycopgConnector, exceptions, jobs
from procrastinate.connector import BaseConnector
from procrastinate.rpc import listing, results, values, wire
from procrastinate.rpc.call import Call
from procrastinate.testing import InMemoryConnector

T = TypeVar("T")

#: An id that nothing has.
UNKNOWN = 1_000_000


@attrs.frozen
class Raised:
    """An error, as a caller sees it."""

    kind: type[Exception]
    message: str
    constraint_name: str | None = None
    queueing_lock: str | None = None
    key: str | None = None


@attrs.frozen(kw_only=True)
class Look:
    """All that can be seen from outside."""

    jobs: list[Any]
    events: list[list[tuple[str, datetime.datetime, str | None, Any]]]
    reports: list[Any]
    workers: dict[int, datetime.datetime]


def _named(ids: list[int], found: int | None) -> int | None:
    return None if found is None else ids.index(found)


@attrs.define(eq=False)
class Side:
    """One of the two."""

    connector: BaseConnector
    job_ids: list[int] = attrs.field(factory=list[int])
    worker_ids: list[int] = attrs.field(factory=list[int])
    claims: list[tuple[int, int]] = attrs.field(factory=list[tuple[int, int]])
    """The job and the number of each."""
    marks: dict[Any, list[int] | None] = attrs.field(factory=dict[Any, "list[int] | None"])
    due: float | None = None
    """What the last fetch said of the next delayed job."""

    def job(self, index: int) -> int:
        return self.job_ids[index] if index < len(self.job_ids) else UNKNOWN

    def worker(self, index: int) -> int:
        return self.worker_ids[index] if index < len(self.worker_ids) else UNKNOWN

    def job_name(self, job_id: int | None) -> int | None:
        return None if job_id == UNKNOWN else _named(self.job_ids, job_id)

    def claim_name(self, claim_id: int) -> int:
        return [number for _, number in self.claims].index(claim_id)

    def attempt(self, act: Callable[[Side], Any]) -> Any:
        """Do something here; an error is a result like others."""
        try:
            return act(self)
        except exceptions.ConnectorException as exc:
            message = re.sub(r"(?<=job id: )\d+", "#", str(exc))
            if isinstance(exc, exceptions.JobNotFound):
                message = re.sub(r"\d+", "#", message)
            if isinstance(exc, exceptions.UniqueViolation):
                return Raised(
                    type(exc), message, exc.constraint_name, exc.queueing_lock, exc.key
                )
            return Raised(type(exc), message)

    def call(self, call: Call[T]) -> T:
        return self.connector.call(call)

    def add_jobs(self, ids: Iterable[int | None]) -> list[int | None]:
        """Name new jobs; return their names."""
        names: list[int | None] = []
        for job_id in ids:
            if job_id is not None:
                self.job_ids.append(job_id)
            names.append(_named(self.job_ids, job_id))
        return names

    def add_worker(self, worker_id: int) -> int:
        self.worker_ids.append(worker_id)
        return len(self.worker_ids) - 1

    def plain_job(self, job: jobs.Job) -> tuple[Any, ...]:
        """Return a job in the test's words."""
        return (
            self.job_name(job.id),
            _named(self.worker_ids, job.worker_id),
            job.evolve(id=None, worker_id=None),
        )

    def plain_jobs(self, found: Iterable[jobs.Job]) -> list[tuple[Any, ...]]:
        return [self.plain_job(job) for job in found]

    def names(self, job_ids: Iterable[int]) -> list[int | None]:
        return [self.job_name(job_id) for job_id in job_ids]

    def plain_outcomes(self, outcomes: Sequence[values.Outcome]) -> list[tuple[Any, ...]]:
        return [(self.job_name(one.job_id), one.outcome, one.status) for one in outcomes]

    def reports(self, job_ids: Sequence[int]) -> list[tuple[Any, ...]]:
        """Return what is known of these jobs, in the test's words."""
        return [
            self.plain_report(report)
            for report in self.call(results.get_results_v1(job_ids=job_ids))
        ]

    def plain_report(self, report: values.JobReport) -> tuple[Any, ...]:
        return self.job_name(report.job_id), attrs.evolve(report, job_id=0)

    def exchange(
        self,
        *,
        worker: int,
        queues: tuple[str, ...] | None,
        limit: int,
        ends: Sequence[wire.End] = (),
        with_results: bool = False,
    ) -> Any:
        """Report and fetch until there is no more, as a worker does."""
        key = (worker, queues)
        claimed: list[values.ClaimedJob] = []
        not_held: list[values.EndNotHeld] = []
        function = results.finish_and_fetch_v2 if with_results else wire.finish_and_fetch_v1
        while True:
            answer = self.call(
                function(
                    worker_id=self.worker(worker),
                    queues=queues,
                    limit=limit - len(claimed),
                    marks=self.marks.get(key),
                    ends=ends,
                )
            )
            assert not answer.contended, "there is nobody else"
            claimed += answer.claimed
            not_held += answer.not_held
            self.marks[key] = answer.marks
            ends = ()
            if not answer.more or len(claimed) == limit:
                break
        self.due = answer.next_due_in
        self.claims += [(claim.job.id or 0, claim.claim_id) for claim in claimed]
        return (
            self.plain_jobs(claim.job for claim in claimed),
            [
                (self.job_name(end.job_id), self.claim_name(end.claim_id or 0), end.status)
                for end in not_held
            ],
        )

    def learn_claims(self) -> None:
        """Name the claims of a fetch that did not tell them, as that of 3.x."""
        known = {claim_id for _, claim_id in self.claims}
        for worker_id in self.worker_ids:
            try:
                held = self.call(wire.heartbeat_v2(worker_id=worker_id))
            except exceptions.WorkerNotRegistered:
                continue
            self.claims += [
                (one.job_id, one.claim_id) for one in held if one.claim_id not in known
            ]


class DatabaseSide(Side):
    """PostgreSQL, on one connection: the clock is a setting of it."""

    def look(self, connector: SyncPsycopgConnector) -> Look:
        events: dict[int, list[Any]] = {}
        with connector.pool.connection() as connection:
            for job_id, *event in connection.execute(
                "select job_id, type::text, at, error, details from procrastinate_events "
                "order by id"
            ):
                events.setdefault(job_id, []).append(tuple(event))
            found = connection.execute(
                "select id, last_heartbeat from procrastinate_workers"
            ).fetchall()
        return Look(
            jobs=self.plain_jobs(self.call(listing.list_jobs())),
            reports=self.reports(self.job_ids),
            events=[events.get(job_id, []) for job_id in self.job_ids],
            workers={self.worker_ids.index(row[0]): row[1] for row in found},
        )


class MemorySide(Side):
    """The memory connector."""

    def look(self, connector: InMemoryConnector) -> Look:
        return Look(
            jobs=self.plain_jobs(self.call(listing.list_jobs())),
            reports=self.reports(self.job_ids),
            events=[
                [
                    (event["type"], event["at"], event.get("error"), event.get("details"))
                    for event in connector.events.get(job_id, [])
                ]
                for job_id in self.job_ids
            ],
            workers={
                self.worker_ids.index(worker_id): beat
                for worker_id, beat in connector.workers.items()
            },
        )
