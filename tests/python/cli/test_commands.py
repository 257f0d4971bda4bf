"""What the commands do to the jobs of a database, and what they say."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pathlib
    import subprocess

    import psycopg

    from .conftest import Run, Start


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
