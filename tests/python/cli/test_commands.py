"""What the commands do to a database, and what they say."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    import pathlib
    import subprocess

    import psycopg

    from .conftest import Run, Start, Terminal

pytestmark = pytest.mark.usefixtures("database")

TAKEN = "Job cannot be enqueued: there is already a job in the queue with the queueing lock ql"


def jobs_of(conn: psycopg.Connection, columns: str) -> list[Any]:
    return conn.execute(
        f"select {columns} from procrastinate_jobs order by id".encode()
    ).fetchall()


# defer


def test_defer_makes_a_job_and_says_so_on_stderr_only(
    run: Run, conn: psycopg.Connection
) -> None:
    outcome = run("defer", "cliapp.add", '{"a": 1, "b": "x"}')

    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err == (
        "Launching a job: cliapp.add(a=1, b='x')\nINFO:procrastinate.jobs:Deferred 1 job\n"
    )
    assert jobs_of(conn, "task_name, queue_name, priority, args, scheduled_at") == [
        ("cliapp.add", "sums", 3, {"a": 1, "b": "x"}, None)
    ]


def test_defer_with_all_options(run: Run, conn: psycopg.Connection) -> None:
    run(
        "defer",
        "--queue=q",
        "--lock=l",
        "--queueing-lock=ql",
        "--priority=-5",
        "--at=2030-01-01 12:00",
        "cliapp.add",
    )

    assert jobs_of(
        conn,
        "queue_name, lock, queueing_lock, priority, "
        "(scheduled_at at time zone 'utc')::text, args",
    ) == [("q", "l", "ql", -5, "2030-01-01 12:00:00", {})]


def test_defer_by_an_alias_stores_the_name(run: Run, conn: psycopg.Connection) -> None:
    outcome = run("defer", "plus")

    assert outcome.err.startswith("Launching a job: plus()\n")
    assert jobs_of(conn, "task_name, queue_name") == [("cliapp.add", "sums")]


def test_the_details_are_logged_at_debug(run: Run) -> None:
    outcome = run("-v", "defer", "cliapp.add")

    assert outcome.err.splitlines() == [
        "DEBUG:procrastinate.cli:Log level set to DEBUG",
        "DEBUG:procrastinate.app:All tasks imported",
        "Launching a job: cliapp.add()",
        "DEBUG:procrastinate.jobs:About to defer 1 job",
        "INFO:procrastinate.jobs:Deferred 1 job",
    ]


def test_the_traceback_of_an_error_is_logged_at_debug_only(run: Run) -> None:
    assert "Traceback" not in run("defer", "nope.t").err

    lines = run("-v", "defer", "nope.t").err.splitlines()
    assert "DEBUG:procrastinate.cli:Exception details:" in lines
    assert lines[-2:] == ["'nope.t'", "Task cannot be imported."]


def test_a_task_that_nobody_knows_is_refused_unless_that_is_wanted(
    run: Run, conn: psycopg.Connection
) -> None:
    refused = run("defer", "nope.t")
    assert (refused.status, refused.out, refused.err) == (
        1,
        "",
        "'nope.t'\nTask cannot be imported.\n",
    )
    assert jobs_of(conn, "id") == []

    assert run("defer", "--unknown", "nope.t").status == 0
    assert jobs_of(conn, "task_name, queue_name, priority") == [("nope.t", "default", 0)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            '{"a":1',
            (
                "Expecting ',' delimiter: line 1 column 7 (char 6)\n"
                "Incorrect JSON_ARGS value expecting a valid json object (or dict)\n"
            ),
        ),
        ("[1]", "Incorrect JSON_ARGS value expecting a valid json object (or dict)\n"),
    ],
)
def test_arguments_that_are_no_json_object_are_refused(
    run: Run, conn: psycopg.Connection, args: str, message: str
) -> None:
    outcome = run("defer", "cliapp.add", args)

    assert (outcome.status, outcome.err) == (1, message)
    assert jobs_of(conn, "id") == []


def test_two_schedules_of_which_one_is_a_variable_are_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_DEFER_IN", "5")

    outcome = run("defer", "--at=2030-01-01", "cliapp.add")

    assert (outcome.status, outcome.err) == (
        1,
        "Cannot set both schedule_at and schedule_in\n",
    )


def test_a_queueing_lock_that_is_taken_is_an_error(run: Run) -> None:
    run("defer", "cliapp.locked")

    outcome = run("defer", "cliapp.locked")

    assert outcome.status == 1
    lines = outcome.err.splitlines()
    assert "procrastinate_jobs_queueing_lock_idx_v1" in outcome.err
    assert "A unique constraint is violated. The constraint name is available in" in lines
    assert lines[-1] == TAKEN


def test_a_queueing_lock_that_is_taken_can_be_ignored(
    run: Run, conn: psycopg.Connection
) -> None:
    run("defer", "cliapp.locked")

    outcome = run("defer", "-i", "cliapp.locked")

    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err.splitlines() == [
        "Launching a job: cliapp.locked()",
        f"{TAKEN} (ignored)",
    ]
    assert len(jobs_of(conn, "id")) == 1


def test_a_module_to_import_that_is_missing_is_one_message(
    run: Run, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "pathsapp.py").write_text(
        "import cliapp\napp = cliapp.app\napp.import_paths = ['does.not.exist']\n"
    )

    outcome = run("defer", "x", "--unknown", app="pathsapp.app")

    assert (outcome.status, outcome.err) == (1, "No module named 'does'\n")
    outcome = run("worker", "--one-shot", app="pathsapp.app")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == "No module named 'does'"
    # These two look at no task.
    assert run("healthchecks", app="pathsapp.app").status == 0
    assert run("shell", "list_jobs", app="pathsapp.app").status == 0


def test_a_time_without_an_offset_is_utc_wherever_the_program_runs(
    run: Run, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for at in ("2030-01-01", "2030-01-01T00:00:00Z", "2030-01-01 01:00:00+0100"):
            run("defer", "cliapp.add", f"--at={at}")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert jobs_of(conn, "distinct (scheduled_at at time zone 'utc')::text, id")[0][0] == (
        "2030-01-01 00:00:00"
    )
    assert jobs_of(conn, "(scheduled_at = '2030-01-01Z')") == [(True,)] * 3


def test_the_options_of_a_job_may_be_variables(
    run: Run, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_DEFER_JSON_ARGS", '{"a": 1}')
    monkeypatch.setenv("PROCRASTINATE_DEFER_PRIORITY", "0")

    run("defer", "cliapp.add")

    assert jobs_of(conn, "args, priority") == [({"a": 1}, 0)]


# worker


def test_a_variable_that_says_no_is_heeded(
    run: Run, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.10 drops it, and waits for ever."""
    monkeypatch.setenv("PROCRASTINATE_WORKER_WAIT", "0")
    run("defer", "cliapp.add", '{"a": 3, "b": 5}')

    assert run("worker").out == "8\n"


