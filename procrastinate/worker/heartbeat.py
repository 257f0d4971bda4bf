"""
The heartbeat: says that the worker lives, and compares what the database thinks with what runs.

A reply can be lost after its commit: the database then has jobs in doing that nobody runs. A
thorough beat returns all that it has, and what is unknown here is given back. To find all, the
database reads each row that runs or ran and was not vacuumed yet, so where that takes long most
beats name the jobs that are known here, and learn of those which are asked to abort
(docs/decisions/0141-a-beat-names-its-jobs.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from procrastinate import exceptions
from procrastinate.rpc import wire
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.rpc import values
    from procrastinate.worker.worker import Worker

#: Seconds until the next try of a beat that failed, if the interval is not shorter.
RETRY_AFTER = 1.0

#: After a thorough beat none is made for so many times as long as it took, unless a reply was
#: lost: no fleet shall spend more than a thousandth of a core per worker on them.
REST = 1000

#: Seconds that it rests at most.
LONGEST_REST = 60.0


class Heartbeat:
    """
    Beats regularly, and whenever it is told to.

    Parameters
    ----------
    worker
        Who lives.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._now = asyncio.Event()
        self._is_in_doubt = False
        self._rests_until = 0.0
        """On the event loop's clock: when the next thorough beat may be."""

    def look_now(self) -> None:
        """Compare all without waiting for the interval's end: a reply may be lost."""
        self._is_in_doubt = True
        self._now.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        # To register was the first beat.
        seconds = interval = self._worker.update_heartbeat_interval
        while True:
            await waiting.event_or_deadline(self._now, seconds)
            self._now.clear()
            is_well = await self._beat()
            seconds = interval if is_well else min(interval, RETRY_AFTER)

    async def _beat(self) -> bool:
        worker = self._worker
        worker_id = worker.registration.worker_id
        loop = asyncio.get_running_loop()
        began = loop.time()
        is_thorough = self._is_in_doubt or began >= self._rests_until
        # Before the beat: a reply that is lost after this may be of something that it missed. If
        # the beat itself is lost, there is an outage, and its end brings the doubt back.
        self._is_in_doubt = False
        try:
            held = await worker.outage.call(
                wire.heartbeat_v2(
                    worker_id=worker_id,
                    run=worker.registration.run,
                    job_ids=None if is_thorough else worker.claims.known_jobs(),
                ),
                # Time enough is left to beat on another connection.
                timeout=worker.stalled_worker_timeout / 3,
            )
            if is_thorough:
                now = loop.time()
                self._rests_until = now + min((now - began) * REST, LONGEST_REST)
            await self._compare(held)
        except exceptions.WorkerNotRegistered:
            try:
                await worker.registration.renew(worker_id)
            except exceptions.DatabaseUnavailable as exc:
                worker.outage.begin(exc)
                return False
        except exceptions.DatabaseUnavailable as exc:
            worker.outage.begin(exc)
            return False
        worker.outage.end()
        return True

    async def _compare(self, held: Sequence[values.HeldJob]) -> None:
        worker = self._worker
        for job in held:
            if job.abort_requested and (
                job.claim_id in worker.running or job.claim_id in worker.prefetched
            ):
                worker.running.abort_by_id(job.job_id)
        unknown = [job for job in held if not worker.claims.knows(job.claim_id)]
        if not unknown:
            return
        # Its answer may be on the way to us, or its end on the way to the database.
        await worker.claims.settled()
        for job in unknown:
            if not worker.claims.knows(job.claim_id):
                worker.claims.take_release(job.job_id, job.claim_id)
