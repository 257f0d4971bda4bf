"""``retry`` and ``cancel``: one verb for many jobs, from the command line."""

from __future__ import annotations

import datetime
import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate.cli import durations, progress

if TYPE_CHECKING:
    import psycopg

    from .conftest import Run, Terminal

pytestmark = pytest.mark.usefixtures("database")


def insert(conn: psycopg.Connection, count: int = 1, **columns: Any) -> list[int]:
    values: dict[str, Any] = {
        "queue_name": "q",
        "task_name": "t",
        "status": "failed",
        **columns,
    }
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    query = (
        f"insert into procrastinate_jobs ({names}) "
        f"select {marks} from generate_series(1, {count}) returning id"
    )
    return sorted(row[0] for row in conn.execute(query.encode(), values))


def statuses(conn: psycopg.Connection) -> dict[int, str]:
    rows = conn.execute("select id, status::text from procrastinate_jobs order by id")
    return {row[0]: row[1] for row in rows}


def test_failed_jobs_are_retried_and_those_that_can_not_be_are_named(
    run: Run, conn: psycopg.Connection
) -> None:
    insert(conn, 3)
    (refused,) = insert(conn, queueing_lock="taken")
    insert(conn, status="todo", queueing_lock="taken")

    outcome = run("retry", "--queue", "q")

    assert outcome.status == 0
    assert outcome.out == "retried: 3\nqueueing_lock_taken: 1\n"
    assert outcome.err == (
        f"#{refused} was left as it is: a waiting job has its queueing lock\n"
    )
    assert list(statuses(conn).values()) == ["todo", "todo", "todo", "failed", "todo"]


def test_of_very_many_jobs_that_were_left_only_some_are_named(
    run: Run, conn: psycopg.Connection
) -> None:
    insert(conn, 25, queueing_lock="taken")
    insert(conn, status="todo", queueing_lock="taken")

    outcome = run("retry", "--all")

    assert outcome.out == "queueing_lock_taken: 25\n"
    lines = outcome.err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 5 more"


def test_a_job_that_is_being_changed_is_named(
    run: Run, conn: psycopg.Connection, dsn: str
) -> None:
    import psycopg

    (held,) = insert(conn, status="todo")
    with psycopg.connect(dsn) as other:
        other.execute("select from procrastinate_jobs for update")
        outcome = run("cancel", "--all")

    assert outcome.out == "busy: 1\n"
    assert outcome.err == (
        f"#{held} was left as it is: another transaction is changing it: try again\n"
    )


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_filters_choose_the_jobs(run: Run, conn: psycopg.Connection, command: str) -> None:
    for name in ("mine", "other"):
        insert(
            conn, status="todo", queue_name=name, task_name=name, lock=name, queueing_lock=name
        )
    if command == "retry":
        conn.execute("update procrastinate_jobs set status = 'failed'")
    conn.execute(
        "update procrastinate_events set at = at - interval '2 hours' where job_id = 1"
    )

    def matched(*args: str) -> str:
        outcome = run(command, "--dry-run", *args)
        assert outcome.status == 0, outcome.err
        return outcome.out

    for option in ("--queue", "--task", "--lock", "--queueing-lock"):
        assert matched(option, "mine") == "matched: 1\n"
        assert matched(option, "none") == ""
    assert matched("--older-than", "1h", "1") == "matched: 1\n"
    assert matched("--newer-than", "1h", "1") == ""
    assert matched("--all") == "matched: 2\n"
    assert matched("--all", "--max-jobs", "1") == "matched: 1\n"
    assert matched("1", "2", "3") == "matched: 2\n"
    assert matched("1", "--queue", "other") == ""


def test_running_jobs_are_asked_to_abort_if_that_is_wanted(
    run: Run, conn: psycopg.Connection
) -> None:
    (runs,), (waits,) = insert(conn, status="doing"), insert(conn, status="todo")

    assert run("cancel", "--queue", "q", "--status", "todo").out == "cancelled: 1\n"
    assert run("cancel", "--queue", "q", "--abort").out == "abort_requested: 1\n"
    assert statuses(conn) == {runs: "doing", waits: "cancelled"}


def test_waiting_jobs_are_deleted_if_that_is_wanted(run: Run, conn: psycopg.Connection) -> None:
    insert(conn, 2, status="todo")

    assert run("cancel", "--queue", "q", "--delete").out == "deleted: 2\n"
    assert statuses(conn) == {}


def test_jobs_whose_worker_is_lost_are_retried_if_that_is_wanted(
    run: Run, conn: psycopg.Connection
) -> None:
    (runs,) = insert(conn, status="doing")

    assert run("retry", "--queue", "q").err == "No job passes the filters.\n"
    assert run("retry", "--queue", "q", "--status", "doing").out == "retried: 1\n"
    assert statuses(conn) == {runs: "todo"}


