"""
One verb for many jobs: what :meth:`JobManager.retry_jobs` and its likes ask of the database.

The generators yield a call for each batch and are sent its answer, so that both colours drive
the same steps. Each batch is a transaction of its own: a failure loses none of those before it.
"""

from __future__ import annotations

import collections
import datetime
import functools
import operator
from typing import TYPE_CHECKING, NotRequired, Protocol, TypeAlias, TypedDict, Unpack

import attrs

from procrastinate import jobs
from procrastinate.rpc import values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping

    from procrastinate.rpc.call import Call

#: Jobs in a transaction. Each may have a lock, and a statement with more than 512 of them (eight
#: times max_locks_per_transaction) would have to keep every fetch away to get them all.
BATCH = 500

#: Ids in a call: few of them may pass the filters.
SLICE = 10_000

#: PostgreSQL's largest bigint.
LAST_ID = 2**63 - 1

#: Two thousand years ago, or so; PostgreSQL knows no moment some thousands before that.
LONGEST = datetime.timedelta(days=365 * 2000)

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
    if retry_at is not None:
        _require(datetime.datetime, retry_at=retry_at)
        if retry_at.tzinfo is None:
            raise ValueError(f"retry_at needs a timezone, and {retry_at} has none")
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
    _require_texts(queue=queue, task=task, lock=lock, queueing_lock=queueing_lock)
    _require_status(status)
    _require_ages(older_than=older_than, newer_than=newer_than)
    _require(bool, all=all, dry_run=dry_run)
    _require_number(max_jobs)
    filters = values.Filters(
        queue_name=queue,
        task_name=task,
        status=status,
        lock=lock,
        queueing_lock=queueing_lock,
        older_than=older_than,
        newer_than=newer_than,
        job_ids=None if ids is None else _sorted_ids(ids),
        all_jobs=all,
    )
    if not filters.narrows:
        # The database would say the same, in the words of SQL.
        raise ValueError(
            "No filter: give a queue, a task, a lock, an age or ids, or say all=True for all jobs"
        )
    outcomes: dict[int, str] = {}
    for part in _slices(filters):
        after_id, is_over = 0, False
        while not is_over:
            if len(outcomes) == max_jobs:
                return BulkResult(outcomes=outcomes)
            limit = BATCH if max_jobs is None else min(BATCH, max_jobs - len(outcomes))
            batch = yield verb(filters=part, dry_run=dry_run, after_id=after_id, max_jobs=limit)
            outcomes |= batch
            if on_progress is not None:
                on_progress(len(outcomes))
            is_over = len(batch) < limit
            after_id = max(batch, default=after_id)
    return BulkResult(outcomes=outcomes)


def _slices(filters: values.Filters) -> Iterator[values.Filters]:
    """The filters, once for each slice of the ids: a million are not sent again and again."""
    if not filters.job_ids:
        yield filters
        return
    for start in range(0, len(filters.job_ids), SLICE):
        yield attrs.evolve(filters, job_ids=filters.job_ids[start : start + SLICE])


def _sorted_ids(ids: Iterable[int]) -> list[int]:
    """All are looked at before one is sent: a bad one must not be met half-way."""
    found: set[int] = set()
    for job_id in ids:
        if isinstance(job_id, bool) or not hasattr(job_id, "__index__"):
            raise TypeError(f"ids are whole numbers, and {job_id!r} is none")
        number = operator.index(job_id)  # those of numpy, too
        if not 1 <= number <= LAST_ID:
            raise ValueError(f"No job has the id {number}: ids go from 1 to {LAST_ID}")
        found.add(number)
    return sorted(found)


def _require(wanted: type, **values: object) -> None:
    # Arguments travel as text, and PostgreSQL might read what was never meant.
    for name, value in values.items():
        if value is not None and not isinstance(value, wanted):
            raise TypeError(f"{name} must be of type {wanted.__name__}, and {value!r} is not")


def _require_status(status: str | None) -> None:
    names = [known.value for known in jobs.Status]
    if status is not None and status not in {*names, *jobs.Status}:
        raise ValueError(f"status is {status!r}: there are {', '.join(names)}")


def _require_ages(**ages: datetime.timedelta | None) -> None:
    _require(datetime.timedelta, **ages)
    for name, age in ages.items():
        if age is not None and age > LONGEST:
            raise ValueError(f"{name} is {age}: no job is so old")


def _require_number(max_jobs: int | None) -> None:
    _require(int, max_jobs=max_jobs)
    if max_jobs is not None and max_jobs < 1:
        raise ValueError(f"max_jobs is {max_jobs}: ask for one job or more, or None for all")


def _require_texts(**texts: str | None) -> None:
    _require(str, **texts)
    for name, text in texts.items():
        if text is not None and "\0" in text:
            raise ValueError(f"{name} is {text!r}: no job's has a NUL character in it")


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
