"""The random commands of people and of upkeep, and what is asked."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from procrastinate import jobs
from procrastinate.rpc import front, listing, old_wire, values, wire
from tests.python.models import sides
from tests.python.models.machine import (
    LONG,
    SECONDS,
    Machine,
    ages,
    job_names,
    locks,
    offsets,
    queue_lists,
    queue_names,
    statuses,
    worker_names,
)


class HandMachine(Machine):
    """Also what people do by hand, upkeep, and every question."""

    # By hand

    @rule(job=job_names, status=statuses, delete=st.booleans())
    def finish_by_id(self, job: int, status: jobs.Status, delete: bool) -> None:
        self.both(
            lambda side: side.call(
                old_wire.finish_job_v1(job_id=side.job(job), status=status.value, delete=delete)
            )
        )

    @rule(
        job=job_names,
        offset=st.sampled_from(SECONDS),
        priority=st.sampled_from([None, 7]),
        queue=st.sampled_from([None, None, "b", "", LONG]),
        lock=st.sampled_from([None, None, "l", "m"]),
        how=st.sampled_from(["v2", "v2", "v1", "front"]),
    )
    def retry_by_id(
        self,
        job: int,
        offset: int,
        priority: int | None,
        queue: str | None,
        lock: str | None,
        how: str,
    ) -> None:
        def act(side: sides.Side) -> Any:
            if how == "front":
                return side.call(
                    front.retry_job(
                        job_id=side.job(job),
                        retry_at=None if offset == 0 else self.at(offset),
                        priority=priority,
                        queue_name=queue,
                        lock=lock,
                    )
                )
            function = old_wire.retry_job_v1 if how == "v1" else old_wire.retry_job_v2
            return side.call(
                function(
                    job_id=side.job(job),
                    retry_at=self.now + datetime.timedelta(seconds=offset),
                    priority=priority,
                    queue=queue,
                    lock=lock,
                )
            )

        self.both(act)

    @rule(
        job=job_names,
        abort=st.booleans(),
        delete=st.booleans(),
        how=st.sampled_from(["old_wire", "front", "abort"]),
    )
    def cancel(self, job: int, abort: bool, delete: bool, how: str) -> None:
        def act(side: sides.Side) -> Any:
            job_id = side.job(job)
            if how == "abort":
                return side.call(front.abort_job(job_id=job_id))
            if how == "front":
                return side.call(
                    front.cancel_job(job_id=job_id, abort=abort, delete_job=delete)
                )
            return side.job_name(
                side.call(old_wire.cancel_job_v1(job_id=job_id, abort=abort, delete=delete))
            )

        self.both(act)

    @rule(job=job_names, offset=offsets)
    def reschedule(self, job: int, offset: int | None) -> None:
        self.both(
            lambda side: side.call(
                front.reschedule_job(job_id=side.job(job), scheduled_at=self.at(offset))
            )
        )

    # Upkeep

    @rule(seconds=st.sampled_from([1, 10, 35, 100]))
    def travel(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)
        self._set_clock()

    @rule(
        queue=st.one_of(queue_names, st.sampled_from(["", LONG])),
        until=st.sampled_from([None, 10, 40, -5]),
    )
    def pause(self, queue: str, until: int | None) -> None:
        self.both(
            lambda side: side.call(
                front.pause_queue(queue_name=queue, reason="r", until=self.at(until))
            )
        )

    @rule(queue=st.one_of(queue_names, st.sampled_from(["", LONG])))
    def resume(self, queue: str) -> None:
        self.both(lambda side: side.call(front.resume_queue(queue_name=queue)))

    @rule(age=ages, max_jobs=st.integers(0, 3))
    def recover(self, age: datetime.timedelta, max_jobs: int) -> None:
        self.both(
            lambda side: side.names(
                side.call(front.recover_stalled_jobs(older_than=age, max_jobs=max_jobs))
            )
        )

    @rule(
        age=ages,
        queue=st.sampled_from([None, "a"]),
        chosen=st.lists(statuses, max_size=3),
        max_jobs=st.integers(0, 2),
    )
    def purge(
        self,
        age: datetime.timedelta,
        queue: str | None,
        chosen: list[jobs.Status],
        max_jobs: int,
    ) -> None:
        self.both(
            lambda side: side.call(
                front.purge_jobs(
                    older_than=age, queue_name=queue, statuses=chosen, max_jobs=max_jobs
                )
            )
        )

    @rule(
        age=ages,
        queue=st.sampled_from([None, "a"]),
        chosen=st.lists(statuses, max_size=3),
        after=st.one_of(st.none(), job_names),
        max_jobs=st.integers(0, 3),
    )
    def delete_old(
        self,
        age: datetime.timedelta,
        queue: str | None,
        chosen: list[jobs.Status],
        after: int | None,
        max_jobs: int,
    ) -> None:
        def act(side: sides.Side) -> Any:
            step = side.call(
                listing.delete_old_jobs(
                    older_than=age,
                    queue=queue,
                    statuses=chosen,
                    after_id=listing.FIRST_ID if after is None else side.job(after),
                    max_jobs=max_jobs,
                )
            )
            return step.deleted, side.job_name(step.next_id)

        self.both(act)

    @rule(
        drawn=st.fixed_dictionaries(
            {
                "queue_name": st.sampled_from([None, None, "a"]),
                "task_name": st.sampled_from([None, None, "t"]),
                "lock": st.sampled_from([None, None, "l"]),
                "queueing_lock": st.sampled_from([None, None, None, "p"]),
                "older_than": st.one_of(st.none(), ages),
                "newer_than": st.one_of(st.none(), st.none(), ages),
                "all_jobs": st.booleans(),
            }
        ),
        status=st.sampled_from([None, None, "todo", "doing", "failed", "aborted"]),
        chosen=st.one_of(st.none(), st.none(), st.lists(job_names, max_size=4)),
        abort=st.booleans(),
        delete=st.booleans(),
        dry_run=st.sampled_from([False, False, True]),
        after=st.one_of(st.none(), job_names),
        max_jobs=st.sampled_from([500, 500, 2, 0]),
        offset=offsets,
        cancel=st.booleans(),
    )
    def change_many(
        self,
        drawn: dict[str, Any],
        status: str | None,
        chosen: list[int] | None,
        abort: bool,
        delete: bool,
        dry_run: bool,
        after: int | None,
        max_jobs: int,
        offset: int | None,
        cancel: bool,
    ) -> None:
        def act(side: sides.Side) -> Any:
            filters = values.Filters(
                **drawn,
                status=status,
                job_ids=None if chosen is None else [side.job(name) for name in chosen],
            )
            bounds: Any = {
                "filters": filters,
                "dry_run": dry_run,
                "after_id": 0 if after is None else side.job(after),
                "max_jobs": max_jobs,
            }
            if cancel:
                call = front.cancel_jobs(abort=abort, delete_jobs=delete, **bounds)
            else:
                call = front.retry_jobs(retry_at=self.at(offset), **bounds)
            return [(side.job_name(job_id), did) for job_id, did in side.call(call).items()]

        self.both(act)

    @rule(
        age=ages,
        most=st.dictionaries(st.sampled_from(["s", "t"]), st.sampled_from([None, 0, 1, 2])),
        max_jobs=st.integers(0, 3),
    )
    def recover_tasks(
        self, age: datetime.timedelta, most: dict[str, int | None], max_jobs: int
    ) -> None:
        self.both(
            lambda side: side.plain_outcomes(
                side.call(
                    wire.recover_jobs_v1(older_than=age, max_attempts=most, max_jobs=max_jobs)
                )
            )
        )

    @rule(age=ages, after=st.one_of(st.none(), job_names), max_jobs=st.integers(0, 3))
    def retire(self, age: datetime.timedelta, after: int | None, max_jobs: int) -> None:
        def act(side: sides.Side) -> Any:
            after_id = 0 if after is None else side.job(after)
            retired = side.call(
                wire.retire_jobs_v1(older_than=age, after_id=after_id, max_jobs=max_jobs)
            )
            return retired.retired, side.job_name(retired.next_id)

        self.both(act)

    @rule()
    def sweep(self) -> None:
        # Not its other number: the memory connector unlinks gone workers at once.
        self.both(lambda side: side.call(wire.sweep_v1()).promoted)

    # Asking

    @rule(
        job=st.one_of(st.none(), job_names),
        queue=st.sampled_from([None, "a"]),
        status=st.sampled_from([None, "todo", "doing", "failed", "nonsense"]),
        lock=locks,
        worker=st.one_of(st.none(), worker_names),
    )
    def list_jobs(
        self,
        job: int | None,
        queue: str | None,
        status: str | None,
        lock: str | None,
        worker: int | None,
    ) -> None:
        self.both(
            lambda side: side.plain_jobs(
                side.call(
                    listing.list_jobs(
                        id=None if job is None else side.job(job),
                        queue=queue,
                        status=status,
                        lock=lock,
                        worker_id=None if worker is None else side.worker(worker),
                    )
                )
            )
        )

    @rule(
        function=st.sampled_from([listing.list_queues, listing.list_tasks, listing.list_locks]),
        queue=st.sampled_from([None, None, "a"]),
        task=st.sampled_from([None, None, "t"]),
        status=st.sampled_from([None, None, "todo", "nonsense"]),
    )
    def count(
        self, function: Any, queue: str | None, task: str | None, status: str | None
    ) -> None:
        self.both(lambda side: side.call(function(queue=queue, task=task, status=status)))

    @rule(job=job_names)
    def get_status(self, job: int) -> None:
        self.both(lambda side: side.call(listing.get_job_status(job_id=side.job(job))))

    @rule(job=job_names)
    def explain(self, job: int) -> None:
        # Not how many are ahead: a job that fell due counts in PostgreSQL once a fetch met it.
        self.both(
            lambda side: [
                (gate.gate, gate.is_open is not False or gate.gate == "ahead")
                for gate in side.call(front.explain_job(job_id=side.job(job)))
            ]
        )

    @rule(
        worker=worker_names,
        queue=st.sampled_from([None, "a"]),
        named=st.none() | st.lists(job_names, max_size=4),
    )
    def list_jobs_to_abort(
        self, worker: int, queue: str | None, named: list[int] | None
    ) -> None:
        self.both(
            lambda side: (
                side.names(side.call(listing.list_jobs_to_abort(queue=queue))),
                side.names(
                    side.call(
                        wire.list_jobs_to_abort_v2(
                            worker_id=side.worker(worker),
                            job_ids=None if named is None else [side.job(job) for job in named],
                        )
                    )
                ),
            )
        )

    @rule(age=ages, queue=st.sampled_from([None, "a"]), task=st.sampled_from([None, "t"]))
    def list_stalled(
        self, age: datetime.timedelta, queue: str | None, task: str | None
    ) -> None:
        self.both(
            lambda side: (
                side.plain_jobs(
                    side.call(listing.list_stalled_jobs(older_than=age, queue=queue, task=task))
                ),
                side.plain_jobs(
                    side.call(
                        listing.list_long_running_jobs(older_than=age, queue=queue, task=task)
                    )
                ),
            )
        )

    @rule(queues=queue_lists)
    def ask_the_schema(self, queues: Sequence[str] | None) -> None:
        self.both(
            lambda side: (
                side.call(wire.channels_v1(queues=queues)),
                side.call(front.version()),
                side.call(front.now()),
                side.call(front.repair()),
            )
        )
