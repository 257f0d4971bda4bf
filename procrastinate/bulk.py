"""
One verb for many jobs: what :meth:`JobManager.retry_jobs` and its likes ask of the database.

The generators yield a call for each batch and are sent its answer, so that both colours drive
the same steps. Each batch is a transaction of its own: a failure loses none of those before it.
"""

from __future__ import annotations

import collections
import functools
from typing import TYPE_CHECKING, NotRequired, Protocol, TypeAlias, TypedDict, Unpack

import attrs

from procrastinate.rpc import values

if TYPE_CHECKING:
    import datetime
    from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping

    from procrastinate.rpc.call import Call

#: Jobs in a transaction. Each may have a lock, and a statement with more than 512 of them (eight
#: times max_locks_per_transaction) would have to keep every fetch away to get them all.
BATCH = 500

#: Outcomes of jobs that stay what they are.
LEFT = ("queueing_lock_taken", "busy")


class Filters(TypedDict):
    """Which jobs: those that pass every filter that is given. See `JobManager.retry_jobs`."""

    queue: NotRequired[str | None]
    task: NotRequired[str | None]
    status: NotRequired[str | None]
    lock: NotRequired[str | None]
    queueing_lock: NotRequired[str | None]
    older_than: NotRequired[datetime.timedelta | None]
    newer_than: NotRequired[datetime.timedelta | None]
    ids: NotRequired[Iterable[int] | None]
    all: NotRequired[bool]
    max_jobs: NotRequired[int | None]
    dry_run: NotRequired[bool]
    on_progress: NotRequired[Callable[[int], None] | None]


class RetryFilters(Filters):
    """The options of `JobManager.retry_jobs`."""

    retry_at: NotRequired[datetime.datetime | None]


class CancelFilters(Filters):
    """The options of `JobManager.cancel_jobs`."""

    abort: NotRequired[bool]
    delete_jobs: NotRequired[bool]


@attrs.frozen(kw_only=True)
class BulkResult:
    """What became of each of the jobs that passed the filters."""

    outcomes: Mapping[int, str]
    """
    By id. ``retried``, ``failed`` (was in ``doing``, and could not be put back), ``cancelled``,
    ``deleted``, ``abort_requested``; ``queueing_lock_taken`` or ``busy`` (another transaction was
    at it) for a job that stays what it was; ``matched`` with ``dry_run``.
    """

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs had which outcome."""
        return dict(collections.Counter(self.outcomes.values()))

    @property
    def changed(self) -> list[int]:
        """The ids of the jobs that are not what they were."""
        return [
            job_id
            for job_id, outcome in self.outcomes.items()
            if outcome not in LEFT and outcome != "matched"
        ]

    @property
    def left(self) -> dict[int, str]:
        """The jobs that passed the filters and stay what they were, with the reason."""
        return {job_id: outcome for job_id, outcome in self.outcomes.items() if outcome in LEFT}


Steps: TypeAlias = "Generator[Call[dict[int, str]], dict[int, str], BulkResult]"


class _Verb(Protocol):
    def __call__(
        self, *, filters: values.Filters, dry_run: bool, after_id: int, max_jobs: int
    ) -> Call[dict[int, str]]: ...


def retrying(*, retry_at: datetime.datetime | None = None, **options: Unpack[Filters]) -> Steps:
    """Retry, batch by batch."""
    from procrastinate.rpc import front  # noqa: PLC0415 (what few need is imported late)

    return _batches(functools.partial(front.retry_jobs, retry_at=retry_at), **options)


def cancelling(
    *, abort: bool = False, delete_jobs: bool = False, **options: Unpack[Filters]
) -> Steps:
    """Cancel, batch by batch."""
    from procrastinate.rpc import front  # noqa: PLC0415 (what few need is imported late)

    verb = functools.partial(front.cancel_jobs, abort=abort, delete_jobs=delete_jobs)
    return _batches(verb, **options)


def _batches(
    verb: _Verb,
    *,
    queue: str | None = None,
    task: str | None = None,
    status: str | None = None,
    lock: str | None = None,
    queueing_lock: str | None = None,
    older_than: datetime.timedelta | None = None,
    newer_than: datetime.timedelta | None = None,
    ids: Iterable[int] | None = None,
    all: bool = False,  # noqa: A002 (as people say it)
    max_jobs: int | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Steps:
    filters = values.Filters(
        queue_name=queue,
        task_name=task,
        status=status,
        lock=lock,
        queueing_lock=queueing_lock,
        older_than=older_than,
        newer_than=newer_than,
        job_ids=None if ids is None else sorted(set(ids)),
        all_jobs=all,
    )
    if not filters.narrows:
        # The database would say the same, in the words of SQL.
        raise ValueError(
            "No filter: give a queue, a task, a lock, an age or ids, or say all=True for all jobs"
        )
    outcomes: dict[int, str] = {}
    after_id, left = 0, filters.job_ids
    while max_jobs is None or len(outcomes) < max_jobs:
        limit = BATCH if max_jobs is None else min(BATCH, max_jobs - len(outcomes))
        if left is not None:  # a slice a call: a hundred thousand are not sent again and again
            filters, left = attrs.evolve(filters, job_ids=left[:limit]), left[limit:]
        batch = yield verb(filters=filters, dry_run=dry_run, after_id=after_id, max_jobs=limit)
        outcomes |= batch
        if on_progress is not None:
            on_progress(len(outcomes))
        if not left and (left is not None or len(batch) < limit):
            break
        after_id = max(batch, default=after_id)
    return BulkResult(outcomes=outcomes)


def drive(steps: Steps, send: Callable[[Call[dict[int, str]]], dict[int, str]]) -> BulkResult:
    """Send each batch and return what became of all."""
    try:
        call = next(steps)
        while True:
            call = steps.send(send(call))
    except StopIteration as exc:
        result: BulkResult = exc.value
        return result


async def drive_async(
    steps: Steps, send: Callable[[Call[dict[int, str]]], Awaitable[dict[int, str]]]
) -> BulkResult:
    """Send each batch and return what became of all."""
    try:
        call = next(steps)
        while True:
            call = steps.send(await send(call))
    except StopIteration as exc:
        result: BulkResult = exc.value
        return result
