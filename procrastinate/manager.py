"""The verbs that people use on jobs, workers and queues; each is one line of rpc."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Unpack

from procrastinate import bulk, carrier, exceptions, pieces, utils
from procrastinate import jobs as jobs_module
from procrastinate.rpc import listing, old_wire, schema_free, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from procrastinate import connector as connector_module
    from procrastinate.rpc import values


logger: logging.Logger = logging.getLogger(__name__)

QUEUEING_LOCK_CONSTRAINT = "procrastinate_jobs_queueing_lock_idx_v1"


class NotificationCallback(Protocol):
    """What is called for each notification."""

    def __call__(
        self, *, channel: str, notification: jobs_module.Notification
    ) -> Awaitable[None]:
        """Take a notification."""
        ...


def get_channel_for_queues(queues: Iterable[str] | None = None) -> Iterable[str]:
    """
    Return the channels of 3.x for some queues; None means all.

    For names of more than 40 bytes :func:`rpc.wire.channels_v1` knows the channel.
    """
    if queues is None:
        return ["procrastinate_any_queue_v1"]
    return [f"procrastinate_queue_v1#{queue}" for queue in queues]


def _seconds(seconds: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=seconds)


def _as_list(queues: Iterable[str] | None) -> list[str] | None:
    return None if queues is None else list(queues)


class JobManager:
    """
    What can be done with jobs, from outside of them.

    Parameters
    ----------
    connector
        What talks to the database.
    """

    def __init__(self, connector: connector_module.BaseConnector) -> None:
        self.connector = connector
        self._carrier: carrier.Carrier | None = None

    @property
    def _sync(self) -> connector_module.BaseConnector:
        return self.connector.get_sync_connector()

    # Deferring

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
            # One with a queueing lock may have to wait for somebody's transaction: for that
            # one, nobody else should.
            if connection is None and job.queueing_lock is None and connector.defers_together:
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
        """
        # Both are what the task gets to know of its tick: they must tell the same.
        if job.task_kwargs.get("timestamp") != defer_timestamp:
            raise exceptions.InvalidTimestamp
        try:
            return await self.connector.call_async(
                wire.defer_periodic_job_v3(
                    job=job, periodic_id=periodic_id, defer_timestamp=defer_timestamp
                )
            )
        except exceptions.UniqueViolation as exc:
            self._raise_already_enqueued(exc, [job])

    def _raise_already_enqueued(
        self, exc: exceptions.UniqueViolation, jobs: Iterable[jobs_module.Job]
    ) -> NoReturn:
        if exc.constraint_name != QUEUEING_LOCK_CONSTRAINT:
            raise exc
        # The server's detail has it in a sentence of its language; one job has it for sure.
        first = list(itertools.islice(jobs, 2))
        queueing_lock = first[0].queueing_lock if len(first) == 1 else exc.queueing_lock
        raise exceptions.AlreadyEnqueued(
            "Job cannot be enqueued: there is already a job in the queue with the "
            f"queueing lock {queueing_lock}"
        ) from exc

    # Running

    async def fetch_job(
        self, queues: Iterable[str] | None, worker_id: int
    ) -> jobs_module.Job | None:
        """
        Select a job in the queue, and mark it as doing.
        The worker selecting a job is then responsible for running it, and then
        to update the DB with the new status once it's done.

        Parameters
        ----------
        queues :
            Names of the queues to take from, or None for all.
        worker_id :
            The worker that will run it; it must be registered.

        Returns
        -------
        :
            None if no suitable job was found. The job otherwise.
        """
        return await self.connector.call_async(
            old_wire.fetch_job_v2(queues=_as_list(queues), worker_id=worker_id)
        )

    async def finish_job(
        self, job: jobs_module.Job, status: jobs_module.Status, delete_job: bool
    ) -> None:
        """
        Set a job to its final state (``succeeded``, ``failed`` or ``aborted``).

        Parameters
        ----------
        job :
            The job to finish
        status :
            ``succeeded``, ``failed`` or ``aborted``
        delete_job :
            If True, the job is deleted instead
        """
        assert job.id is not None  # A job that was fetched has one.
        await self.finish_job_by_id_async(job_id=job.id, status=status, delete_job=delete_job)

    async def finish_job_by_id_async(
        self, job_id: int, status: jobs_module.Status, delete_job: bool
    ) -> None:
        """
        Set a job, given by its id, to its final state.

        Parameters
        ----------
        job_id :
            The id of the job to finish
        status :
            ``succeeded``, ``failed`` or ``aborted``
        delete_job :
            If True, the job is deleted instead
        """
        await self.connector.call_async(
            old_wire.finish_job_v1(job_id=job_id, status=status.value, delete=delete_job)
        )

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

    # Many at once

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

    # Asking

    def get_job_status(self, job_id: int, connection: Any | None = None) -> jobs_module.Status:
        """Sync version of `get_job_status_async`."""
        return jobs_module.Status(
            self._sync.call(listing.get_job_status(job_id=job_id), connection=connection)
        )

    async def get_job_status_async(
        self, job_id: int, connection: Any | None = None
    ) -> jobs_module.Status:
        """
        Get the status of a job by id.

        Parameters
        ----------
        job_id :
            The id of the job to get the status of
        connection :
            Optional external database connection to use for the query.

        Returns
        -------
        :
            The status

        Raises
        ------
        exceptions.NoResult
            There is no job with that id.
        """
        status = await self.connector.call_async(
            listing.get_job_status(job_id=job_id), connection=connection
        )
        return jobs_module.Status(status)

    async def get_stalled_jobs(
        self,
        nb_seconds: int | None = None,
        queue: str | None = None,
        task_name: str | None = None,
        seconds_since_heartbeat: float = 30,  # three heartbeats: two may be lost
    ) -> Iterable[jobs_module.Job]:
        """
        Return all jobs that have been in ``doing`` state for more than a given time.

        Parameters
        ----------
        nb_seconds :
            If set then jobs that have been in ``doing`` state for longer than that time
            in seconds will be returned without considering stalled workers and heartbeats.
            This parameter is DEPRECATED and will be removed in a next major version.
            Use this method without this parameter instead to get stalled jobs based on
            stalled workers and heartbeats.
        queue :
            Filter by job queue name
        task_name :
            Filter by job task name
        seconds_since_heartbeat :
            Get stalled jobs based on workers that have not sent a heartbeat for longer
            than this time in seconds. Only used if ``nb_seconds`` is not set. Defaults to
            30 seconds. When changing it then check also the ``update_heartbeat_interval``
            and ``stalled_worker_timeout`` parameters of the worker.
        """
        if nb_seconds is not None:
            warnings.warn(
                "The `nb_seconds` parameter is deprecated and will be removed in a next major "
                "version. Use the method without this parameter instead to get stalled jobs "
                "based on stalled workers and heartbeats.",
                DeprecationWarning,
                stacklevel=2,
            )
            return await self.connector.call_async(
                listing.list_long_running_jobs(
                    older_than=_seconds(nb_seconds), queue=queue, task=task_name
                )
            )
        return await self.connector.call_async(
            listing.list_stalled_jobs(
                older_than=_seconds(seconds_since_heartbeat), queue=queue, task=task_name
            )
        )

    async def list_jobs_async(
        self,
        id: int | None = None,  # noqa: A002 (published so)
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
        queueing_lock: str | None = None,
        worker_id: int | None = None,
    ) -> Iterable[jobs_module.Job]:
        """
        List all procrastinate jobs given query filters.

        Parameters
        ----------
        id :
            Filter by job ID
        queue :
            Filter by job queue name
        task :
            Filter by job task name
        status :
            Filter by job status: the value of a `Status`
        lock :
            Filter by job lock
        queueing_lock :
            Filter by job queueing_lock
        worker_id :
            Filter by worker ID
        """
        return await self.connector.call_async(
            listing.list_jobs(
                id=id,
                queue=queue,
                task=task,
                status=status,
                lock=lock,
                queueing_lock=queueing_lock,
                worker_id=worker_id,
            )
        )

    def list_jobs(
        self,
        id: int | None = None,  # noqa: A002 (published so)
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
        queueing_lock: str | None = None,
        worker_id: int | None = None,
    ) -> list[jobs_module.Job]:
        """Sync version of `list_jobs_async`."""
        return self._sync.call(
            listing.list_jobs(
                id=id,
                queue=queue,
                task=task,
                status=status,
                lock=lock,
                queueing_lock=queueing_lock,
                worker_id=worker_id,
            )
        )

    async def list_queues_async(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """
        List all queues and number of jobs per status for each queue.

        Parameters
        ----------
        queue :
            Filter by job queue name
        task :
            Filter by job task name
        status :
            Filter by job status: the value of a `Status`
        lock :
            Filter by job lock

        Returns
        -------
        :
            A list of dictionaries representing queues stats (``name``, ``jobs_count``,
            ``todo``, ``doing``, ``succeeded``, ``failed``, ``cancelled``, ``aborted``).
        """
        return _as_dicts(
            await self.connector.call_async(
                listing.list_queues(queue=queue, task=task, status=status, lock=lock)
            )
        )

    def list_queues(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """Sync version of `list_queues_async`."""
        return _as_dicts(
            self._sync.call(
                listing.list_queues(queue=queue, task=task, status=status, lock=lock)
            )
        )

    async def list_tasks_async(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """
        List all tasks and number of jobs per status for each task.

        Parameters
        ----------
        queue :
            Filter by job queue name
        task :
            Filter by job task name
        status :
            Filter by job status: the value of a `Status`
        lock :
            Filter by job lock

        Returns
        -------
        :
            A list of dictionaries with the keys of those of `list_queues_async`; ``name`` is
            the task.
        """
        return _as_dicts(
            await self.connector.call_async(
                listing.list_tasks(queue=queue, task=task, status=status, lock=lock)
            )
        )

    def list_tasks(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """Sync version of `list_tasks_async`."""
        return _as_dicts(
            self._sync.call(
                listing.list_tasks(queue=queue, task=task, status=status, lock=lock)
            )
        )

    async def list_locks_async(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """
        List all locks and number of jobs per status for each lock.

        Parameters
        ----------
        queue :
            Filter by job queue name
        task :
            Filter by job task name
        status :
            Filter by job status: the value of a `Status`
        lock :
            Filter by job lock

        Returns
        -------
        :
            A list of dictionaries with the keys of those of `list_queues_async`; ``name`` is
            the lock.
        """
        return _as_dicts(
            await self.connector.call_async(
                listing.list_locks(queue=queue, task=task, status=status, lock=lock)
            )
        )

    def list_locks(
        self,
        queue: str | None = None,
        task: str | None = None,
        status: str | None = None,
        lock: str | None = None,
    ) -> Iterable[dict[str, Any]]:
        """Sync version of `list_locks_async`."""
        return _as_dicts(
            self._sync.call(
                listing.list_locks(queue=queue, task=task, status=status, lock=lock)
            )
        )

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        """
        List the ids of running jobs that were asked to abort.

        Parameters
        ----------
        queue :
            Filter by job queue name
        """
        return await self.connector.call_async(listing.list_jobs_to_abort(queue=queue))

    def check_connection(self) -> bool:
        """Sync version of `check_connection_async`."""
        return self._sync.call(schema_free.has_jobs_table())

    async def check_connection_async(self) -> bool:
        """
        Dummy query, check that the main Procrastinate SQL table exists.
        Raises if there's a connection problem.

        Returns
        -------
        :
            ``True`` if the table exists, ``False`` otherwise.
        """
        return await self.connector.call_async(schema_free.has_jobs_table())

    # Keeping house

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
        await self.connector.call_async(
            listing.delete_old_jobs(
                older_than=datetime.timedelta(hours=nb_hours), statuses=statuses, queue=queue
            )
        )

    async def register_worker(self) -> int:
        """
        Register a newly started worker (with a initial heartbeat) in the database.

        Returns
        -------
        :
            The ID of the registered worker
        """
        worker_id = await self.connector.call_async(wire.register_worker_v2())
        logger.debug("Registered worker %s in the database", worker_id)
        return worker_id

    async def unregister_worker(self, worker_id: int) -> None:
        """
        Unregister a shut down worker and also delete its heartbeat from the database.

        Parameters
        ----------
        worker_id :
            The ID of the worker to delete
        """
        await self.connector.call_async(wire.unregister_worker_v2(worker_id=worker_id))
        logger.debug("Unregistered worker %s from the database", worker_id)

    async def update_heartbeat(self, worker_id: int) -> None:
        """
        Update the heartbeat of a worker; of an unknown one, do nothing.

        Parameters
        ----------
        worker_id :
            The ID of the worker that is alive
        """
        await self.connector.call_async(old_wire.update_heartbeat_v1(worker_id=worker_id))

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """
        Delete the workers that have not sent a heartbeat for more than a given time.

        Parameters
        ----------
        seconds_since_heartbeat :
            Only workers that have not sent a heartbeat for longer than this will be deleted

        Returns
        -------
        :
            A list of worker IDs that have been deleted
        """
        return await self.connector.call_async(
            wire.prune_workers_v1(older_than=_seconds(seconds_since_heartbeat))
        )

    async def listen_for_jobs(
        self,
        *,
        on_notification: NotificationCallback,
        queues: Iterable[str] | None = None,
    ) -> None:
        """
        Listen for notifications of jobs, and call back for each one.

        This coroutine either returns ``None`` upon calling if it cannot start
        listening or does not return and needs to be cancelled to end.

        Parameters
        ----------
        on_notification :
            A coroutine that will be called and awaited every time a notification is received
        queues :
            If ``None``, all notification will be considered. If an iterable of
            queue names is passed, only defer operations on those queues will be
            considered. Defaults to ``None``
        """

        async def handle(*, channel: str, payload: str) -> None:
            await on_notification(channel=channel, notification=json.loads(payload))

        channels = await self.connector.call_async(wire.channels_v1(queues=_as_list(queues)))
        await self.connector.listen_notify(on_notification=handle, channels=channels)


def _numbered(jobs: list[jobs_module.Job], ids: list[int]) -> list[jobs_module.Job]:
    return [
        job.evolve(id=job_id, status=jobs_module.Status.TODO.value)
        for job, job_id in zip(jobs, ids, strict=True)
    ]


def _as_dicts(counts: list[values.JobCount]) -> list[dict[str, Any]]:
    return [count.asdict() for count in counts]
