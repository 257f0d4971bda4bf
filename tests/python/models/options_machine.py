"""The random commands of jobs with options: results, policies, progress, keys, groups."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from procrastinate import SyncPsycopgConnector, jobs
from procrastinate.rpc import defers, front, results, wire
from procrastinate.rpc.call import Written
from tests.python.models import sides
from tests.python.models.hand_machine import HandMachine
from tests.python.models.machine import (
    ages,
    ends,
    job_names,
    limits,
    new_jobs,
    queue_lists,
)

KEYS = ("k", "j")

seconds = st.sampled_from([None, None, 5, 30.5])
# Not the jitter: what is random can't be compared.
options: st.SearchStrategy[jobs.JobOptions] = st.builds(
    jobs.JobOptions,
    timeout=seconds,
    heartbeat=seconds,
    ttl=st.sampled_from([None, -1, 0, 0, 5, 40]),
    max_attempts=st.sampled_from([None, 1, 2, 3, 9]),
    retry_delay=st.sampled_from([None, 0, 1.5, 10]),
    retry_backoff=st.sampled_from([None, 0, 1, 1.7, 3]),
    retry_delay_cap=st.sampled_from([None, None, 12]),
    retry_jitter=st.sampled_from([None, False]),
    key=st.sampled_from([None, None, *KEYS]),
    group_key=st.sampled_from([None, None, 'g"ü', "h"]),
    keep_result=st.sampled_from([None, False, True]),
    meta=st.sampled_from([None, None, {"m": [1]}]),
)
faults: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"timeout": 0.0},
        {"heartbeat": -1.5},
        {"heartbeat": "5"},
        {"ttl": 20000000000},
        {"max_attempts": 0},
        {"max_attempts": 3.5},
        {"max_attempts": 2**31},
        {"retry_delay": -1},
        {"retry_backoff": True},
        {"retry_delay_cap": -0.5},
        {"retry_jitter": 1},
        {"keep_result": "yes"},
        {"key": ""},
        {"key": "ü" * 501},
        {"key": 7},
        {"key": "a\0b"},
        {"group_key": ""},
        {"meta": [1, "ü"]},
    ]
)
# Of the latest claims, and mostly by the worker that all have.
claim_names = st.integers(0, 4)
worker_names = st.sampled_from([0, 0, 0, 1, 2])
optional_jobs = st.tuples(new_jobs, st.one_of(options, options, st.none()))
errors: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        {"class": "builtins.ValueError", "message": "no: ü", "traceback": "t", "attempt": 1},
        {"class": "Odd", "message": "m" * 1001},
        {"class": "a.b.Silent"},
        {"message": "of nothing"},
    ]
)
returned = st.sampled_from([None, Written("null"), Written('{"a": [1, 2.5]}'), Written("3")])


class OptionsMachine(HandMachine):
    """Two sides that have to agree, whatever jobs ask for."""

    def _optional(
        self, drawn: Sequence[tuple[dict[str, Any], jobs.JobOptions | None]]
    ) -> list[jobs.Job]:
        return [self.make_job(job).evolve(options=options) for job, options in drawn]

    @initialize(drawn=st.lists(optional_jobs, min_size=2, max_size=4), limit=limits)
    def start(
        self, drawn: list[tuple[dict[str, Any], jobs.JobOptions | None]], limit: int
    ) -> None:
        """Begin with jobs and a worker: most commands are about jobs that run."""
        HandMachine.register(self, queues=None, old=False)
        for one in drawn:
            self._defer_optional(self._optional([one]), "many")
        self.exchange(0, None, limit, lambda _: [])

    @rule(limit=limits)
    def fetch_more(self, limit: int) -> None:
        self.exchange(0, None, limit, lambda _: [])

    @rule(
        drawn=st.lists(optional_jobs, max_size=3),
        how=st.sampled_from(["many", "many", "try", "one"]),
    )
    def defer_with_options(
        self, drawn: list[tuple[dict[str, Any], jobs.JobOptions | None]], how: str
    ) -> None:
        self._defer_optional(self._optional(drawn), how)

    @rule(
        drawn=st.lists(optional_jobs, min_size=1, max_size=2),
        fault=faults,
        how=st.sampled_from(["many", "try", "one"]),
    )
    def defer_with_options_that_cannot_be(
        self,
        drawn: list[tuple[dict[str, Any], jobs.JobOptions | None]],
        fault: dict[str, Any],
        how: str,
    ) -> None:
        (value,) = fault.values()
        if (
            type(value) is not float or "max_attempts" in fault
        ):  # the front door has types of its own for its arguments
            how = "many" if how == "one" else how
        wrong = jobs.JobOptions(**fault)
        self._defer_optional(self._optional([*drawn, (drawn[0][0], wrong)]), how)

    def _defer_optional(self, to_defer: list[jobs.Job], how: str) -> None:
        def act(side: sides.Side) -> Any:
            if how == "try":
                tried = side.call(defers.try_defer_jobs_v2(new_jobs=to_defer))
                names = side.add_jobs(one.job_id for one in tried)
                return names, [
                    (one.ordinal, one.conflict, one.reason, side.job_name(one.other_job_id))
                    for one in tried
                ]
            if how == "many":
                return side.add_jobs(side.call(defers.defer_jobs_v3(new_jobs=to_defer)))
            return side.add_jobs(
                side.call(
                    front.defer_job(
                        queue_name=job.queue,
                        task_name=job.task_name,
                        priority=job.priority,
                        lock=job.lock,
                        queueing_lock=job.queueing_lock,
                        args=job.task_kwargs,
                        scheduled_at=job.scheduled_at,
                        options=job.options,
                    )
                )
                for job in to_defer[-1:]
            )

        self.both(act)

    @rule(drawn=optional_jobs, timestamp=st.integers(1, 5))
    def defer_tick_with_options(
        self, drawn: tuple[dict[str, Any], jobs.JobOptions | None], timestamp: int
    ) -> None:
        job = self.make_job({**drawn[0], "offset": None}).evolve(options=drawn[1])
        self.both(
            lambda side: side.add_jobs(
                [
                    side.call(
                        defers.defer_periodic_job_v4(
                            job=job, periodic_id="p", defer_timestamp=timestamp
                        )
                    )
                ]
            )
        )

    @rule(
        worker=worker_names,
        queues=queue_lists,
        limit=limits,
        drawn=st.lists(
            st.tuples(claim_names, ends, st.booleans(), returned, errors), max_size=3
        ),
    )
    def finish_with_results(
        self,
        worker: int,
        queues: tuple[str, ...] | None,
        limit: int,
        drawn: list[tuple[Any, ...]],
    ) -> None:
        self.exchange(
            worker, queues, limit, lambda side: self._ends_of(side, drawn), with_results=True
        )

    def _ends_of(self, side: sides.Side, drawn: Sequence[tuple[Any, ...]]) -> list[wire.End]:
        return [
            wire.End(
                job_id=job_id,
                claim_id=claim_id,
                status=status,
                delete=delete,
                result=result,
                error=error,
            )
            for job_id, claim_id, (status, delete, result, error) in self.claimed(side, drawn)
        ]

    @rule(
        worker=worker_names,
        drawn=st.lists(
            st.tuples(
                job_names, st.sampled_from([0, 40]), st.sampled_from([None, "b"]), errors
            ),
            max_size=3,
        ),
    )
    def retry_with_errors(self, worker: int, drawn: list[tuple[Any, ...]]) -> None:
        def act(side: sides.Side) -> Any:
            retries = [
                wire.Retry(
                    job_id=job_id,
                    claim_id=claim_id,
                    retry_at=self.at(offset),
                    queue=queue,
                    error=error,
                )
                for job_id, claim_id, (offset, queue, error) in self.claimed(side, drawn)
            ]
            return side.plain_outcomes(
                side.call(results.retry_jobs_v2(worker_id=side.worker(worker), retries=retries))
            )

        self.both(act)

    @rule(
        worker=worker_names,
        drawn=st.lists(st.tuples(claim_names, errors, st.booleans()), max_size=3),
    )
    def fail(self, worker: int, drawn: list[tuple[Any, ...]]) -> None:
        def act(side: sides.Side) -> Any:
            failed = [
                wire.End(job_id, claim_id, "failed", delete, None, error)
                for job_id, claim_id, (error, delete) in self.claimed(side, drawn)
            ]
            return side.plain_outcomes(
                side.call(results.fail_jobs_v1(worker_id=side.worker(worker), ends=failed))
            )

        self.both(act)

    @rule(
        worker=worker_names,
        drawn=st.lists(
            st.tuples(
                claim_names,
                st.sampled_from([None, 0.0, 0.25, 1.0, 1.5, -2.0]),
                st.sampled_from([None, None, {"at": "ü"}, [1], "no", 2.5, True]),
            ),
            max_size=2,
        ),
    )
    def update(self, worker: int, drawn: list[tuple[Any, ...]]) -> None:
        def act(side: sides.Side) -> Any:
            updates = [
                results.Update(job_id=job_id, claim_id=claim_id, progress=progress, meta=meta)
                for job_id, claim_id, (progress, meta) in self.claimed(side, drawn)
            ]
            updated = side.call(
                results.update_jobs_v1(worker_id=side.worker(worker), updates=updates)
            )
            return [(side.job_name(job_id), outcome) for job_id, outcome in updated.items()]

        self.both(act)

    @rule(age=ages, max_jobs=st.integers(0, 3))
    def expire(self, age: datetime.timedelta, max_jobs: int) -> None:
        self.both(
            lambda side: side.plain_outcomes(
                side.call(results.expire_jobs_v1(older_than=age, max_jobs=max_jobs))
            )
        )

    @rule(job=job_names)
    def look_at_one(self, job: int) -> None:
        self.both(
            lambda side: (
                side.plain_report(side.call(front.get_result(job_id=side.job(job)))),
                side.call(front.watch_job(job_id=side.job(job))),
            )
        )

    @rule(keys=st.lists(st.sampled_from([*KEYS, "none"]), max_size=3))
    def find_keys(self, keys: list[str]) -> None:
        self.both(
            lambda side: {
                key: side.job_name(job_id)
                for key, job_id in side.call(results.find_keys_v1(keys=keys)).items()
            }
        )


#: Commands that options have no part in: without them a history gets further.
OTHERS = (
    "defer",
    "defer_what_cannot_be",
    "defer_one",
    "defer_tick",
    "register",
    "beat",
    "beat_as_3x",
    "prune",
    "fetch",
    "fetch_as_3x",
    "finish_and_fetch",
    "finish",
    "retry",
    "release",
    "reschedule",
    "pause",
    "resume",
    "recover",
    "purge",
    "delete_old",
    "change_many",
    "recover_tasks",
    "retire",
    "list_jobs",
    "count",
    "get_status",
    "explain",
    "list_jobs_to_abort",
    "list_stalled",
    "ask_the_schema",
    "defer_with_options_that_cannot_be",
    "defer_tick_with_options",
)


def run_on(connector: SyncPsycopgConnector) -> type[OptionsMachine]:
    """Return a machine whose PostgreSQL side is this database."""

    class OnDatabase(OptionsMachine):
        database_connector = connector

    return OnDatabase


def run_options_on(connector: SyncPsycopgConnector) -> type[OptionsMachine]:
    """Return a machine of the commands that options are about, and no others."""
    return type(
        "OptionsOnDatabase",
        (OptionsMachine,),
        {"database_connector": connector, **dict.fromkeys(OTHERS)},
    )
