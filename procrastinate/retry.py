"""
A retry strategy class lets procrastinate know what to do when a job fails: should
it try again? And when?
"""

from __future__ import annotations

import datetime
import warnings
from typing import TYPE_CHECKING, overload

import attrs

from procrastinate import exceptions, types, utils
from procrastinate.jobs import Job  # noqa: TC001  (strategies of users import it from here)

if TYPE_CHECKING:
    from collections.abc import Iterable

# The last moment a retry is put off to. Short of datetime.max by more than any UTC offset:
# Python could not read the date back in a timezone ahead of UTC.
_NEVER = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)


class RetryDecision:
    """
    Specifies when and how a job should be retried.

    Parameters
    ----------
    retry_at
        If set at present time or in the past, the job may be retried immediately.
        Otherwise, the job will be retried no sooner than this date & time.
        Should be timezone-aware (even if UTC). Defaults to present time.
    retry_in
        If set, the job will be retried after this duration. If not set, the job will
        be retried immediately.
    priority
        If set, the job will be retried with this priority. If not set, the priority
        remains unchanged.
    queue
        If set, the job will be retried on this queue. If not set, the queue remains
        unchanged.
    lock
        If set, the job will be retried with this lock. If not set, the lock remains
        unchanged.
    """

    retry_at: datetime.datetime | None = None
    priority: int | None = None
    queue: str | None = None
    lock: str | None = None

    @overload
    def __init__(
        self,
        *,
        retry_at: datetime.datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        retry_in: types.TimeDeltaParams | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None: ...

    def __init__(
        self,
        *,
        retry_at: datetime.datetime | None = None,
        retry_in: types.TimeDeltaParams | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        if retry_at is not None and retry_in is not None:
            raise ValueError("Cannot set both retry_at and retry_in")
        self._delay: tuple[datetime.datetime, datetime.timedelta] | None = None
        if retry_in is not None:
            delay = datetime.timedelta(**retry_in)
            retry_at = utils.utcnow() + delay
            self._delay = (retry_at, delay)
        # None means the moment at which the worker reports it.
        self.retry_at = retry_at
        self.priority = priority
        self.queue = queue
        self.lock = lock

    @property
    def retry_in(self) -> datetime.timedelta | None:
        """The delay if one was given, by the database's clock; None if a time holds."""
        if self._delay is None or self._delay[0] != self.retry_at:
            return None
        return self._delay[1]


class BaseRetryStrategy:
    """
    If you want to implement your own retry strategy, you can inherit from this class.
    Child classes only need to implement `get_retry_decision`.
    """

    def get_retry_exception(
        self, exception: BaseException, job: Job
    ) -> exceptions.JobRetry | None:
        """
        Return what tells the worker to retry, or None if the job has failed for good.

        Parameters
        ----------
        exception
            What the task raised.
        job
            The job that failed.
        """
        decision = self._decide(exception=exception, job=job)
        return None if decision is None else exceptions.JobRetry(decision)

    def _decide(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        try:
            return self.get_retry_decision(exception=exception, job=job)
        except NotImplementedError as exc:
            try:
                schedule_in = self.get_schedule_in(exception=exception, attempts=job.attempts)
            except NotImplementedError:
                # A strategy with neither method: name the one that it should have.
                raise exc from None

        warnings.warn(
            "`get_schedule_in` is deprecated, use `get_retry_decision` instead.",
            DeprecationWarning,
            stacklevel=3,
        )
        if schedule_in is None:
            return None
        return RetryDecision(retry_in={"seconds": schedule_in})

    def get_schedule_in(self, *, exception: BaseException, attempts: int) -> int | None:
        """
        Say when a job that failed is run again: the old way, without its job.

        Parameters
        ----------
        exception
            The exception raised by the job
        attempts
            The number of previous attempts for the current job. The first time a job is
            run, ``attempts`` will be 0.

        Returns
        -------
        int | None
            If a job should not be retried, this function should return None.
            Otherwise, it should return the duration after which to schedule the new job
            run, *in seconds*.

        Notes
        -----
        This function is deprecated and will be removed in a future version. Use
        `get_retry_decision` instead.

        .. deprecated:: 2.9
            The `get_schedule_in` method is deprecated.
        """
        raise NotImplementedError

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """
        Say whether, when and how a job that failed is run again: what a subclass has to do.

        Parameters
        ----------
        exception
            What the task raised.
        job
            The job that failed. Its ``attempts`` do not count the run that just ended: they are
            0 the first time.

        Returns
        -------
        RetryDecision | None
            The decision, or None: the job has failed.
        """
        raise NotImplementedError("Missing implementation of 'get_retry_decision'.")


RetryValue = bool | int | BaseRetryStrategy


@attrs.define(kw_only=True, slots=False, order=True)
class RetryStrategy(BaseRetryStrategy):
    """
    The RetryStrategy class should handle classic retry strategies.

    You can mix and match several waiting strategies. The formula is::

        total_wait = wait + linear_wait * attempts + exponential_wait ** (attempts + 1)

    where ``attempts`` is the number of runs before the one that failed. A wait that passes
    the end of the year 9998 ends there.

    Parameters
    ----------
    max_attempts
        How often the job is retried at most, after its first run; None for without end.
    wait
        Use this if you want to use a constant backoff. Give a number of seconds as
        argument, it will be used to compute the backoff. (e.g. if 3, then successive runs
        will wait 3, 3, 3, 3, 3 seconds)
    linear_wait
        Use this if you want to use a linear backoff. Give a number of seconds as argument,
        it will be used to compute the backoff. (e.g. if 3, then successive runs will wait
        0, 3, 6, 9, 12 seconds)
    exponential_wait
        Use this if you want to use an exponential backoff. Give a number of seconds as
        argument, it will be used to compute the backoff. (e.g. if 3, then successive runs
        will wait 3, 9, 27, 81, 243 seconds)
    retry_exceptions
        Define the exception types you want to retry on. If you don't, jobs will be retried
        on any type of exceptions
    """

    max_attempts: int | None = None
    wait: int = 0
    linear_wait: int = 0
    exponential_wait: int = 0
    retry_exceptions: Iterable[type[Exception]] | None = None

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """
        Retry after the wait of the formula, as long as there are attempts left.

        Parameters
        ----------
        exception
            What the task raised. It must be one of ``retry_exceptions``, if there are any.
        job
            The job that failed.
        """
        if self.max_attempts and job.attempts >= self.max_attempts:
            return None
        # An iterator would be used up by the first failure.
        if self.retry_exceptions is not None and not isinstance(
            self.retry_exceptions, list | tuple
        ):
            self.retry_exceptions = tuple(self.retry_exceptions)
        if self.retry_exceptions and not isinstance(exception, tuple(self.retry_exceptions)):
            return None
        delay = self._delay_after(job.attempts)
        if delay is None:
            return RetryDecision(retry_at=_NEVER)
        return RetryDecision(
            retry_in={
                "days": delay.days,
                "seconds": delay.seconds,
                "microseconds": delay.microseconds,
            }
        )

    def _delay_after(self, attempts: int) -> datetime.timedelta | None:
        """Return how long to wait; None if that is longer than there are years."""
        try:
            # In floats: an int power of a job that has been tried a million times would have
            # a million digits.
            exponential = (
                float(self.exponential_wait) ** (attempts + 1) if self.exponential_wait else 0
            )
            total = self.wait + self.linear_wait * attempts + exponential
            delay = datetime.timedelta(seconds=total)
            retry_at = utils.utcnow() + delay
        except OverflowError:
            return None
        return delay if retry_at < _NEVER else None


def get_retry_strategy(retry: RetryValue) -> BaseRetryStrategy | None:
    """Turn what ``@app.task(retry=...)`` takes into a strategy; 0 and False are none."""
    if not retry:
        return None
    if retry is True:
        return RetryStrategy()
    if isinstance(retry, int):
        return RetryStrategy(max_attempts=retry)
    return retry