def test_a_worker_runs_what_there_is_and_ends(run: Run, conn: psycopg.Connection) -> None:
    run("defer", "cliapp.add", '{"a": 3, "b": 5}')

    outcome = run("worker", "--one-shot", "-q", "sums, b", "-n", "me")

    assert (outcome.status, outcome.out) == (0, "8\n")
    assert outcome.err.splitlines()[0] == "Launching a worker on sums, b"
    assert (
        "INFO:procrastinate.worker.me:Starting worker on queues sums, b"
        in outcome.err.splitlines()
    )
    assert jobs_of(conn, "status") == [("succeeded",)]


def test_jobs_that_fail_do_not_make_the_worker_fail(run: Run, conn: psycopg.Connection) -> None:
    run("defer", "cliapp.fail")

    assert run("worker", "--one-shot").status == 0
    assert jobs_of(conn, "status") == [("failed",)]


def test_a_worker_of_other_queues_leaves_a_job_alone(
    run: Run, conn: psycopg.Connection
) -> None:
    run("defer", "cliapp.add", '{"a": 3, "b": 5}')

    run("worker", "--one-shot", "-q", "other")

    assert jobs_of(conn, "status") == [("todo",)]


def test_a_worker_deletes_jobs_if_asked(run: Run, conn: psycopg.Connection) -> None:
    run("defer", "cliapp.add", '{"a": 3, "b": 5}')

    run("worker", "--one-shot", "--delete-jobs=successful")

    assert jobs_of(conn, "id") == []


