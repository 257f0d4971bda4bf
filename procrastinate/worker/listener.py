"""The listener: hears of new jobs and of aborts, on a connection of its own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions
from procrastinate.rpc import wire
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from procrastinate.worker.worker import Worker


class Listener:
    """
    Wakes the claim loop as notifications say, and has aborts looked for.

    Parameters
    ----------
    worker
        Who wants to hear.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled, and again whenever the connection is lost."""
        worker = self._worker
        connector = worker.app.connector
        while True:
            try:
                channels = await worker.outage.call(wire.channels_v1(queues=worker.queues))
                await connector.listen_notify(
                    on_notification=self._on_notification,
                    channels=channels,
                    on_listening=self._on_listening,
                )
            except exceptions.DatabaseUnavailable as exc:
                worker.logger.warning(
                    "The connection that listens is lost: %r. Jobs are found by polling until "
                    "it is back",
                    exc.__cause__ or exc,
                    extra=worker.log_extra("listener_lost"),
                )
            else:
                return  # This connector can't listen: polling must do.
            self._failures += 1
            await worker.outage.pause(self._failures - 1)

    def _on_listening(self) -> None:
        # What was announced before this connection listened was announced to nobody.
        if self._failures:
            self._worker.claims.quiet.doubt()
        self._failures = 0
        self._worker.claims.wake()

    async def _on_notification(self, *, channel: str, payload: str) -> None:
        # Most say that there is a job: which one does not matter.
        if "abort_job_requested" not in payload:
            self._worker.claims.wake()
            return
        try:
            notification: Any = json.loads(payload)
            job_id = int(notification["job_id"])
        except (ValueError, KeyError, TypeError):
            self._worker.logger.debug("Received a notification that is not ours: %r", payload)
            return
        # Every queue of this database uses these channels, and in another schema another job
        # has this number: what was asked for is in our tables
        # (docs/decisions/0130-a-schema-is-a-tenants.md).
        if self._worker.running.may_have(job_id):
            self._worker.aborts.look_for(job_id)


class AbortPoller:
    """
    Looks which jobs are asked to abort: when a notification says so, and now and then.

    It names those that are known here, and those which notifications named: they may be on their
    way here.

    Parameters
    ----------
    worker
        Whose running jobs may be asked to abort.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._told = asyncio.Event()
        self._named: set[int] = set()

    def look_for(self, job_id: int) -> None:
        """Look at once, also for this job."""
        self._named.add(job_id)
        self._told.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        worker = self._worker
        while True:
            await waiting.event_or_deadline(self._told, worker.abort_job_polling_interval)
            if not self._told.is_set() and not worker.running:
                continue
            # Before the look: who is told of after this may have been missed by it.
            self._told.clear()
            named, self._named = self._named, set()
            try:
                job_ids = await worker.outage.call(
                    wire.list_jobs_to_abort_v2(
                        worker_id=worker.registration.worker_id,
                        job_ids=[*named.union(worker.claims.known_jobs())],
                    )
                )
            except exceptions.DatabaseUnavailable as exc:
                self._named |= named
                worker.outage.begin(exc)
                continue
            for job_id in job_ids:
                worker.running.abort_by_id(job_id)
