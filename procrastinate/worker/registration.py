"""The worker's row in the database: written, renewed when it was pruned, removed."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, metadata
from procrastinate.rpc import spoken, wire

if TYPE_CHECKING:
    from procrastinate.rpc.call import Call
    from procrastinate.worker.worker import Worker


class Registration:
    """
    Who the worker is to the database.

    Parameters
    ----------
    worker
        Whose row it is.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._renewal = asyncio.Lock()
        self._id: int | None = None
        self.run: str = os.urandom(16).hex()
        """Tells its rows from those of others that are given their ids, after a failover."""

    @property
    def worker_id(self) -> int:
        """The row's id."""
        assert self._id is not None  # Nothing that asks is started before the row is written.
        return self._id

    def greeting(self) -> Call[Any]:
        """
        Return what a server that may be another one has to accept before all else.

        After a failover the worker's id may be another worker's.
        """
        return wire.heartbeat_v2(worker_id=self.worker_id, run=self.run, job_ids=[])

    async def register(self) -> None:
        """Write the row."""
        worker = self._worker
        self._id = worker.worker_id = await worker.outage.call(
            wire.register_worker_v2(
                name=worker.worker_name,
                queues=worker.queues,
                description=_describe(worker),
            )
        )
        worker.logger.debug("Registered worker %s in the database", self._id)

    async def renew(self, lost_id: int) -> None:
        """
        Write a new row for one that is gone, unless that has been done.

        Whoever pruned it took this worker for dead: jobs that run now may be given to others,
        and their ends will be refused then.
        """
        async with self._renewal:
            if self._id != lost_id:
                return
            self._worker.logger.warning(
                "Worker %s is not registered any more: it was most probably taken for stalled. "
                "Registering again; %s running jobs may be given to other workers",
                lost_id,
                len(self._worker.running),
                extra={"action": "worker_registered_again", "lost_worker_id": lost_id},
            )
            await self.register()
            # Others may have been given them, and nobody has begun them here.
            self._worker.prefetched.give_back()
            # What was written while there was no row may have been announced to nobody.
            self._worker.claims.wake()

    async def unregister(self) -> None:
        """Remove the row, if the database can be reached; else it will be pruned one day."""
        if self._id is None:
            return
        try:
            gone = await self._worker.outage.call(
                wire.unregister_worker_v2(worker_id=self._id, run=self.run)
            )
        except exceptions.ConnectorException as exc:
            self._worker.logger.warning(
                "Could not unregister worker %s: %r",
                self._id,
                exc,
                extra={"action": "unregister_worker_failed"},
            )
        else:
            if gone:
                self._worker.logger.debug("Unregistered worker %s from the database", self._id)
            else:
                self._worker.logger.debug("Worker %s was not registered any more", self._id)
        self._id = self._worker.worker_id = None


def _describe(worker: Worker) -> dict[str, Any]:
    return {
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "procrastinate": metadata.extract_metadata()["version"],
        "concurrency": worker.concurrency,
        **worker.description,
        "run": worker.registration.run,
        "wire": spoken.functions(),  # no migration removes these while this worker lives
    }
