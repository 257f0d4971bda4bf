"""When a failed job is tried again."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import pytest

from procrastinate import exceptions, jobs, retry, types, utils

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "utcnow", lambda: NOW)


def a_job(*, attempts: int = 0) -> jobs.Job:
    return jobs.Job(
        id=1, queue="q", lock=None, queueing_lock=None, task_name="t", attempts=attempts
    )


def wait_of(strategy: retry.BaseRetryStrategy, attempts: int) -> float | None:
    error = strategy.get_retry_exception(exception=ValueError(), job=a_job(attempts=attempts))
    if error is None:
        return None
    assert error.retry_decision.retry_at is not None
    return (error.retry_decision.retry_at - NOW).total_seconds()


@pytest.mark.parametrize(
    ("strategy", "waits"),
    [
        (retry.RetryStrategy(), [0, 0, 0]),
        (retry.RetryStrategy(wait=3), [3, 3, 3]),
        (retry.RetryStrategy(linear_wait=3), [0, 3, 6, 9]),
        (retry.RetryStrategy(exponential_wait=3), [3, 9, 27]),
        (retry.RetryStrategy(wait=1, linear_wait=2, exponential_wait=3), [4, 12, 32, 88]),
        (retry.RetryStrategy(max_attempts=2), [0, 0, None, None]),
        (retry.RetryStrategy(max_attempts=0), [0, 0, 0]),
    ],
)
def test_the_wait_follows_the_formula_until_the_attempts_are_used_up(
    strategy: retry.RetryStrategy, waits: list[float | None]
) -> None:
    assert [wait_of(strategy, attempts) for attempts in range(len(waits))] == waits


@pytest.mark.parametrize("attempts", [30, 400, 1_000_000])
def test_a_wait_beyond_the_end_of_time_ends_there(attempts: int) -> None:
    decision = retry.RetryStrategy(exponential_wait=10).get_retry_decision(
        exception=ValueError(), job=a_job(attempts=attempts)
    )

    assert decision is not None
    assert decision.retry_at == datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)


def test_a_wait_just_before_the_end_of_time_is_kept_within_it() -> None:
    seconds = int((utils.utcmax() - NOW).total_seconds())

    assert wait_of(retry.RetryStrategy(wait=seconds), 0) == pytest.approx(
        (datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC) - NOW).total_seconds()
    )


def test_only_the_named_exceptions_are_retried() -> None:
    strategy = retry.RetryStrategy(retry_exceptions=[LookupError])

    def decide(exception: BaseException) -> retry.RetryDecision | None:
        return strategy.get_retry_decision(exception=exception, job=a_job())

    assert decide(KeyError()) is not None
    assert decide(ValueError()) is None


def test_exceptions_named_by_an_iterator_are_retried_more_than_once() -> None:
    strategy = retry.RetryStrategy(retry_exceptions=iter([ValueError]))

    assert [wait_of(strategy, attempts) for attempts in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (False, None),
        (0, None),
        (None, None),
        (True, retry.RetryStrategy()),
        (5, retry.RetryStrategy(max_attempts=5)),
    ],
)
def test_a_retry_value_is_a_strategy(
    value: retry.RetryValue, expected: retry.RetryStrategy | None
) -> None:
    assert retry.get_retry_strategy(value) == expected


def test_a_strategy_is_kept_as_it_is() -> None:
    strategy = retry.RetryStrategy(wait=5)

    assert retry.get_retry_strategy(strategy) is strategy


def test_a_value_that_nobody_knows_is_kept_unchecked() -> None:
    mine: Any = "of a user's own"

    assert retry.get_retry_strategy(mine) is mine


def test_a_decision_without_time_has_none_and_the_worker_takes_its_own() -> None:
    assert retry.RetryDecision(priority=1).retry_at is None


def test_a_decision_may_be_a_delay() -> None:
    decision = retry.RetryDecision(retry_in={"minutes": 5}, priority=1, queue="q", lock="l")

    assert decision.retry_at == NOW + datetime.timedelta(minutes=5)
    assert (decision.priority, decision.queue, decision.lock) == (1, "q", "l")


def test_a_decision_keeps_what_it_is_not_told_to_change() -> None:
    decision = retry.RetryDecision(retry_at=NOW)

    assert (decision.priority, decision.queue, decision.lock) == (None, None, None)


def test_a_decision_has_one_time() -> None:
    both: dict[str, Any] = {"retry_at": NOW, "retry_in": types.TimeDeltaParams(seconds=1)}

    with pytest.raises(ValueError, match=r"^Cannot set both retry_at and retry_in$"):
        retry.RetryDecision(**both)


def test_a_strategy_of_the_users_decides() -> None:
    decision = retry.RetryDecision(retry_at=NOW)

    class Mine(retry.BaseRetryStrategy):
        def get_retry_decision(
            self, *, exception: BaseException, job: jobs.Job
        ) -> retry.RetryDecision | None:
            assert isinstance(exception, KeyError)
            return decision if job.attempts == 0 else None

    first = Mine().get_retry_exception(exception=KeyError(), job=a_job())

    assert first is not None
    assert first.retry_decision is decision
    assert Mine().get_retry_exception(exception=KeyError(), job=a_job(attempts=1)) is None


@pytest.mark.parametrize(("delay", "expected"), [(5, 5), (0, 0), (None, None)])
def test_a_strategy_of_the_old_kind_still_works_and_is_deprecated(
    delay: int | None, expected: float | None
) -> None:
    class Old(retry.BaseRetryStrategy):
        def get_schedule_in(self, *, exception: BaseException, attempts: int) -> int | None:
            assert attempts == 4
            return delay

    with pytest.warns(
        DeprecationWarning,
        match=r"^`get_schedule_in` is deprecated, use `get_retry_decision` instead\.$",
    ):
        assert wait_of(Old(), 4) == expected


def test_a_strategy_without_a_decision_names_the_method_that_it_lacks() -> None:
    class Empty(retry.BaseRetryStrategy):
        pass

    with (
        warnings.catch_warnings(),
        pytest.raises(
            NotImplementedError, match=r"^Missing implementation of 'get_retry_decision'\.$"
        ),
    ):
        Empty().get_retry_exception(exception=ValueError(), job=a_job())


def test_the_classic_strategy_has_no_method_of_the_old_kind() -> None:
    with pytest.raises(NotImplementedError):
        retry.RetryStrategy().get_schedule_in(exception=ValueError(), attempts=0)


def test_the_exception_for_the_worker_carries_the_decision() -> None:
    error = retry.RetryStrategy().get_retry_exception(exception=ValueError(), job=a_job())

    assert isinstance(error, exceptions.JobRetry)
    assert error.retry_decision.retry_at == NOW
