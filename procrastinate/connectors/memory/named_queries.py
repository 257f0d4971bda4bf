"""
The methods that 3.10's connector had for each of its queries, ``<query>_<run, one or all>``.

Whoever calls them in a test, or replaces one of them, finds them here. The package does not: its
calls are answered in :mod:`procrastinate.connectors.memory.answers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from procrastinate import exceptions

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from procrastinate import types
    from procrastinate.connectors.memory.store import JobRow


def first(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first row; raise :class:`exceptions.NoResult` if there is none."""
    if not rows:
        raise exceptions.NoResult
    return rows[0]


class NamedQueries:
    """One method for each published query."""

    def answer_published(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        """Answer a published query, given by its name."""
        raise NotImplementedError

    def answer_text(self, query: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer a published query, given by its text, and note that it was asked."""
        raise NotImplementedError

    async def generic_execute(
        self, query: str, suffix: Literal["run", "one", "all"], **arguments: Any
    ) -> Any:
        """Answer a published query, given by its text."""
        rows = self.answer_text(query, arguments)
        if suffix == "one":
            return first(rows)
        return rows if suffix == "all" else None

    def make_dynamic_query(self, query: str, **identifiers: str) -> str:
        """Put identifiers into a query's text."""
        return query.format(**identifiers)

    async def apply_schema_run(self) -> None:
        """Do nothing: there is no schema here."""

    async def listen_for_jobs_run(self) -> None:
        """Do nothing: ``listen_notify`` listens."""

    async def defer_jobs_all(self, jobs: list[types.JobToDefer]) -> list[JobRow]:
        """Defer jobs, all or none; a row with the id of each."""
        return self.answer_published("defer_jobs", jobs=jobs)

    async def defer_periodic_job_one(
        self,
        queue: str,
        task_name: str,
        priority: int,
        args: types.JSONDict,
        defer_timestamp: int,
        lock: str | None,
        queueing_lock: str | None,
        periodic_id: str,
    ) -> JobRow:
        """Defer the job of a tick; its id is None if the tick was taken."""
        return first(
            self.answer_published(
                "defer_periodic_job",
                queue=queue,
                task_name=task_name,
                priority=priority,
                args=args,
                defer_timestamp=defer_timestamp,
                lock=lock,
                queueing_lock=queueing_lock,
                periodic_id=periodic_id,
            )
        )

    async def fetch_job_one(
        self, queues: Iterable[str] | None, worker_id: int
    ) -> dict[str, Any]:
        """Claim a worker's next job; its values are None if there is none."""
        return first(
            self.answer_published(
                "fetch_job",
                queues=None if queues is None else list(queues),
                worker_id=worker_id,
            )
        )

    async def finish_job_run(self, job_id: int, status: str, delete_job: bool) -> None:
        """End a job."""
        self.answer_published("finish_job", job_id=job_id, status=status, delete_job=delete_job)

    async def cancel_job_one(
        self, job_id: int, abort: bool, delete_job: bool
    ) -> dict[str, Any]:
        """Cancel a waiting job, or ask a running one to abort; its id is None for neither."""
        return first(
            self.answer_published(
                "cancel_job", job_id=job_id, abort=abort, delete_job=delete_job
            )
        )

    async def retry_job_run(
        self,
        job_id: int,
        retry_at: datetime.datetime,
        new_priority: int | None = None,
        new_queue_name: str | None = None,
        new_lock: str | None = None,
    ) -> None:
        """Put a running or failed job back."""
        self.answer_published(
            "retry_job",
            job_id=job_id,
            retry_at=retry_at,
            new_priority=new_priority,
            new_queue_name=new_queue_name,
            new_lock=new_lock,
        )

    async def get_job_status_one(self, job_id: int) -> dict[str, Any]:
        """Return a job's status."""
        return first(self.answer_published("get_job_status", job_id=job_id))

    async def select_stalled_jobs_by_started_all(
        self, nb_seconds: int, queue: str | None, task_name: str | None
    ) -> list[JobRow]:
        """Return the running jobs that started longer ago."""
        return self.answer_published(
            "select_stalled_jobs_by_started",
            nb_seconds=nb_seconds,
            queue=queue,
            task_name=task_name,
        )

    async def select_stalled_jobs_by_heartbeat_all(
        self, queue: str | None, task_name: str | None, seconds_since_heartbeat: int
    ) -> list[JobRow]:
        """Return the running jobs whose worker is gone or has not beaten for longer."""
        return self.answer_published(
            "select_stalled_jobs_by_heartbeat",
            queue=queue,
            task_name=task_name,
            seconds_since_heartbeat=seconds_since_heartbeat,
        )

    async def delete_old_jobs_run(
        self, nb_hours: int, queue: str | None, statuses: Iterable[str]
    ) -> None:
        """Delete finished jobs whose newest event is older."""
        self.answer_published(
            "delete_old_jobs", nb_hours=nb_hours, queue=queue, statuses=list(statuses)
        )

    async def list_jobs_all(self, **kwargs: Any) -> list[JobRow]:
        """Return the jobs that have these values."""
        return self.answer_published("list_jobs", **kwargs)

    async def list_queues_all(self, **kwargs: Any) -> list[dict[str, Any]]:
        """Count the jobs of each queue, by status."""
        return self.answer_published("list_queues", **kwargs)

    async def list_tasks_all(self, **kwargs: Any) -> list[dict[str, Any]]:
        """Count the jobs of each task, by status."""
        return self.answer_published("list_tasks", **kwargs)

    async def list_locks_all(self, **kwargs: Any) -> list[dict[str, Any]]:
        """Count the jobs of each lock, by status."""
        return self.answer_published("list_locks", **kwargs)

    async def list_jobs_to_abort_all(self, queue_name: str | None) -> list[dict[str, Any]]:
        """Return the ids of the running jobs that are asked to abort."""
        return self.answer_published("list_jobs_to_abort", queue_name=queue_name)

    async def check_connection_one(self) -> dict[str, Any]:
        """Say whether the main table is there."""
        return first(self.answer_published("check_connection"))

    async def register_worker_one(self) -> dict[str, Any]:
        """Write a row for a worker."""
        return first(self.answer_published("register_worker"))

    async def unregister_worker_run(self, worker_id: int) -> None:
        """Delete the row of a worker."""
        self.answer_published("unregister_worker", worker_id=worker_id)

    async def update_heartbeat_run(self, worker_id: int) -> None:
        """Note that a worker lives."""
        self.answer_published("update_heartbeat", worker_id=worker_id)

    async def prune_stalled_workers_all(
        self, seconds_since_heartbeat: int
    ) -> list[dict[str, Any]]:
        """Delete the rows of workers that have not beaten for longer."""
        return self.answer_published(
            "prune_stalled_workers", seconds_since_heartbeat=seconds_since_heartbeat
        )
