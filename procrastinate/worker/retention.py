"""
Retention: finished jobs of some age go, if the worker's option says so.

Why it is the worker's, and what it costs: docs/decisions/0061-retention-of-the-worker.md.
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

#: Seconds between two passes, at least and at most; in between a tenth of the age, so that no
#: job stays for much longer than was asked for.
SHORTEST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0

#: Between two steps of a pass it rests so many times as long as the first one took: what is old
#: can wait, and who runs jobs has the server for most of the time.
REST = 2.0


def age(retention: datetime.timedelta | float | None) -> datetime.timedelta | None:
    """
    Return how old a finished job may become; None is for ever.

    Raises
    ------
    ValueError
        It is no age: jobs would go as they end, and the option for that is ``delete_jobs``.
    """
    if retention is None:
        return None
    if not isinstance(retention, datetime.timedelta):
        retention = datetime.timedelta(seconds=retention)
    if retention <= datetime.timedelta(0):
        raise ValueError(
            f"The retention is {retention}: it must be positive, or None to keep jobs for ever"
        )
    return retention


class Retention:
    """
    Deletes what ended long ago, a bounded number of jobs at a time.

    Parameters
    ----------
    worker
        Whose option it is.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._age = age(worker.retention)
        self._never = asyncio.Event()

    async def run(self) -> None:
        """Make a pass now and then until cancelled; return at once if jobs are kept."""
        if self._age is None:
            return
        pause = min(max(self._age.total_seconds() / 10, SHORTEST_PAUSE), LONGEST_PAUSE)
        while True:
            await self._pass(self._age)
            await waiting.event_or_deadline(self._never, pause)

    async def _pass(self, older_than: datetime.timedelta) -> None:
        worker = self._worker
        retired, after_id = 0, 0
        now = asyncio.get_running_loop().time
        try:
            while True:
                begun = now()
                step = await worker.app.connector.call_async(
                    wire.retire_jobs_v1(older_than=older_than, after_id=after_id)
                )
                retired += step.retired
                if step.next_id is None:
                    break
                after_id = step.next_id
                await waiting.event_or_deadline(self._never, (now() - begun) * REST)
        except exceptions.DatabaseUnavailable as exc:
            worker.outage.begin(exc)
        except exceptions.ConnectorException as exc:
            # A table of the user's that points at a job, or a right that is missing, say: the
            # worker runs jobs all the same.
            worker.logger.error(  # noqa: TRY400 (the message says what the database said)
                "Jobs that ended more than %s ago could not be deleted: %s",
                older_than,
                exc.__cause__ or exc,
                exc_info=exc,
                extra=worker.log_extra("retention_failed"),
            )
        if retired:
            worker.logger.info(
                "Deleted %s jobs that ended more than %s ago",
                retired,
                older_than,
                extra={**worker.log_extra("jobs_retired"), "retired": retired},
            )
