"""What the exceptions say."""

from __future__ import annotations

import inspect

import pytest

from procrastinate import exceptions, retry
from procrastinate.rpc import values

PLAIN = [
    cls
    for _, cls in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(cls, exceptions.ProcrastinateException)
    and cls not in {exceptions.JobRetry, exceptions.UniqueViolation}
]

FROM_THE_DATABASE = [
    exceptions.DatabaseUnavailable,
    exceptions.IllegalTransition,
    exceptions.InvalidArgument,
    exceptions.JobIdChange,
    exceptions.JobNotFound,
    exceptions.LocksBusy,
    exceptions.NoResult,
    exceptions.SchemaMismatch,
    exceptions.UniqueViolation,
    exceptions.WorkerNotRegistered,
    exceptions.WrongIsolation,
]


@pytest.mark.parametrize("cls", PLAIN)
def test_an_exception_without_a_message_says_what_its_class_is_about(
    cls: type[exceptions.ProcrastinateException],
) -> None:
    assert cls.__doc__
    assert str(cls()) == cls.__doc__


@pytest.mark.parametrize("cls", PLAIN)
def test_an_exception_with_a_message_says_that_and_no_more(
    cls: type[exceptions.ProcrastinateException],
) -> None:
    assert str(cls("boo")) == "boo"


@pytest.mark.parametrize("cls", FROM_THE_DATABASE)
def test_what_the_database_says_is_a_connector_exception(
    cls: type[exceptions.ProcrastinateException],
) -> None:
    assert issubclass(cls, exceptions.ConnectorException)


def test_a_path_that_leads_to_no_app_is_an_import_error() -> None:
    assert isinstance(exceptions.LoadFromPathError("no"), ImportError)


def test_a_retry_carries_its_decision() -> None:
    decision = retry.RetryDecision()

    assert exceptions.JobRetry(decision).retry_decision is decision


def test_a_unique_violation_names_the_constraint_and_the_queueing_lock() -> None:
    error = exceptions.UniqueViolation("boo", constraint_name="idx", queueing_lock="q")

    assert (str(error), error.constraint_name, error.queueing_lock) == ("boo", "idx", "q")


def test_a_unique_violation_without_a_message_says_where_the_constraint_is() -> None:
    error = exceptions.UniqueViolation(constraint_name=None, queueing_lock=None)

    assert "exception.constraint_name" in str(error)


def test_a_failed_job_s_exception_has_the_error_of_its_worker() -> None:
    error = values.ErrorRecord(
        cls="builtins.ValueError", message="no", traceback="t", attempt=1
    )

    assert exceptions.JobFailed("Job 3 failed", error=error).error is error
    assert exceptions.JobFailed().error is None


def test_a_key_in_use_is_caught_with_the_queueing_locks() -> None:
    assert issubclass(exceptions.KeyInUse, exceptions.AlreadyEnqueued)


def test_an_error_that_others_wrote_may_lack_anything() -> None:
    error = values.ErrorRecord.from_json({"class": "Error"})

    assert error == values.ErrorRecord(cls="Error", message="", traceback=None, attempt=None)
    assert values.ErrorRecord.from_json(error.as_json()) == error
