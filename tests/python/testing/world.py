"""A queue in memory or in a database, with a clock that the test sets."""

from __future__ import annotations

import datetime
from typing import Any

import attrs

from procrastinate import jobs
from procrastinate.connector import BaseConnector
from procrastinate.rpc import defers, results, values, wire

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
ERROR: dict[str, Any] = {
    "class": "builtins.ValueError",
    "message": "no",
    "traceback": "t",
    "attempt": 1,
}


@attrs.define
class World:
    """A queue with a clock and a worker."""

    connector: BaseConnector
    now: datetime.datetime = NOON
    worker_id: int = 0

    def call(self, call: Any) -> Any:
        return self.connector.call(call)

    def job(self, **options: Any) -> jobs.Job:
        fields: dict[str, Any] = {"queue": "q", "task_name": "t", "lock": None}
        fields |= {
            name: options.pop(name)
            for name in ("queue", "lock", "scheduled_at", "priority")
            if name in options
        }
        return jobs.Job(**fields, queueing_lock=None, options=jobs.JobOptions(**options))

    def defer(self, **options: Any) -> int:
        (job_id,) = self.call(defers.defer_jobs_v3(new_jobs=[self.job(**options)]))
        return int(job_id)

    def fetch(self, limit: int = 10) -> list[values.ClaimedJob]:
        exchange = self.call(
            wire.fetch_jobs_v1(worker_id=self.worker_id, queues=None, limit=limit)
        )
        return list(exchange.claimed)

    def claim(self, **options: Any) -> tuple[int, int]:
        self.defer(**options)
        (claimed,) = self.fetch()
        return claimed.job.id or 0, claimed.claim_id

    def end(self, claim: tuple[int, int], **more: Any) -> values.Exchange:
        fields: dict[str, Any] = {"status": "succeeded", **more}
        end = wire.End(*claim, **fields)
        exchange: values.Exchange = self.call(
            results.finish_and_fetch_v2(
                worker_id=self.worker_id, queues=None, limit=0, marks=None, ends=[end]
            )
        )
        return exchange

    def fail(self, claim: tuple[int, int], error: Any = None) -> str:
        end = wire.End(*claim, "failed", error=error)
        (outcome,) = self.call(results.fail_jobs_v1(worker_id=self.worker_id, ends=[end]))
        return str(outcome.outcome)

    def report(self, job_id: int) -> values.JobReport | None:
        reports = self.call(results.get_results_v1(job_ids=[job_id]))
        return reports[0] if reports else None

    def later(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)
