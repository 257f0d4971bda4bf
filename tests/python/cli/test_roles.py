"""The command line of somebody who has one of the four roles."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Logins

    from .conftest import Run

SOME = """
insert into procrastinate_jobs (task_name, queue_name, status, lock)
values ('cliapp.add', 'sums', 'todo', 'l'), ('cliapp.add', 'sums', 'failed', 'l'),
    ('cliapp.fail', 'sums', 'todo', null), ('cliapp.fail', 'sums', 'failed', null)
"""
STATUSES = "select status::text from procrastinate_jobs order by id"


@pytest.fixture
def owner(logins: Logins) -> Iterator[psycopg.Connection]:
    with psycopg.connect(logins.owner, autocommit=True) as connection:
        connection.execute(SOME)
        yield connection


def statuses(owner: psycopg.Connection) -> list[str]:
    return [status for (status,) in owner.execute(STATUSES)]


def test_an_operator_has_all_that_looks_and_mends(
    run: Run, logins: Logins, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", logins.operator)
    for words in (
        ("healthchecks",),
        ("schema", "--check"),
        ("retry", "4"),
        ("retry", "--queue=sums", "--dry-run"),
        ("cancel", "--task=cliapp.fail"),
        ("shell", "list_jobs"),
        ("shell", "list_queues"),
        ("shell", "list_tasks"),
        ("shell", "list_locks"),
        ("shell", "cancel", "1"),
        ("shell", "retry", "2"),
    ):
        done = run(*words)
        assert done.status == 0, (words, done)
    assert statuses(owner) == ["cancelled", "todo", "cancelled", "cancelled"]


def test_an_operator_reads_commands_from_a_pipe(
    run: Run, logins: Logins, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", logins.operator)
    monkeypatch.setattr(sys, "stdin", io.StringIO("cancel 1\nretry 2\nlist_jobs id=1\n"))
    assert "#1 cliapp.add on sums - [cancelled]" in run("shell").out
    assert statuses(owner)[:2] == ["cancelled", "todo"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("operator", ["defer", "cliapp.add", '{"a": 1, "b": 2}']),
        ("operator", ["worker", "--one-shot"]),
        ("producer", ["shell", "list_jobs"]),
        ("producer", ["cancel", "1"]),
        ("producer", ["worker", "--one-shot"]),
        ("auditor", ["retry", "2"]),
        ("auditor", ["shell", "cancel", "1"]),
        ("worker", ["schema", "--apply"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value[:2]),
)
def test_what_a_role_may_not_do_is_refused_and_changes_nothing(
    run: Run,
    logins: Logins,
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    words: list[str],
) -> None:
    monkeypatch.setenv("TEST_DSN", getattr(logins, part))
    done = run(*words)
    assert done.status != 0
    assert "denied" in done.err
    assert "password" not in done.err
    assert statuses(owner) == ["todo", "failed", "todo", "failed"]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("producer", ["defer", "cliapp.add", '{"a": 1, "b": 2}']),
        ("worker", ["defer", "cliapp.add", '{"a": 1, "b": 2}']),
        ("worker", ["worker", "--one-shot", "--queues=none"]),
        ("worker", ["healthchecks"]),
        ("auditor", ["healthchecks"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value[:1]),
)
def test_what_a_role_may_do_it_does(
    run: Run, logins: Logins, monkeypatch: pytest.MonkeyPatch, part: str, words: list[str]
) -> None:
    monkeypatch.setenv("TEST_DSN", getattr(logins, part))
    done = run(*words)
    assert done.status == 0, done
