"""The verbs of those who look after a queue: by hand, or by a task that keeps house."""

from __future__ import annotations

import datetime
from typing import Any, Unpack

from procrastinate import bulk, utils
from procrastinate import jobs as jobs_module
from procrastinate.manager import verbs
from procrastinate.rpc import listing, old_wire


class Operations(verbs.Verbs):
    """Retries and cancels jobs, one or many, and deletes what is over."""

    async def retry_job(
        self,
        job: jobs_module.Job,
        retry_at: datetime.datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """
        Indicates that a job should be retried later.

        Parameters
        ----------
        job :
            The job to retry
        retry_at :
            If set at present time or in the past, the job may be retried immediately.
            Otherwise, the job will be retried no sooner than this date & time.
            Should be timezone-aware (even if UTC). Defaults to present time.
        priority :
            If set, the job will be retried with this priority. If not set, the priority
            remains unchanged.
        queue :
            If set, the job will be retried on this queue. If not set, the queue remains
            unchanged.
        lock :
            If set, the job will be retried with this lock. If not set, the lock remains
            unchanged.
        """
        assert job.id is not None  # A job that was fetched has one.
        await self.retry_job_by_id_async(
            job_id=job.id,
            retry_at=retry_at or utils.utcnow(),
            priority=priority,
            queue=queue,
            lock=lock,
        )

    def retry_job_by_id(
        self,
        job_id: int,
        retry_at: datetime.datetime,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Sync version of `retry_job_by_id_async`."""
        self._sync.call(
            old_wire.retry_job_v2(
                job_id=job_id, retry_at=retry_at, priority=priority, queue=queue, lock=lock
            )
        )

    async def retry_job_by_id_async(
        self,
        job_id: int,
        retry_at: datetime.datetime,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """
        Indicates that a job, given by its id, should be retried later.

        Only a job that is doing or failed can be.

        Parameters
        ----------
        job_id :
            The id of the job to retry
        retry_at :
            The job will be retried no sooner than this date & time, with a timezone. At
            present time or in the past: at once.
        priority :
            The priority of the retry; None leaves it unchanged.
        queue :
            The queue of the retry; None leaves it unchanged.
        lock :
            The lock of the retry; None leaves it unchanged.

        Raises
        ------
        exceptions.ConnectorException
            There is no such job, or it is neither doing nor failed.
        """
        await self.connector.call_async(
            old_wire.retry_job_v2(
                job_id=job_id, retry_at=retry_at, priority=priority, queue=queue, lock=lock
            )
        )

    def cancel_job_by_id(
        self,
        job_id: int,
        abort: bool = False,
        delete_job: bool = False,
        connection: Any | None = None,
    ) -> bool:
        """Sync version of `cancel_job_by_id_async`."""
        cancelled = self._sync.call(
            old_wire.cancel_job_v1(job_id=job_id, abort=abort, delete=delete_job),
            connection=connection,
        )
        return cancelled is not None

    async def cancel_job_by_id_async(
        self,
        job_id: int,
        abort: bool = False,
        delete_job: bool = False,
        connection: Any | None = None,
    ) -> bool:
        """
        Cancel a job by id.

        Parameters
        ----------
        job_id :
            The id of the job to cancel
        abort :
            If True, a job will be marked for abortion, but the task itself has to
            respect the abortion request. If False, only jobs in ``todo`` state will
            be set to ``cancelled`` and won't be processed by a worker anymore.
        delete_job :
            If True, the job will be deleted from the database after being cancelled.
            Does not affect the jobs that should be aborted.
        connection :
            Optional external database connection to use for the query.

        Returns
        -------
        :
            If True, the job was cancelled (or its abortion was requested). If False,
            nothing was done: either there is no job with this id or it's not in a state
            where it may be cancelled (i.e. `todo` or `doing`)
        """
        cancelled = await self.connector.call_async(
            old_wire.cancel_job_v1(job_id=job_id, abort=abort, delete=delete_job),
            connection=connection,
        )
        return cancelled is not None

    def retry_jobs(self, **options: Unpack[bulk.RetryFilters]) -> bulk.BulkResult:
        """Sync version of `retry_jobs_async`."""
        return bulk.drive(bulk.retrying(**options), self._sync.call)

    async def retry_jobs_async(self, **options: Unpack[bulk.RetryFilters]) -> bulk.BulkResult:
        """
        Run the failed jobs that pass all filters once more, in batches of some hundreds.

        A job that can't be retried is left as it is and reported; the others are retried all
        the same. Each batch is a transaction of its own.

        Parameters
        ----------
        queue :
            Filter by job queue name
        task :
            Filter by job task name
        status :
            ``failed`` (the default), or ``doing`` for jobs whose worker is lost
        lock :
            Filter by job lock
        queueing_lock :
            Filter by job queueing_lock
        older_than :
            Only jobs that failed (or were started) longer ago: a ``timedelta``
        newer_than :
            Only jobs that failed (or were started) no longer ago: a ``timedelta``
        ids :
            Only these jobs
        all :
            Must be True if none of the above but the status is given
        max_jobs :
            Consider no more than so many jobs, the first ones by id. None is no limit.
        dry_run :
            Tell which jobs it would be, and do nothing
        on_progress :
            Called after each batch with the number of jobs considered so far
        retry_at :
            Run them no sooner than this date & time. Defaults to present time.

        Returns
        -------
        :
            What became of each job: `BulkResult.changed`, `BulkResult.left` and
            `BulkResult.counts` sum it up.

        Raises
        ------
        ValueError
            There is no filter, and ``all`` is not True.
        exceptions.InvalidArgument
            The status is another one.
        """
        return await bulk.drive_async(bulk.retrying(**options), self.connector.call_async)

    def cancel_jobs(self, **options: Unpack[bulk.CancelFilters]) -> bulk.BulkResult:
        """Sync version of `cancel_jobs_async`."""
        return bulk.drive(bulk.cancelling(**options), self._sync.call)

    async def cancel_jobs_async(self, **options: Unpack[bulk.CancelFilters]) -> bulk.BulkResult:
        """
        Cancel the waiting jobs that pass all filters, in batches of some hundreds.

        The filters, what bounds them and the answer are those of `retry_jobs_async`; the status
        is ``todo`` (the default, together with ``doing`` if ``abort`` is True) or ``doing``.

        Parameters
        ----------
        abort :
            If True, running jobs that pass the filters are asked to abort, too
        delete_jobs :
            If True, waiting jobs are deleted instead
        """
        return await bulk.drive_async(bulk.cancelling(**options), self.connector.call_async)

    async def delete_old_jobs(
        self,
        nb_hours: int,
        queue: str | None = None,
        include_failed: bool | None = False,
        include_cancelled: bool | None = False,
        include_aborted: bool | None = False,
    ) -> None:
        """
        Delete jobs that have reached a final state (``succeeded``, ``failed``,
        ``cancelled``, or ``aborted``). By default, only considers jobs that have
        succeeded.

        It looks at all jobs, some thousands in a transaction: what was deleted before a
        failure stays deleted.

        Parameters
        ----------
        nb_hours :
            Consider jobs that been in a final state for more than ``nb_hours``
        queue :
            Filter by job queue name
        include_failed :
            If ``True``, also consider errored jobs. ``False`` by default
        include_cancelled :
            If ``True``, also consider cancelled jobs. ``False`` by default.
        include_aborted :
            If ``True``, also consider aborted jobs. ``False`` by default.
        """
        statuses = [jobs_module.Status.SUCCEEDED]
        if include_failed:
            statuses.append(jobs_module.Status.FAILED)
        if include_cancelled:
            statuses.append(jobs_module.Status.CANCELLED)
        if include_aborted:
            statuses.append(jobs_module.Status.ABORTED)
        after_id: int | None = listing.FIRST_ID
        while after_id is not None:
            step = await self.connector.call_async(
                listing.delete_old_jobs(
                    older_than=datetime.timedelta(hours=nb_hours),
                    statuses=statuses,
                    queue=queue,
                    after_id=after_id,
                )
            )
            after_id = step.next_id
