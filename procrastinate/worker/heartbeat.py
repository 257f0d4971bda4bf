"""
The heartbeat: says that the worker lives, and compares what the database thinks with what runs.

A reply can be lost after its commit: the database then has jobs in doing that nobody runs. A
beat returns what it has, and what is unknown here is given back.
"""

from __future__ import annotations

import asyncio
import datetime
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

#: Seconds between two rounds of what is done for all, if workers do not count as stalled
#: sooner. With each beat it would be half of what an idle worker says to the database.
HOUSEKEEPING_INTERVAL = 30.0


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
        self._house_kept_at = 0.0

    def beat_now(self) -> None:
        """Beat without waiting for the interval's end."""
        self._now.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        # To register was the first beat.
        seconds = interval = self._worker.update_heartbeat_interval
        while True:
            await waiting.event_or_deadline(self._now, seconds)
            is_house_due = self._now.is_set() or self._is_house_due()
            self._now.clear()
            is_well = await self._beat(is_house_due)
            seconds = interval if is_well else min(interval, RETRY_AFTER)

    def _is_house_due(self) -> bool:
        interval = min(HOUSEKEEPING_INTERVAL, self._worker.stalled_worker_timeout)
        return asyncio.get_running_loop().time() - self._house_kept_at >= interval

    async def _beat(self, is_house_due: bool) -> bool:
        worker = self._worker
        worker_id = worker.registration.worker_id
        try:
            held = await worker.outage.call(
                wire.heartbeat_v1(worker_id=worker_id, run=worker.registration.run),
                # Time enough is left to beat on another connection.
                timeout=worker.stalled_worker_timeout / 3,
            )
            await self._compare(held)
            if is_house_due:
                await self.keep_house()
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

    async def keep_house(self) -> None:
        """Do this worker's share of what must be done now and then for all."""
        worker = self._worker
        self._house_kept_at = asyncio.get_running_loop().time()
        pruned = await worker.outage.call(
            wire.prune_workers_v1(
                older_than=datetime.timedelta(seconds=worker.stalled_worker_timeout)
            )
        )
        if pruned:
            worker.logger.debug("Pruned stalled workers: %s", pruned)
        await worker.recovery.expire()
        await worker.recovery.run()
        swept = await worker.outage.call(wire.sweep_v1())
        if swept.promoted:
            worker.logger.info(
                "Released %s jobs that waited for a lock which nobody held",
                swept.promoted,
                extra={**worker.log_extra("jobs_promoted"), "promoted": swept.promoted},
            )
