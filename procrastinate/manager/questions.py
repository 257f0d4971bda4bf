"""The verbs of those who want to know: nothing is changed here."""

from __future__ import annotations

import datetime
import warnings
from typing import TYPE_CHECKING, Any

from procrastinate import jobs as jobs_module
from procrastinate.manager import verbs
from procrastinate.rpc import listing, schema_free

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procrastinate.rpc import values


class Questions(verbs.Verbs):
    """Lists jobs, counts them, and tells whether there is a schema at all."""

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
                    older_than=datetime.timedelta(seconds=nb_seconds),
                    queue=queue,
                    task=task_name,
                )
            )
        return await self.connector.call_async(
            listing.list_stalled_jobs(
                older_than=datetime.timedelta(seconds=seconds_since_heartbeat),
                queue=queue,
                task=task_name,
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


def _as_dicts(counts: list[values.JobCount]) -> list[dict[str, Any]]:
    return [count.asdict() for count in counts]