@pytest.mark.parametrize(
    ("args", "condition"),
    [
        (["--at", "2999-01-01"], "scheduled_at = '2999-01-01Z'"),
        (["--in", "3600"], "scheduled_at - now() between '59 min' and '61 min'"),
        ([], "scheduled_at <= now()"),
    ],
    ids=str,
)
def test_a_retry_may_be_for_later(
    run: Run, conn: psycopg.Connection, args: list[str], condition: str
) -> None:
    insert(conn)

    assert run("retry", "--all", *args).status == 0

    query = f"select count(*) from procrastinate_jobs where {condition}"
    assert conn.execute(query.encode()).fetchone() == (1,)


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_a_dry_run_counts_and_does_nothing(
    run: Run, conn: psycopg.Connection, command: str
) -> None:
    insert(conn, 2, status="todo" if command == "cancel" else "failed")
    before = statuses(conn)

    outcome = run(command, "--all", "--dry-run")

    assert (outcome.status, outcome.out, outcome.err) == (0, "matched: 2\n", "")
    assert statuses(conn) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["retry"], "which jobs? Give ids or a filter, or --all for all jobs"),
        (["retry", "--status", "failed", "--max-jobs", "3"], "which jobs?"),
        (["cancel", "--abort", "--yes"], "which jobs?"),
        (["cancel", "--all", "--status", "doing"], "can only be asked to abort, with --abort"),
        (
            ["cancel", "--all", "--status", "failed"],
            "argument --status: invalid choice: 'failed'",
        ),
        (["retry", "--all", "--status", "todo"], "argument --status: invalid choice: 'todo'"),
        (["retry", "x"], "argument JOB_ID: invalid int value: 'x'"),
        (["retry", "1", "0"], "argument JOB_ID: invalid value: '0' (ids go from 1 to 9"),
        (["cancel", "-1"], "argument JOB_ID: invalid value: '-1'"),
        (["retry", str(2**63)], f"argument JOB_ID: invalid value: '{2**63}'"),
        (["retry", "--all", "--max-jobs", "0"], "argument --max-jobs: invalid value: '0'"),
        (["retry", "--all", "--max-jobs", "x"], "argument --max-jobs: invalid int value: 'x'"),
        (["retry", "--older-than", "soon"], "argument --older-than: invalid duration: 'soon'"),
        (
            ["retry", "--all", "--in", "1", "--at", "2030-01-01"],
            "not allowed with argument --in",
        ),
    ],
    ids=str,
)
def test_what_is_not_understood_is_a_usage_error_and_changes_nothing(
    run: Run, conn: psycopg.Connection, args: list[str], message: str
) -> None:
    insert(conn)
    insert(conn, status="todo")
    before = statuses(conn)

    outcome = run(*args)

    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"usage: procrastinate {args[0]}")
    assert message in outcome.err
    assert statuses(conn) == before


def test_no_variable_widens_or_narrows_what_is_typed(
    run: Run, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(conn)
    for name in ("ALL", "QUEUE", "YES", "DRY_RUN"):
        monkeypatch.setenv(f"PROCRASTINATE_RETRY_{name}", "1")

    assert run("retry").status == 2
    assert run("retry", "--task", "t").out == "retried: 1\n"


def test_without_an_app_it_says_what_is_missing(run: Run) -> None:
    outcome = run("retry", "--all", app=None)

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("Missing app.")


@pytest.mark.parametrize(
    ("answer", "status", "retried"), [("y", 0, True), ("n", 1, False), ("", 1, False)]
)
def test_on_a_terminal_it_asks_before_it_does_anything(
    terminal: Terminal, conn: psycopg.Connection, answer: str, status: int, retried: bool
) -> None:
    insert(conn, 3)

    outcome = terminal("retry", "--queue", "q", answer=answer)

    assert "Retry 3 jobs? [y/N] " in outcome.out
    assert outcome.status == status
    assert ("retried: 3" in outcome.out) is retried
    assert ("Nothing was changed." in outcome.out) is not retried
    assert set(statuses(conn).values()) == {"todo" if retried else "failed"}


class Typed(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("args", "question"),
    [
        (["cancel", "--queue", "q"], "Cancel 2 jobs? [y/N] "),
        (["cancel", "1"], "Cancel 1 job? [y/N] "),
        (["cancel", "--queue", "q", "--abort"], "Cancel or abort 2 jobs? [y/N] "),
        (["cancel", "--queue", "q", "--delete"], "Delete 2 jobs? [y/N] "),
        (["cancel", "--queue", "q", "--yes"], ""),
        (["cancel", "--queue", "q", "--dry-run"], ""),
        (["cancel", "--queue", "nothing"], ""),
    ],
    ids=str,
)
def test_the_question_says_what_would_be_done_if_there_is_one(
    run: Run,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    question: str,
) -> None:
    insert(conn, 2, status="todo")
    monkeypatch.setattr(sys, "stdin", Typed("no\n"))
    monkeypatch.setattr(progress, "is_terminal", lambda: True)

    outcome = run(*args)

    assert outcome.status == (1 if question else 0)
    assert (question in outcome.err) if question else ("[y/N]" not in outcome.err)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("2m", 120),
        ("12H", 43200),
        ("1d12h", 129600),
        ("2w", 1209600),
        (" 1h ", 3600),
        ("0", 0),
    ],
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert durations.duration(text) == datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "d", "1x", "-1s", "1 d", "1d-2h", "1e9", "9999999999d"])
def test_anything_else_is_no_length_of_time(text: str) -> None:
    import argparse

    with pytest.raises(argparse.ArgumentTypeError, match="invalid duration"):
        durations.duration(text)
