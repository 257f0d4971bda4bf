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


def test_a_key_that_is_in_use_is_read_likewise() -> None:
    error = errors.exception_for(
        sqlstate="23505", message="m", detail="Schlüssel »(key)=(a) b)« existiert bereits."
    )

    assert isinstance(error, exceptions.UniqueViolation)
    assert (error.queueing_lock, error.key) == (None, "a) b")
