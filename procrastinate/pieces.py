"""
A batch of jobs in pieces: one statement each, all in one transaction.

A batch of any size is written as JSON, quoted and sent a piece at a time; what the caller holds
already, the arguments, is all that grows with it: docs/decisions/0071.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate.rpc import call, decode, defers, front

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from procrastinate import connector as connector_module
    from procrastinate import jobs

#: Jobs in one statement: the server works on them for some 20 ms.
MOST_JOBS = 1000

#: Characters of arguments in one statement, unless one job has more.
MOST_TEXT = 1_000_000


@attrs.define
class Room:
    """What one statement has taken in: it takes more jobs until there is no room."""

    jobs: int = 0
    text: int = 0

    def takes(self, args: call.Written) -> bool:
        """Take in one more job if there is room; for a first one there is, whatever its size."""
        jobs, text = self.jobs + 1, self.text + len(args)
        if self.jobs and (jobs > MOST_JOBS or text > MOST_TEXT):
            return False
        self.jobs, self.text = jobs, text
        return True


def one(job: jobs.Job) -> call.Call[int]:
    """Return the call that defers one job: the server has less to do than for a batch of one."""
    if job.options is not None:
        of_many = defers.defer_jobs_v3(new_jobs=[job])
        return call.Call(function=of_many.function, args=of_many.args, decode=decode.one)
    return front.defer_job(
        queue_name=job.queue,
        task_name=job.task_name,
        priority=job.priority,
        lock=job.lock,
        queueing_lock=job.queueing_lock,
        args=job.task_kwargs,
        scheduled_at=job.scheduled_at,
    )


def many(
    jobs: Sequence[jobs.Job], written: Sequence[call.Written] | None = None
) -> call.Call[list[int]]:
    """Return the call that defers some jobs: the cheaper one, if none of them has options."""
    if any(job.options is not None for job in jobs):
        return defers.defer_jobs_v3(new_jobs=jobs, written=written)
    return defers.defer_jobs_v2(new_jobs=jobs, written=written)


class Pieces:
    """
    The calls that defer some jobs, made anew each time that they are asked for.

    Parameters
    ----------
    jobs
        The jobs. They are read once for each attempt to send them.
    json_dumps
        How arguments are written; None is :func:`json.dumps`.
    """

    def __init__(self, jobs: Iterable[jobs.Job], json_dumps: call.Dumps | None) -> None:
        self._jobs = jobs
        self._json_dumps = json_dumps
        self._begun: Iterator[tuple[call.Call[list[int]], bool]] | None = None

    def __iter__(self) -> Iterator[call.Call[list[int]]]:
        """Make the calls, one after the other."""
        begun, self._begun = self._begun, None
        return (piece for piece, _ in begun or self._cut())

    def only(self) -> call.Call[list[int]] | None:
        """Return the call if one is enough. If not, the first is not made anew for the others."""
        cut = self._cut()
        first = next(cut, None)
        if first is None:
            return defers.defer_jobs_v2(new_jobs=[])
        piece, is_last = first
        if is_last:
            return piece
        self._begun = itertools.chain([first], cut)
        return None

    def _cut(self) -> Iterator[tuple[call.Call[list[int]], bool]]:
        piece: list[jobs.Job] = []
        written: list[call.Written] = []
        room = Room()
        for job in self._jobs:
            args = call.Written(call.dumped(job.task_kwargs, self._json_dumps))
            if not room.takes(args):
                yield many(piece, written), False
                piece, written, room = [], [], Room()
                room.takes(args)
            piece.append(job)
            written.append(args)
        if piece:
            yield many(piece, written), True


def defer(
    connector: connector_module.BaseConnector, jobs: Iterable[jobs.Job], connection: Any | None
) -> list[int]:
    """Sync version of :func:`defer_async`."""
    if not connector.sends_pieces:
        return connector.call(many(list(jobs)), connection=connection)
    pieces = Pieces(jobs, connector.json_dumps)
    only = pieces.only()
    if only is not None:
        return connector.call(only, connection=connection)
    return _joined(connector.call_all(pieces, connection=connection))


async def defer_async(
    connector: connector_module.BaseConnector, jobs: Iterable[jobs.Job], connection: Any | None
) -> list[int]:
    """
    Defer jobs, all or none, and return their ids in the same order.

    Parameters
    ----------
    connector
        What sends the statements; one statement, if it can't send pieces.
    jobs
        The jobs. They may be read more than once.
    connection
        A connection of the caller's, or None.
    """
    if not connector.sends_pieces:
        return await connector.call_async(many(list(jobs)), connection=connection)
    pieces = Pieces(jobs, connector.json_dumps)
    only = pieces.only()
    if only is not None:
        return await connector.call_async(only, connection=connection)
    return _joined(await connector.call_all_async(pieces, connection=connection))


def _joined(answers: Iterable[list[int]]) -> list[int]:
    return [job_id for ids in answers for job_id in ids]