def test_a_worker_does_with_stalled_jobs_what_it_is_told(
    run: Run, conn: psycopg.Connection
) -> None:
    run("defer", "cliapp.add", '{"a": 3, "b": 5}')
    run("defer", "cliapp.fail")
    conn.execute("update procrastinate_jobs set status = 'doing'")  # under no worker

    outcome = run("worker", "--one-shot", "--stalled-jobs=fail,cliapp.add=retry")

    assert outcome.out == "8\n"
    assert jobs_of(conn, "status") == [("succeeded",), ("failed",)]


def test_options_come_before_variables_and_those_before_the_defaults_of_the_app(
    run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "defaultsapp.py").write_text(
        "import cliapp\n"
        "app = cliapp.app\n"
        "app.worker_defaults = {'queues': ['default'], 'wait': False, 'name': 'default'}\n"
    )

    def line() -> str:
        err = run("worker", *args, app="defaultsapp.app").err
        return next(line for line in err.splitlines() if "Starting" in line)

    # The first line speaks of what was typed; the log, of what is so.
    launched = run("worker", app="defaultsapp.app").err.splitlines()[0]
    assert launched == "Launching a worker on all queues"
    args: list[str] = []
    assert line() == "INFO:procrastinate.worker.default:Starting worker on queues default"
    monkeypatch.setenv("PROCRASTINATE_WORKER_NAME", "env")
    monkeypatch.setenv("PROCRASTINATE_WORKER_QUEUES", "env")
    assert line() == "INFO:procrastinate.worker.env:Starting worker on queues env"
    args = ["-n", "option", "-q", ""]
    assert line() == "INFO:procrastinate.worker.option:Starting worker on all queues"


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the process ended without: {text}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_worker_without_an_error(
    start: Start, conn: psycopg.Connection, signum: signal.Signals
) -> None:
    process = start("-a", "cliapp.app", "worker")
    read_until(process, "Starting worker on all queues")

    process.send_signal(signum)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (0, "")
    assert "Stop requested" in err
    assert err.splitlines()[-1].endswith("Stopped worker on all queues")
    assert conn.execute("select count(*) from procrastinate_workers").fetchone() == (0,)


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGTERM, "doing"), (signal.SIGINT, "aborted")]
)
def test_a_second_signal_ends_the_process_as_if_it_were_no_worker(
    run: Run,
    start: Start,
    conn: psycopg.Connection,
    signum: signal.Signals,
    status: str,
) -> None:
    run("defer", "cliapp.endless")
    process = start("-a", "cliapp.app", "worker")
    read_until(process, "Starting job cliapp.endless")
    process.send_signal(signum)
    read_until(process, "Waiting for job to finish")

    process.send_signal(signum)
    process.communicate(timeout=30)

    assert process.returncode == -signum
    # SIGTERM kills at once, and whoever recovers stalled jobs finds this one.
    assert jobs_of(conn, "status") == [(status,)]


def test_the_program_can_be_run_as_a_module_in_the_directory_of_the_app(
    start: Start, conn: psycopg.Connection
) -> None:
    out, err = start("-a", "cliapp.app", "defer", "cliapp.add").communicate(timeout=30)

    assert (out, err.splitlines()[-1]) == ("", "INFO:procrastinate.jobs:Deferred 1 job")
    assert len(jobs_of(conn, "id")) == 1


# schema


