"""What a worker says, to whom, and how loud."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from procrastinate import App, RetryStrategy, exceptions, job_context, jobs
from procrastinate.rpc import values, wire
from procrastinate.worker import Worker, logger, reports
from procrastinate.worker.running import RunningJob

from .conftest import Database, Drain, StartWorker, actions, run_to_its_end


def the(records: pytest.LogCaptureFixture, action: str) -> logging.LogRecord:
    """The one record of an action."""
    found = [r for r in records.records if r.__dict__.get("action") == action]
    assert len(found) == 1
    return found[0]


async def test_the_life_of_a_job_in_the_log(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="ok", queue="q", lock="l")
    async def task(a: int) -> dict[str, int]:
        return {"r": a}

    job_id = await task.defer_async(a=1)
    await drain(name="me", queues=["q"])

    worker_actions = [
        record.__dict__["action"]
        for record in records.records
        if record.name.startswith("procrastinate.worker") and "action" in record.__dict__
    ]
    assert worker_actions == [
        "start_worker",
        "loaded_job_info",
        "start_job",
        "job_success",
        "finish_task",
        "stop_worker",
        "stop_worker",
    ]
    expected = {
        "start_worker": (logging.INFO, "me", "Starting worker on queues q"),
        "loaded_job_info": (
            logging.DEBUG,
            "me",
            f"Loaded job info, about to start job ok[{job_id}](a=1)",
        ),
        "start_job": (logging.INFO, "me", f"Starting job ok[{job_id}](...)"),
        "finish_task": (
            logging.DEBUG,
            "me",
            f"Acknowledged job completion ok[{job_id}](...)",
        ),
    }
    for action, (level, name, message) in expected.items():
        record = the(records, action)
        assert (record.levelno, record.name, record.getMessage()) == (
            level,
            f"procrastinate.worker.{name}",
            message,
        )
    ends = [r for r in records.records if r.__dict__.get("action") == "stop_worker"]
    assert [(end.getMessage(), end.__dict__["queues"]) for end in ends] == [
        ("No job found. Stopping worker because wait=False", ["q"]),
        ("Stopped worker on queues q", ["q"]),
    ]


async def test_a_record_carries_the_job_and_the_worker_for_machines(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    seen: list[jobs.Job] = []

    @app.task(name="ok", pass_context=True)
    async def task(context: Any) -> str:
        seen.append(context.job)
        return "r"

    await task.defer_async()
    await drain()

    record = the(records, "job_success")
    extra = record.__dict__
    assert extra["job"] == seen[0].log_context()
    assert extra["worker"] == {
        "name": "worker",
        "worker_id": seen[0].worker_id,
        "job_id": seen[0].id,
        "queues": [],
    }
    assert extra["result"] == "r"
    assert extra["duration"] == pytest.approx(extra["end_timestamp"] - extra["start_timestamp"])
    assert (
        f" ended with status: Success, lasted {extra['duration']:.3f} s" in record.getMessage()
    )
    assert the(records, "start_worker").__dict__["queues"] is None


#: What the records of a job carry, beside the action, the worker and the job.
BEGUN = {"start_timestamp", "duration"}
ENDED = {*BEGUN, "end_timestamp", "result"}


@pytest.mark.parametrize(
    ("raised", "retry", "carried", "status"),
    [
        (None, False, {"job_success": ENDED}, jobs.Status.SUCCEEDED),
        (ValueError(), False, {"job_error": ENDED}, jobs.Status.FAILED),
        (ValueError(), True, {"job_error_retry": ENDED}, jobs.Status.FAILED),
        (exceptions.JobAborted(), False, {"job_aborted": ENDED}, jobs.Status.ABORTED),
        (asyncio.CancelledError(), True, {"job_aborted_retry": ENDED}, jobs.Status.ABORTED),
    ],
    ids=["success", "error", "error, to retry", "aborted", "aborted, to retry"],
)
async def test_the_records_of_a_job_carry_its_times_and_how_it_ended(
    app: App,
    drain: Drain,
    records: pytest.LogCaptureFixture,
    raised: BaseException | None,
    retry: bool,
    carried: dict[str, set[str]],
    status: jobs.Status,
) -> None:
    @app.task(name="t", retry=RetryStrategy(wait=3600) if retry else False)
    async def task() -> str:
        if raised:
            raise raised
        return "r"

    await task.defer_async()
    await drain()

    carried = {"loaded_job_info": BEGUN, "start_job": BEGUN, "finish_task": ENDED, **carried}
    for action, fields in carried.items():
        extra = the(records, action).__dict__
        assert extra["job"]["task_name"] == "t"
        assert extra["worker"]["job_id"] == extra["job"]["id"]
        assert {field for field in ENDED if field in extra} == fields
    ended = the(records, "finish_task").__dict__
    assert ended["status"] is status
    assert ended["result"] == (None if raised else "r")
    assert ended["duration"] == ended["end_timestamp"] - ended["start_timestamp"]


async def test_the_records_of_an_unknown_task_carry_what_is_known(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    await app.configure_task("nobody.knows").defer_async()
    await drain()

    record = the(records, "task_not_found")
    assert (record.levelno, record.name) == (logging.ERROR, "procrastinate.worker.worker")
    assert record.getMessage() == "Task was not found"
    assert record.exc_info is not None
    assert record.exc_info[0] is exceptions.TaskNotFound
    assert record.__dict__["exception"] == str(exceptions.TaskNotFound())
    assert record.__dict__["worker"]["job_id"] == record.__dict__["job"]["id"]
    assert record.__dict__.keys() >= BEGUN
    # It was not about to start.
    assert "loaded_job_info" not in actions(records)
    assert "start_job" not in actions(records)
    assert the(records, "finish_task").__dict__["status"] is jobs.Status.FAILED


async def test_the_records_of_a_worker_that_is_stopped_carry_what_they_are_about(
    app: App, start_worker: StartWorker, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="t", queue="q")
    async def task() -> None:
        await asyncio.Event().wait()

    job_id = await task.defer_async()
    run = await start_worker(queues=["q"], name="me", shutdown_graceful_timeout=0)
    await run.until_it_runs()
    await run.stop()

    expected: dict[str, tuple[int, str]] = {
        "stopping_worker": (logging.INFO, "Stop requested"),
        "ending_job": (logging.INFO, f"Waiting for job to finish: me: t[{job_id}]() (started "),
        "abort_job": (
            logging.DEBUG,
            "Received a request to abort an asynchronous job. Cancelling asyncio task",
        ),
    }
    for action, (level, message) in expected.items():
        record = the(records, action)
        assert (record.levelno, record.name) == (level, "procrastinate.worker.me")
        assert record.getMessage().startswith(message)
        worker = record.__dict__["worker"]
        assert (worker["name"], worker["queues"]) == ("me", ["q"])
    assert the(records, "abort_job").__dict__["job"]["id"] == job_id
    seconds = the(records, "ending_job").getMessage().partition("(started ")[2]
    assert 0 <= float(seconds.removesuffix(" s ago)")) < 60
    ends = [r for r in records.records if r.__dict__.get("action") == "stop_worker"]
    assert [(end.getMessage(), end.__dict__["queues"]) for end in ends] == [
        ("1 jobs still running after graceful timeout. Aborting them", ["q"]),
        ("Stopped worker on queues q", ["q"]),
    ]


async def test_the_last_record_of_a_worker_that_has_left_names_no_row_of_it(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    await drain()
    ends = [r for r in records.records if r.__dict__.get("action") == "stop_worker"]
    assert [end.__dict__["worker"]["worker_id"] is None for end in ends] == [False, True]


@pytest.mark.parametrize(
    ("result", "suffix"),
    [
        (None, ""),
        (0, ""),
        ({"r": 1}, " - Result: {'r': 1}"),
        ("x" * 300, " - Result: " + "x" * 239),
    ],
)
async def test_a_result_is_shown_and_cut(
    app: App,
    drain: Drain,
    records: pytest.LogCaptureFixture,
    result: Any,
    suffix: str,
) -> None:
    @app.task(name="ok")
    async def _() -> Any:
        return result

    job_id = await app.configure_task("ok").defer_async()
    await drain()

    message = the(records, "job_success").getMessage()
    start, lasted, rest = message.partition(", lasted ")
    assert start == f"Job ok[{job_id}]() ended with status: Success"
    assert lasted
    assert rest.partition(" s")[2] == suffix


async def test_a_result_that_has_no_truth_or_text_does_not_keep_its_job_from_ending(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    class Array:
        def __bool__(self) -> bool:
            raise ValueError("The truth value of an array is ambiguous")

    @app.task(name="ok")
    async def _() -> Array:
        return Array()

    job_id = await app.configure_task("ok").defer_async()
    await drain()

    assert await database.status(job_id) == "succeeded"
    record = the(records, "job_end_not_logged")
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"The end of job ok[{job_id}]() could not be logged"
    assert record.__dict__["job"]["id"] == record.__dict__["worker"]["job_id"] == job_id


async def test_a_middleware_of_the_other_kind_is_said_to_be_skipped_once_a_task(
    app: App, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    def of_sync(call_next: Any, context: Any, worker: Any) -> Any:
        return call_next()

    async def of_async(call_next: Any, context: Any, worker: Any) -> Any:
        return await call_next()

    @app.task(name="s")
    def _() -> None: ...

    @app.task(name="a")
    async def _() -> None: ...

    for name in ("s", "a", "s", "a"):
        await app.configure_task(name).defer_async()
    await drain(task_middleware=[of_sync, of_async])

    skipped = [r for r in records.records if r.__dict__.get("action") == "skip_task_middleware"]
    assert {record.levelno for record in skipped} == {logging.DEBUG}
    assert [record.getMessage() for record in skipped] == [
        "Skipping worker-wide async middleware 'of_async' for sync task 's'",
        "Skipping worker-wide sync middleware 'of_sync' for async task 'a'",
    ]


async def test_what_is_not_listened_to_is_not_made(
    app: App, drain: Drain, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def log_context(self: object) -> Any:
        asked.append(self)
        return {}

    monkeypatch.setattr(jobs.Job, "log_context", log_context)
    monkeypatch.setattr(job_context.JobResult, "as_dict", log_context)
    monkeypatch.setattr(jobs.Job, "call_string", property(log_context))
    caplog.set_level(logging.WARNING, logger="procrastinate")

    @app.task(name="ok", retry=RetryStrategy(max_attempts=1))
    async def task(ends: bool) -> None:
        if not ends:
            raise asyncio.CancelledError

    await task.batch_defer_async({"ends": True}, {"ends": False})
    await drain()
    assert asked == []


async def test_a_worker_without_a_name_is_called_worker(
    app: App, records: pytest.LogCaptureFixture
) -> None:
    worker = Worker(app, name=None, wait=False, install_signal_handlers=False)
    assert worker.worker_name == "worker"
    assert worker.logger.name == f"{logger.name}.worker" == "procrastinate.worker.worker"
    await run_to_its_end(worker)
    assert "Starting worker on all queues" in records.text


async def test_handlers_of_signals_are_said_to_come_and_go(
    app: App, records: pytest.LogCaptureFixture
) -> None:
    await run_to_its_end(Worker(app, wait=False))
    assert actions(records)[0] == "install_signal_handlers"
    assert actions(records)[-1] == "uninstall_signal_handlers"


def a_run(job_id: int, **fields: Any) -> RunningJob:
    """A run whose end was sent."""
    job = jobs.Job(id=job_id, queue="q", lock=None, queueing_lock=None, task_name="t")
    run = RunningJob(job, job_id + 10, started_at=1.0)
    run.ended_at, run.returned = 3.0, "r"
    for name, value in fields.items():
        setattr(run, name, value)
    return run


NOT_APPLIED = (
    "The end of job t[2]() was not applied: the job is not held by this worker any more "
    "(it is {} now)"
)


@pytest.mark.parametrize(
    ("delete", "was_sent", "status", "applied"),
    [
        (False, True, "succeeded", True),
        (False, True, "todo", False),
        (False, True, None, False),
        (False, False, "succeeded", False),
        (True, True, None, True),
        (True, True, "succeeded", False),
        (True, False, None, False),
    ],
)
async def test_an_end_that_was_refused_is_a_warning_unless_it_was_applied_before(
    app: App,
    records: pytest.LogCaptureFixture,
    delete: bool,
    was_sent: bool,
    status: str | None,
    applied: bool,
) -> None:
    first, second, third = (
        a_run(
            job_id,
            was_sent=was_sent,
            status=jobs.Status.SUCCEEDED,
            end=wire.End(job_id, job_id + 10, "succeeded", delete),
        )
        for job_id in (1, 2, 3)
    )
    refusal = values.EndNotHeld(job_id=2, claim_id=None, status=status)
    reports.settle_ends(Worker(app), [first, second, third], [refusal])

    expected = ["finish_task", "finish_task" if applied else "job_not_held", "finish_task"]
    assert actions(records) == expected
    record = records.records[1]
    assert record.__dict__["job"]["id"] == 2
    if applied:
        assert record.__dict__["status"] is jobs.Status.SUCCEEDED
        return
    assert (record.levelno, record.__dict__["status"]) == (logging.WARNING, status)
    assert record.getMessage() == NOT_APPLIED.format(status or "gone")


@pytest.mark.parametrize(
    ("was_sent", "outcome", "action"),
    [
        (False, "retried", "finish_task"),
        (False, "failed", "finish_task"),
        (False, "not_held", "job_not_held"),
        (True, "not_held", "finish_task"),
    ],
)
async def test_a_retry_that_was_refused_is_a_warning_unless_it_was_sent_before(
    app: App,
    records: pytest.LogCaptureFixture,
    was_sent: bool,
    outcome: str,
    action: str,
) -> None:
    retried, other = (a_run(job_id, was_sent=was_sent) for job_id in (2, 3))
    answer = values.Outcome(job_id=2, outcome=outcome, status="doing")
    reports.settle_retries(Worker(app), [retried, other], [answer])

    assert actions(records) == [action, "finish_task"]
    if action == "job_not_held":
        assert records.records[0].getMessage() == NOT_APPLIED.format("doing")


async def test_what_a_worker_does_for_all_is_said_if_there_was_anything_to_do(
    app: App, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [
        [],  # pruned
        [],  # expired
        values.Sweep(promoted=0, unlinked=0),
        [7, 8],
        [],
        values.Sweep(promoted=2, unlinked=0),
    ]

    async def call(_: Any) -> Any:
        return answers.pop(0)

    worker = Worker(app, name="me")
    monkeypatch.setattr(worker.outage, "call", call)
    await worker.housekeeping.make_round()
    assert records.records == []
    await worker.housekeeping.make_round()
    pruned, promoted = records.records
    assert (pruned.levelno, pruned.getMessage()) == (
        logging.DEBUG,
        "Pruned stalled workers: [7, 8]",
    )
    assert (promoted.levelno, promoted.name) == (logging.INFO, "procrastinate.worker.me")
    assert promoted.getMessage() == ("Released 2 jobs that waited for a lock which nobody held")
    assert promoted.__dict__["action"] == "jobs_promoted"
    assert promoted.__dict__["promoted"] == 2


async def test_a_worker_says_when_its_row_comes_is_lost_and_goes(
    app: App, database: Database, records: pytest.LogCaptureFixture
) -> None:
    worker = Worker(app)
    await worker.registration.register()
    await worker.registration.renew(1)
    await worker.registration.unregister()
    await worker.registration.unregister()  # gone already

    assert [(record.levelno, record.getMessage()) for record in records.records] == [
        (logging.DEBUG, "Registered worker 1 in the database"),
        (
            logging.WARNING,
            "Worker 1 is not registered any more: it was most probably taken for stalled. "
            "Registering again; 0 running jobs may be given to other workers",
        ),
        (logging.DEBUG, "Registered worker 2 in the database"),
        (logging.DEBUG, "Unregistered worker 2 from the database"),
    ]
    lost = the(records, "worker_registered_again")
    assert lost.__dict__["lost_worker_id"] == 1
    assert worker.worker_id is None


async def test_a_worker_whose_row_can_not_be_removed_says_so_and_forgets_it(
    app: App, records: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(_: Any) -> Any:
        raise exceptions.ConnectorException("refused")

    worker = Worker(app)
    await worker.registration.register()
    monkeypatch.setattr(worker.outage, "call", call)
    await worker.registration.unregister()

    record = the(records, "unregister_worker_failed")
    assert (record.levelno, record.getMessage()) == (
        logging.WARNING,
        "Could not unregister worker 1: ConnectorException('refused')",
    )
    assert worker.worker_id is None
