"""The verbs of those who have something to do: a job is deferred."""

from __future__ import annotations

from typing import Any, NoReturn

from procrastinate import exceptions
from procrastinate import jobs as jobs_module
from procrastinate.manager import verbs
from procrastinate.rpc import defers

QUEUEING_LOCK_CONSTRAINT = "procrastinate_jobs_queueing_lock_idx_v1"


class Defers(verbs.Verbs):
    """Defers jobs, one or many or the one of a tick."""

    def defer_job(self, job: jobs_module.Job, connection: Any | None = None) -> jobs_module.Job:
        """Sync version of `defer_job_async`."""
        return self.batch_defer_jobs([job], connection=connection)[0]

    async def defer_job_async(
        self, job: jobs_module.Job, connection: Any | None = None
    ) -> jobs_module.Job:
        """
        Add a job in its queue for later processing by a worker.

        Parameters
        ----------
        job :
            The job to defer
        connection :
            Optional external database connection: the job becomes part of its transaction.

        Returns
        -------
        :
            A copy of the job instance with the id set.
        """
        return (await self.batch_defer_jobs_async([job], connection=connection))[0]

    def batch_defer_jobs(
        self, jobs: list[jobs_module.Job], connection: Any | None = None
    ) -> list[jobs_module.Job]:
        """Sync version of `batch_defer_jobs_async`."""
        try:
            ids = self._sync.call(defers.defer_jobs_v2(new_jobs=jobs), connection=connection)
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, jobs)
        return _numbered(jobs, ids)

    async def batch_defer_jobs_async(
        self, jobs: list[jobs_module.Job], connection: Any | None = None
    ) -> list[jobs_module.Job]:
        """
        Add multiple jobs in their queue for later processing by a worker: all or none.

        Parameters
        ----------
        jobs :
            The jobs to defer
        connection :
            Optional external database connection: the jobs become part of its transaction.

        Returns
        -------
        :
            A list of copies of the job instances, with their id set.

        Raises
        ------
        exceptions.AlreadyEnqueued
            A waiting job, or another of these, has one's queueing lock.
        """
        try:
            ids = await self.connector.call_async(
                defers.defer_jobs_v2(new_jobs=jobs), connection=connection
            )
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, jobs)
        return _numbered(jobs, ids)

    async def defer_periodic_job(
        self, job: jobs_module.Job, periodic_id: str, defer_timestamp: int
    ) -> int | None:
        """
        Defer a periodic job, ensuring that no other worker will defer a job for the
        same timestamp.

        Parameters
        ----------
        job :
            The job to defer; it is given the tick as its argument ``timestamp``.
        periodic_id :
            What tells several schedules of one task apart.
        defer_timestamp :
            The tick, in seconds since the epoch.

        Returns
        -------
        :
            The id of the job, or None if another worker has deferred this tick.

        Raises
        ------
        exceptions.InvalidTimestamp
            The job's own ``timestamp`` is another one, or missing.
        exceptions.AlreadyEnqueued
            A waiting job has the queueing lock. The timestamp is free still.
        """
        # Both are what the task gets to know of its tick: they must tell the same.
        if job.task_kwargs.get("timestamp") != defer_timestamp:
            raise exceptions.InvalidTimestamp
        try:
            return await self.connector.call_async(
                defers.defer_periodic_job_v3(
                    job=job, periodic_id=periodic_id, defer_timestamp=defer_timestamp
                )
            )
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, [job])

    def _raise_already_enqueued(
        self, exc: exceptions.UniqueViolation, jobs: list[jobs_module.Job]
    ) -> NoReturn:
        if exc.constraint_name != QUEUEING_LOCK_CONSTRAINT:
            raise exc
        # The server's detail has it in a sentence of its language; one job has it for sure.
        queueing_lock = jobs[0].queueing_lock if len(jobs) == 1 else exc.queueing_lock
        raise exceptions.AlreadyEnqueued(
            "Job cannot be enqueued: there is already a job in the queue with the "
            f"queueing lock {queueing_lock}"
        ) from exc


def _numbered(jobs: list[jobs_module.Job], ids: list[int]) -> list[jobs_module.Job]:
    return [
        job.evolve(id=job_id, status=jobs_module.Status.TODO.value)
        for job, job_id in zip(jobs, ids, strict=True)
    ]
