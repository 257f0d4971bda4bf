"""The administration shell."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from procrastinate import shell

if TYPE_CHECKING:
    import psycopg

    from .conftest import Run, Terminal

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

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("Traceback")
    assert error in outcome.err


def test_commands_can_be_typed_until_the_end_of_the_input(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("cancel x\nlist_jobs id=1\n"))

    outcome = run("shell")

    assert outcome.status == 1
    assert outcome.out == (
        "Welcome to the procrastinate shell.   Type help or ? to list commands.\n\n"
        "procrastinate> procrastinate> #1 cliapp.add on sums - [todo]\nprocrastinate> "
    )
    assert outcome.err.startswith("Traceback")


def test_what_is_no_command_is_a_failure(run: Run) -> None:
    outcome = run("shell", "list_jbos")

    assert (outcome.status, outcome.out) == (1, "*** Unknown syntax: list_jbos\n")


def test_at_a_terminal_the_user_has_seen_what_failed(
    terminal: Terminal, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = terminal("shell", answer="cancel x\nexit")

    assert outcome.status == 0
    assert "ValueError" in outcome.out


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


COUNTS = "jobs (todo: {}, doing: 0, succeeded: 0, failed: 0, cancelled: {}, aborted: 0)"


@pytest.mark.parametrize("what", ["list_queues", "list_tasks", "list_locks"])
def test_counts_can_be_filtered(run: Run, conn: psycopg.Connection, what: str) -> None:
    conn.execute("update procrastinate_jobs set queue_name = 'x', task_name = 'x', lock = 'x'")
    conn.execute("update procrastinate_jobs set status = 'cancelled' where id = 2")

    for given in ("queue=x", "task=x", "lock=x"):
        assert run("shell", what, given).out == f"x: 2 {COUNTS.format(1, 1)}\n"
        assert run("shell", what, given, "status=todo").out == f"x: 1 {COUNTS.format(1, 0)}\n"
        assert run("shell", what, given.replace("x", "y")).out == ""


def test_names_are_sorted_and_jobs_without_a_lock_are_in_no_list_of_locks(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("select procrastinate_defer_job('a', 'z', lock => 'b')")

    def names(what: str) -> list[str]:
        return [line.partition(":")[0] for line in run("shell", what).out.splitlines()]

    assert names("list_queues") == ["a", "default", "sums"]
    assert names("list_tasks") == ["cliapp.add", "other", "z"]
    assert names("list_locks") == ["b", "l"]


@pytest.mark.parametrize(
    ("word", "output"),
    [
        ("list_queues queue=q", "*** Unknown syntax: 'list_queues queue=q'\n"),
        ("", "*** Unknown syntax: ''\n"),
    ],
)
def test_one_word_is_one_command(run: Run, word: str, output: str) -> None:
    assert run("shell", word).out == output


def test_filters_in_one_word_are_one_filter(run: Run) -> None:
    outcome = run("shell", "list_jobs", "status=todo task=other")

    assert outcome.out == ""
    assert "todo task=other" in outcome.err


def test_a_finished_job_is_left_alone_by_cancel_and_shown(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("update procrastinate_jobs set status = 'failed' where id = 1")

    outcome = run("shell", "cancel", "1")

    assert (outcome.out, outcome.err) == ("#1 cliapp.add on sums - [failed]\n", "")


def test_a_retry_is_for_now_to_the_second(run: Run, conn: psycopg.Connection) -> None:
    conn.execute("update procrastinate_jobs set status = 'failed' where id = 1")

    run("shell", "retry", "1")

    row = conn.execute(
        "select date_trunc('second', scheduled_at) = scheduled_at,"
        " now() - scheduled_at between '0' and '30 s' from procrastinate_jobs where id = 1"
    ).fetchone()
    assert row == (True, True)


@pytest.mark.parametrize("leave", ["exit\nlist_jobs\n", "EOF\nlist_jobs\n", ""])
def test_the_shell_is_left_by_exit_and_at_the_end_of_the_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(leave))

    outcome = run("shell")

    assert outcome.status == 0
    assert outcome.out.endswith("commands.\n\nprocrastinate> ")


def test_an_empty_line_repeats_the_command_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("list_jobs id=1\n\n"))

    assert run("shell").out.count("#1 cliapp.add") == 2


def test_who_interrupts_the_shell_leaves_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shell.ProcrastinateShell, "cmdloop", interrupt)

    outcome = run("shell")

    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize(
    ("command", "first", "example"),
    [
        ("list_jobs", "List jobs.", "list_jobs queue=default task=sums status=failed details"),
        (
            "list_queues",
            "List queues: get queue names and number of jobs per queue.",
            "list_queues task=sums status=failed",
        ),
        (
            "list_tasks",
            "List tasks: get task names and number of jobs per task.",
            "list_tasks queue=default status=failed",
        ),
        (
            "list_locks",
            "List locks: get lock names and number of jobs per task.",
            "list_locks queue=default status=todo",
        ),
        ("retry", "Retry a specific job (reset its status to todo).", "retry 2"),
        ("cancel", "Cancel a specific job (set its status to cancelled).", "cancel 3"),
    ],
)
def test_the_help_of_a_command_ends_with_an_example(
    run: Run, command: str, first: str, example: str
) -> None:
    lines = run("shell", "help", command).out.strip().splitlines()

    assert lines[0].strip() == first
    assert lines[1].strip().startswith(f"Usage: {command}")
    assert lines[-1].strip() == f"Example: {example}"


def test_without_an_app_the_shell_shows_what_is_missing(run: Run) -> None:
    outcome = run("shell", "list_jobs", app=None)

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("Traceback")
    assert "Missing app. This most probably happened because" in outcome.err
    assert run("shell", "exit", app=None).err == ""