def test_the_schema_that_is_read_makes_an_empty_database_ours(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setenv("TEST_DSN", empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(run("schema", "--read").out.encode())

    assert run("healthchecks").status == 0


@pytest.mark.parametrize("args", [["--apply"], []])
def test_the_schema_is_applied_to_an_empty_database(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = run("schema", *args)

    assert (outcome.status, outcome.out, outcome.err) == (0, "", "Applying schema\nDone\n")
    assert run("defer", "cliapp.add").status == 0


def test_a_schema_that_is_there_can_not_be_applied(run: Run) -> None:
    outcome = run("schema", "--apply")

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("Applying schema\n")
    assert "Done" not in outcome.err


def test_migrating_an_empty_database_applies_every_migration_once(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    first = run("schema", "--migrate")
    second = run("schema", "--migrate")

    assert (first.status, second.status) == (0, 0)
    assert first.out.splitlines()
    assert second.out == ""
    assert first.err == second.err == "Applying migrations\nDone\n"
    assert run("schema", "--check").status == 0


def test_a_database_that_differs_from_the_lock_is_an_error_that_names_the_object(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("drop view procrastinate_locks")

    outcome = run("schema", "--check")

    assert outcome.status == 1
    assert "procrastinate_locks" in outcome.out
    assert outcome.err == (
        "Checking schema\nThe database does not have the schema of this version.\n"
    )


def test_on_a_terminal_a_long_command_says_how_far_it_is(
    terminal: Terminal, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = terminal("schema", "--migrate")

    assert outcome.status == 0
    first, shown, last, end = outcome.out.split("\n")
    assert (first, last, end) == ("Applying migrations", "Done", "")
    # each update goes back to the start of the line and erases it, and so does the end
    *updates, after = shown.split("\r\x1b[K")
    assert updates[1].startswith("0 s")
    assert after == "04.00.00_01_pre_baseline"


@pytest.mark.parametrize("command", ["--apply", "--migrate"])
async def test_what_is_done_just_now_is_shown_until_it_is_done(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from procrastinate import App, PsycopgConnector
    from procrastinate.cli import commands, progress

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    monkeypatch.setattr(progress, "TICK", 0)
    app = App(connector=PsycopgConnector(conninfo=empty_dsn, min_size=1))
    names = ["apply", "migrate", "plan", "check", "read", "migrations_path"]
    flags = {**dict.fromkeys(names, False), "revert": None}

    async with app.open_async():
        await commands.schema(app, **cast(Any, {**flags, command.removeprefix("--"): True}))

    shown = stream.getvalue()
    assert shown.endswith("\r\x1b[KDone\n")
    assert ("\r\x1b[K0 s: 04.00.00_01_pre_baseline" in shown) is (command == "--migrate")
    assert "\r\x1b[K0 s" in shown


def test_the_path_of_the_migrations_is_data_and_comes_first(run: Run) -> None:
    import pathlib

    outcome = run("schema", "--migrations-path", "--read", "--apply")

    assert (outcome.status, outcome.err) == (0, "")
    assert list(pathlib.Path(outcome.out.strip()).glob("*.sql"))


def test_a_reader_that_has_read_enough_is_no_reason_for_words(start: Start) -> None:
    process = start("schema", "--read")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "-- Procrastinate Schema\n"
    process.stdout.close()

    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 1


# healthchecks


def test_a_healthy_app_is_ok(run: Run) -> None:
    outcome = run("healthchecks")

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "App configuration: OK",
        "DB connection: OK",
        "Found procrastinate_jobs table: OK",
    ]


def test_a_database_without_our_tables_is_not_healthy(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = run("healthchecks")

    assert outcome.status == 1
    assert outcome.out.splitlines() == ["App configuration: OK", "DB connection: OK"]
    assert outcome.err == (
        "Connection to the database works but the procrastinate_jobs table was not found. "
        "Have you applied database migrations (see `procrastinate schema -h`)?\n"
    )


def test_a_database_that_can_not_be_reached_is_an_error_that_says_so(
    run: Run, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "downapp.py").write_text(
        "import procrastinate\n"
        "app = procrastinate.App(connector=procrastinate.PsycopgConnector("
        "conninfo='host=127.0.0.1 port=1', timeout=0.2, min_size=1))\n"
    )

    outcome = run("healthchecks", app="downapp.app")

    assert (outcome.status, outcome.out) == (1, "")
    assert "pool initialization incomplete after 0.2 sec" in outcome.err.splitlines()


def test_another_program_can_check_what_it_likes(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse
    import asyncio

    from procrastinate import App, cli

    async def check(app: App) -> None:
        print("Mine:", json.dumps(await app.check_connection_async()))

    parser = argparse.ArgumentParser()
    cli.add_arguments(parser, include_app=False, custom_healthchecks=check)
    app = cli.load_app("cliapp.app")
    asyncio.run(cli.execute_command({**vars(parser.parse_args(["healthchecks"])), "app": app}))

    assert capsys.readouterr().out == "Mine: true\n"
