"""The verbs of those who have something to do: a job is deferred."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, NoReturn

from procrastinate import carrier, exceptions, pieces
from procrastinate import jobs as jobs_module
from procrastinate.manager import verbs
from procrastinate.rpc import defers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procrastinate import connector as connector_module

KEY_CONSTRAINT = "procrastinate_keys_pkey"
QUEUEING_LOCK_CONSTRAINT = "procrastinate_jobs_queueing_lock_idx_v1"


class Defers(verbs.Verbs):
    """Defers jobs, one or many or the one of a tick."""

    _carrier: carrier.Carrier | None = None

    def defer_job(self, job: jobs_module.Job, connection: Any | None = None) -> jobs_module.Job:
        """Sync version of `defer_job_async`."""
        try:
            job_id = self._sync.call(pieces.one(job), connection=connection)
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, [job])
        return _numbered([job], [job_id])[0]

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
        connector = self.connector
        try:
            # One with a queueing lock or a key may have to wait for somebody's transaction:
            # for that one, nobody else should.
            if connection is None and _waits_for_nobody(job) and connector.defers_together:
                job_id = await self._carrier_of(connector).defer(job)
            else:
                job_id = await connector.call_async(pieces.one(job), connection=connection)
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, [job])
        return _numbered([job], [job_id])[0]

    def _carrier_of(self, connector: connector_module.BaseConnector) -> carrier.Carrier:
        loop = asyncio.get_running_loop()
        # Another loop gets another one: what the old loop left undone is not waited for.
        found = self._carrier
        if found is None or not found.serves(connector, loop):
            found = self._carrier = carrier.Carrier(connector, loop)
        return found

    def batch_defer_jobs(
        self, jobs: list[jobs_module.Job], connection: Any | None = None
    ) -> list[jobs_module.Job]:
        """Sync version of `batch_defer_jobs_async`."""
        return _numbered(jobs, self.batch_defer_ids(jobs, connection=connection))

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
        exceptions.KeyInUse
            A job that waits or runs, or another of these, has one's key.
        """
        return _numbered(jobs, await self.batch_defer_ids_async(jobs, connection=connection))

    def batch_defer_ids(
        self, jobs: Iterable[jobs_module.Job], connection: Any | None = None
    ) -> list[int]:
        """Sync version of `batch_defer_ids_async`."""
        try:
            return pieces.defer(self._sync, jobs, connection)
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, jobs)

    async def batch_defer_ids_async(
        self, jobs: Iterable[jobs_module.Job], connection: Any | None = None
    ) -> list[int]:
        """
        Do what `batch_defer_jobs_async` does, and return the ids alone.

        Parameters
        ----------
        jobs :
            The jobs to defer. They may be made while they are read, but more than once.
        connection :
            Optional external database connection: the jobs become part of its transaction.
        """
        try:
            return await pieces.defer_async(self.connector, jobs, connection)
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, jobs)

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
        exceptions.KeyInUse
            A job that waits or runs has the key. The timestamp is free still.
        """
        # Both are what the task gets to know of its tick: they must tell the same.
        if job.task_kwargs.get("timestamp") != defer_timestamp:
            raise exceptions.InvalidTimestamp
        try:
            defer = (
                defers.defer_periodic_job_v3
                if job.options is None
                else defers.defer_periodic_job_v4
            )
            return await self.connector.call_async(
                defer(job=job, periodic_id=periodic_id, defer_timestamp=defer_timestamp)
            )
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, [job])

    def _raise_already_enqueued(
        self, exc: exceptions.UniqueViolation, jobs: Iterable[jobs_module.Job]
    ) -> NoReturn:
        if exc.constraint_name not in (QUEUEING_LOCK_CONSTRAINT, KEY_CONSTRAINT):
            raise exc
        # The server's detail has it in a sentence of its language; one job has it for sure.
        first = list(itertools.islice(jobs, 2))
        only = first[0] if len(first) == 1 else None
        if exc.constraint_name == KEY_CONSTRAINT:
            options = None if only is None else only.options
            key = exc.key if options is None else options.key
            raise exceptions.KeyInUse(
                "Job cannot be enqueued: there is already a job waiting or running with the "
                f"key {key}"
            ) from exc
        queueing_lock = exc.queueing_lock if only is None else only.queueing_lock
        raise exceptions.AlreadyEnqueued(
            "Job cannot be enqueued: there is already a job in the queue with the "
            f"queueing lock {queueing_lock}"
        ) from exc


def _waits_for_nobody(job: jobs_module.Job) -> bool:
    return job.queueing_lock is None and (job.options is None or job.options.key is None)


def _numbered(jobs: list[jobs_module.Job], ids: list[int]) -> list[jobs_module.Job]:
    return [
        job.evolve(id=job_id, status=jobs_module.Status.TODO.value)
        for job, job_id in zip(jobs, ids, strict=True)
    ]
