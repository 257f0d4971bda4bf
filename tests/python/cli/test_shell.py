"""The administration shell."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from procrastinate import shell

if TYPE_CHECKING:
    import psycopg

    from .conftest import Run

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def some_jobs(conn: psycopg.Connection) -> None:
    conn.execute(
        "select procrastinate_defer_job("
        "'sums', 'cliapp.add', lock => 'l', args => '{\"a\": 1}')"
    )
    conn.execute(
        "select procrastinate_defer_job('default', 'other', priority => 2, "
        "scheduled_at => '2030-01-01 00:00:00+00')"
    )


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["list_jobs"],
            ["#1 cliapp.add on sums - [todo]", "#2 other on default - [todo]"],
        ),
        (["list_jobs", "id=2"], ["#2 other on default - [todo]"]),
        (["list_jobs", "queue=sums", "status=todo"], ["#1 cliapp.add on sums - [todo]"]),
        (["list_jobs", "lock=nope"], []),
        (
            ["list_jobs", "details"],
            [
                (
                    "#1 cliapp.add on sums - [todo] (attempts=0, priority=0, "
                    "scheduled_at=None, args={'a': 1}, lock=l)"
                ),
                (
                    "#2 other on default - [todo] (attempts=0, priority=2, "
                    "scheduled_at=2030-01-01 00:00:00+00:00, args={}, lock=None)"
                ),
            ],
        ),
        (
            ["list_queues"],
            [
                (
                    "default: 1 jobs (todo: 1, doing: 0, succeeded: 0, failed: 0, "
                    "cancelled: 0, aborted: 0)"
                ),
                (
                    "sums: 1 jobs (todo: 1, doing: 0, succeeded: 0, failed: 0, "
                    "cancelled: 0, aborted: 0)"
                ),
            ],
        ),
        (
            ["list_tasks", "queue=sums"],
            [
                (
                    "cliapp.add: 1 jobs (todo: 1, doing: 0, succeeded: 0, failed: 0, "
                    "cancelled: 0, aborted: 0)"
                )
            ],
        ),
        (
            ["list_locks"],
            [
                (
                    "l: 1 jobs (todo: 1, doing: 0, succeeded: 0, failed: 0, "
                    "cancelled: 0, aborted: 0)"
                )
            ],
        ),
        (["cancel", "1"], ["#1 cliapp.add on sums - [cancelled]"]),
        (["exit"], []),
        (["EOF"], []),
        (["foo"], ["*** Unknown syntax: foo"]),
    ],
)
def test_a_command_prints_what_was_asked_for(
    run: Run, words: list[str], lines: list[str]
) -> None:
    outcome = run("shell", *words)

    assert (outcome.status, outcome.out.splitlines(), outcome.err) == (0, lines, "")


def test_a_failed_job_is_retried(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update procrastinate_jobs set status = 'cancelled' where id = 1")
    conn.execute(
        "insert into procrastinate_jobs (queue_name, task_name, status) "
        "values ('q', 'failing', 'failed')"
    )

    assert run("shell", "retry", "3").out == "#3 failing on q - [todo]\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["retry", "1"], "Job was not found or has an invalid status to retry (job id: 1)"),
        (["cancel", "x"], "ValueError: invalid literal for int() with base 10: 'x'"),
        (["cancel", "99"], "ValueError: not enough values to unpack"),
        (["list_jobs", "colour=red"], "TypeError"),
    ],
)
def test_a_command_that_fails_shows_why_and_the_shell_goes_on(
    run: Run, words: list[str], error: str
) -> None:
    outcome = run("shell", *words)

    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err.startswith("Traceback")
    assert error in outcome.err


def test_commands_can_be_typed_until_the_end_of_the_input(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("cancel x\nlist_jobs id=1\n"))

    outcome = run("shell")

    assert outcome.status == 0
    assert outcome.out == (
        "Welcome to the procrastinate shell.   Type help or ? to list commands.\n\n"
        "procrastinate> procrastinate> #1 cliapp.add on sums - [todo]\nprocrastinate> "
    )
    assert outcome.err.startswith("Traceback")


def test_the_help_lists_the_commands(run: Run) -> None:
    assert "EOF  cancel  exit  help  list_jobs  list_locks  list_queues  list_tasks  retry" in (
        run("shell", "help").out
    )


@pytest.mark.parametrize(
    ("arg", "expected"),
    [
        ("", {}),
        ("queue=a details", {"queue": "a", "details": True}),
        ("lock=a=b", {"lock": "a=b"}),
        ("queue='a b'", {"queue": "a b"}),
    ],
)
def test_arguments_of_a_command_are_words_with_an_equals_sign(
    arg: str, expected: dict[str, object]
) -> None:
    assert shell.parse_argument(arg) == expected
