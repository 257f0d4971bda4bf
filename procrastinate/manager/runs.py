"""The verbs of a worker of 3.x, for those who have written one; ours speaks to ``rpc.wire``."""

from __future__ import annotations

import datetime
import json
import logging
from typing import TYPE_CHECKING, Protocol

from procrastinate.manager import verbs
from procrastinate.rpc import listing, old_wire, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from procrastinate import jobs as jobs_module

logger: logging.Logger = logging.getLogger("procrastinate.manager")


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


def _as_list(queues: Iterable[str] | None) -> list[str] | None:
    return None if queues is None else list(queues)


class Runs(verbs.Verbs):
    """Fetches a job, ends it, and says that its worker lives."""

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

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        """
        List the ids of running jobs that were asked to abort.

        Parameters
        ----------
        queue :
            Filter by job queue name
        """
        return await self.connector.call_async(listing.list_jobs_to_abort(queue=queue))

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
            wire.prune_workers_v1(
                older_than=datetime.timedelta(seconds=seconds_since_heartbeat)
            )
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
