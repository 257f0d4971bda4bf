"""SQLSTATEs become classes, by the one table."""

from __future__ import annotations

import re

import pytest

import procrastinate.sql
from procrastinate import exceptions
from procrastinate.rpc import errors


def test_the_table_is_that_of_the_sql() -> None:
    documented = dict(
        re.findall(
            r"^\| `?(PQ\d{3})`? \|.*?`?exceptions\.(\w+)`? \|$",
            procrastinate.sql.read("sqlstates.md"),
            re.MULTILINE,
        )
    )
    known = {
        code: error.__name__
        for code, error in errors.BY_SQLSTATE.items()
        if code.startswith("PQ")
    }

    assert documented == known


@pytest.mark.parametrize(("code", "error"), errors.BY_SQLSTATE.items())
def test_each_code_has_its_class(code: str, error: type[Exception]) -> None:
    assert type(errors.exception_for(sqlstate=code, message="m")) is error


@pytest.mark.parametrize(("code", "error"), errors.BY_SQLSTATE_CLASS.items())
def test_codes_of_a_class_share_theirs(code: str, error: type[Exception]) -> None:
    assert type(errors.exception_for(sqlstate=code + "ABC", message="m")) is error


def test_our_own_errors_speak_in_the_databases_words_and_others_in_those_of_3_x() -> None:
    ours = errors.exception_for(sqlstate="PQ002", message="Job 3 does not exist")
    other = errors.exception_for(sqlstate="22P02", message="invalid input syntax")

    assert str(ours) == "Job 3 does not exist"
    assert type(other) is exceptions.ConnectorException
    assert "Database error." in str(other)


@pytest.mark.parametrize("code", ["42883", "42P01", "42703", "42704", "3F000"])
def test_what_the_schema_lacks_is_a_mismatch_and_says_what_to_do(code: str) -> None:
    ours = errors.exception_for(sqlstate=code, message="« procrastinate_jobs » manque")
    other = errors.exception_for(sqlstate=code, message='relation "users" does not exist')

    assert type(ours) is exceptions.SchemaMismatch
    assert "« procrastinate_jobs » manque" in str(ours)
    assert "schema --apply" in str(ours)
    assert type(other) is exceptions.ConnectorException


def test_a_driver_that_lost_its_connection_has_no_code() -> None:
    lost = errors.exception_for(sqlstate=None, message=None, connection_lost=True)
    other = errors.exception_for(sqlstate=None, message=None)

    assert type(lost) is exceptions.DatabaseUnavailable
    assert type(other) is exceptions.ConnectorException


@pytest.mark.parametrize(
    ("detail", "lock"),
    [
        ("Key (queueing_lock)=(a) already exists.", "a"),
        ("Schlüssel »(queueing_lock)=(a)« existiert bereits.", "a"),
        ("Key (queueing_lock)=(a) b\nc) already exists.", "a) b\nc"),
        ("Key (lock)=(a) already exists.", None),
        (None, None),
    ],
)
def test_a_taken_queueing_lock_is_read_whatever_the_servers_language(
    detail: str | None, lock: str | None
) -> None:
    error = errors.exception_for(
        sqlstate="23505", message="m", detail=detail, constraint_name="c"
    )

    assert isinstance(error, exceptions.UniqueViolation)
    assert (error.constraint_name, error.queueing_lock, error.key) == ("c", lock, None)


class DriverError(Exception):
    """An error of a driver."""

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("cause", "again"),
    [
        (DriverError(sqlstate="40001"), True),
        (DriverError(sqlstate="40P01"), True),
        (DriverError(sqlstate="40002"), False),
        (DriverError(pgcode="40P01"), True),
        (DriverError(sqlstate=None, pgcode="23505"), False),
        (DriverError(orig=DriverError(sqlstate="40001")), True),
        (DriverError(orig=DriverError(pgcode="40001")), True),
        (DriverError(orig=DriverError(pgcode="23505")), False),
        (DriverError(orig=None, sqlstate="40001"), True),
        (DriverError(), False),
        (None, False),
    ],
)
def test_what_others_undid_is_to_be_repeated_whichever_driver_says_so(
    cause: Exception | None, again: bool
) -> None:
    error = exceptions.DatabaseUnavailable()
    error.__cause__ = cause
    assert errors.is_to_be_repeated(error) is again


@pytest.mark.parametrize(
    ("code", "message", "is_ours"),
    [
        ("P0001", "Job was not found (job id: 3)", True),
        ("P0001", "Job was not found (job id: 3), said a trigger of a user's", False),
        ("P0001", "A user's own trigger", False),
        ("P0001", None, False),
        ("P0002", "Job was not found (job id: 3)", False),
    ],
)
def test_the_old_wires_errors_speak_in_its_words_and_those_of_users_do_not(
    code: str, message: str | None, is_ours: bool
) -> None:
    error = errors.exception_for(sqlstate=code, message=message)
    assert type(error) is exceptions.ConnectorException
    assert (str(error) == message) is is_ours


def test_a_missing_name_without_a_message_is_no_mismatch() -> None:
    error = errors.exception_for(sqlstate="42883", message=None)
    assert type(error) is exceptions.ConnectorException


def test_a_key_that_is_in_use_is_read_likewise() -> None:
    error = errors.exception_for(
        sqlstate="23505", message="m", detail="Schlüssel »(key)=(a) b)« existiert bereits."
    )

    assert isinstance(error, exceptions.UniqueViolation)
    assert (error.queueing_lock, error.key) == (None, "a) b")
