"""
What must be done now and then for all workers, and each does its share of.

Beside the heartbeat, not within it: here a call may wait for somebody's transaction, and who
waits still lives.
"""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

from procrastinate import exceptions
from procrastinate.rpc import wire
from procrastinate.worker import waiting

if TYPE_CHECKING:
    from procrastinate.worker.worker import Worker

#: Seconds between two rounds, if workers do not count as stalled sooner. With each heartbeat it
#: would be half of what an idle worker says to the database.
INTERVAL = 30.0

#: And at least, however soon they count as stalled: it should do other things as well.
SHORTEST_INTERVAL = 0.1

#: Seconds until a round that failed is made again: the first time, and at most.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Housekeeping:
    """
    Makes its round regularly, and whenever it is told to.

    Parameters
    ----------
    worker
        Whose share it is.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._now = asyncio.Event()

    def begin_now(self) -> None:
        """Begin the next round without waiting for the interval's end."""
        self._now.set()

    async def run(self) -> None:
        """Make rounds until cancelled."""
        worker = self._worker
        seconds = interval = min(
            INTERVAL, max(worker.stalled_worker_timeout, SHORTEST_INTERVAL)
        )
        failures = 0
        while True:
            # The first round was made before there was a heartbeat.
            await waiting.event_or_deadline(self._now, seconds)
            self._now.clear()
            try:
                await self.make_round()
            except exceptions.DatabaseUnavailable as exc:
                # No outage, as far as is known: a lock may be in the way of this alone.
                if not failures:
                    self._say(exc)
                seconds = waiting.backoff(failures, first=FIRST_PAUSE, most=LONGEST_PAUSE)
                failures += 1
            else:
                seconds, failures = interval, 0

    def _say(self, exc: exceptions.DatabaseUnavailable) -> None:
        self._worker.logger.warning(
            "Stalled workers and jobs could not be looked for: %r. Trying again until they are",
            exc.__cause__ or exc,
            extra=self._worker.log_extra("housekeeping_failed"),
        )

    async def make_round(self) -> None:
        """Do all of it once."""
        worker = self._worker
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
