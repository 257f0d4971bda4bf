"""Deferring: sync, async, many at once, in a transaction of the caller's."""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
from typing import TYPE_CHECKING, Any, cast

import pytest

from procrastinate import App, exceptions, jobs

if TYPE_CHECKING:
    import psycopg

    from tests.conftest import AsyncConnect, Connect

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def all_jobs(conn: psycopg.Connection, columns: str = "id, args") -> list[Any]:
    return conn.execute(
        f"select {columns} from procrastinate_jobs order by id".encode()
    ).fetchall()


def add(a: int, b: int) -> int:
    return a + b


def test_a_job_is_deferred_with_its_options(sync_app: App, conn: psycopg.Connection) -> None:
    task = sync_app.task(name="add", queue="sums", priority=3)(add)

    job_id = task.configure(lock="l", queueing_lock="ql", schedule_at=MOMENT).defer(a=1, b=2)

    assert all_jobs(
        conn,
        "id, task_name, queue_name, priority, lock, queueing_lock, args, status, "
        "extract(epoch from scheduled_at)::bigint, attempts, abort_requested, worker_id",
    ) == [
        (
            job_id,
            "add",
            "sums",
            3,
            "l",
            "ql",
            {"a": 1, "b": 2},
            "todo",
            int(MOMENT.timestamp()),
            0,
            False,
            None,
        )
    ]


async def test_a_job_is_deferred_in_async_code(open_app: App, conn: psycopg.Connection) -> None:
    job_id = await open_app.task(name="add")(add).defer_async(a=1, b=2)

    assert all_jobs(conn) == [(job_id, {"a": 1, "b": 2})]


def test_positional_arguments_are_ignored(sync_app: App, conn: psycopg.Connection) -> None:
    task: Any = sync_app.task(name="add")(add)

    job_id = task.defer(5, a=1)

    assert all_jobs(conn) == [(job_id, {"a": 1})]


def test_many_jobs_are_deferred_at_once_in_the_order_given(
    sync_app: App, conn: psycopg.Connection
) -> None:
    task = sync_app.task(name="add")(add)

    ids = task.batch_defer({"a": 1}, {"a": 2}, {"a": 3})

    assert all_jobs(conn) == [(ids[0], {"a": 1}), (ids[1], {"a": 2}), (ids[2], {"a": 3})]


async def test_many_jobs_are_deferred_at_once_in_async_code(
    open_app: App, conn: psycopg.Connection
) -> None:
    deferrer = open_app.task(name="add")(add).configure(task_kwargs={"b": 0}, queue="q")

    ids = await deferrer.batch_defer_async({"a": 1}, {"a": 2, "b": 3})

    assert all_jobs(conn, "id, queue_name, args") == [
        (ids[0], "q", {"a": 1, "b": 0}),
        (ids[1], "q", {"a": 2, "b": 3}),
    ]


async def test_deferring_no_jobs_gives_no_ids_and_no_log(
    open_app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.jobs")
    task = open_app.task(name="add")(add)

    assert await task.batch_defer_async() == []
    assert await asyncio.to_thread(task.batch_defer) == []
    assert caplog.records == []


def test_deferring_is_logged_once_per_call(
    sync_app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.jobs")
    task = sync_app.task(name="add")(add)

    task.defer(a=1, b=2)
    task.batch_defer({"a": 1}, {"a": 2})

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "About to defer 1 job"),
        ("INFO", "Deferred 1 job"),
        ("DEBUG", "About to defer 2 jobs"),
        ("INFO", "Deferred 2 jobs"),
    ]
    actions = [record.__dict__["action"] for record in caplog.records]
    assert actions == ["about_to_defer_jobs", "jobs_deferred"] * 2
    assert [record.__dict__["jobs"][0]["call_string"] for record in caplog.records[:2]] == [
        "add[None](...)",
        "add[1](...)",
    ]


def test_a_silenced_log_costs_no_context(
    sync_app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING, logger="procrastinate.jobs")

    def never(job: jobs.Job) -> Any:
        raise AssertionError(job)

    monkeypatch.setattr(jobs.Job, "log_context", never)

    assert sync_app.task(name="add")(add).batch_defer({"a": 1}) == [1]


def test_a_job_of_the_past_may_run_at_once(sync_app: App, conn: psycopg.Connection) -> None:
    past = MOMENT.replace(year=2000)

    sync_app.configure_task("t", schedule_at=past).defer()

    assert conn.execute("select state from procrastinate_todo").fetchone() == ("r",)


def test_a_taken_queueing_lock_is_already_enqueued(
    sync_app: App, conn: psycopg.Connection
) -> None:
    task = sync_app.task(name="add", queueing_lock="ql")(add)
    task.defer(a=1, b=2)

    with pytest.raises(
        exceptions.AlreadyEnqueued,
        match=r"^Job cannot be enqueued: there is already a job in the queue with the "
        r"queueing lock ql$",
    ) as error:
        task.defer(a=3, b=4)

    cause = error.value.__cause__
    assert isinstance(cause, exceptions.UniqueViolation)
    assert cause.constraint_name == "procrastinate_jobs_queueing_lock_idx_v1"
    assert cause.queueing_lock == "ql"
    assert len(all_jobs(conn)) == 1


async def test_a_batch_with_one_queueing_lock_is_refused_as_a_whole(
    open_app: App, conn: psycopg.Connection
) -> None:
    task = open_app.task(name="add", queueing_lock="ql")(add)

    with pytest.raises(exceptions.AlreadyEnqueued):
        await task.batch_defer_async({"a": 1}, {"a": 2})

    assert all_jobs(conn) == []


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 2**31},
        {"task_kwargs": {"a": "\0"}},
        {"queue": "q" * 129},
    ],
)
def test_what_the_database_refuses_is_a_connector_exception(
    sync_app: App, conn: psycopg.Connection, options: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.ConnectorException):
        sync_app.configure_task("t", **options).defer()

    assert all_jobs(conn) == []


def test_a_name_that_does_not_fit_is_a_connector_exception(sync_app: App) -> None:
    with pytest.raises(exceptions.ConnectorException):
        sync_app.configure_task("t" * 129).defer()


def test_a_queue_name_as_long_as_its_column_can_be_deferred_to(
    sync_app: App, conn: psycopg.Connection
) -> None:
    sync_app.configure_task("t", queue="ü" * 128).defer()

    assert all_jobs(conn, "queue_name") == [("ü" * 128,)]


def test_arguments_that_json_can_not_say_are_a_type_error(
    sync_app: App, conn: psycopg.Connection
) -> None:
    nonsense: Any = {"a": object()}

    with pytest.raises(TypeError, match="JSON serializable"):
        sync_app.configure_task("t").defer(**nonsense)

    assert all_jobs(conn) == []


def test_a_lock_of_another_type_is_stored_as_text(
    sync_app: App, conn: psycopg.Connection
) -> None:
    sync_app.configure_task("t", lock=5).defer()

    assert all_jobs(conn, "lock") == [("5",)]


@pytest.mark.parametrize("kind", ["lock", "queueing_lock"])
def test_a_lock_is_as_long_as_an_index_can_hold(
    sync_app: App, conn: psycopg.Connection, kind: str
) -> None:
    """3.10 has no limit, and PostgreSQL has one for what it can't compress."""
    sync_app.configure_task("t", **cast(Any, {kind: "l" * 50_000})).defer()
    with pytest.raises(exceptions.InvalidArgument, match="too long for an index"):
        sync_app.configure_task("t", **cast(Any, {kind: secrets.token_hex(4000)})).defer()

    assert all_jobs(conn, f"length({kind})") == [(50_000,)]


def test_what_was_configured_once_can_be_deferred_again(
    sync_app: App, conn: psycopg.Connection
) -> None:
    deferrer = sync_app.configure_task("t", task_kwargs={"a": 1})

    assert deferrer.defer(b=2) != deferrer.defer(c=3)
    assert all_jobs(conn, "args") == [({"a": 1, "b": 2},), ({"a": 1, "c": 3},)]
    assert deferrer.job.id is None


# connection=


def test_a_job_is_part_of_the_callers_transaction(
    sync_app: App, connect: Connect, conn: psycopg.Connection
) -> None:
    task = sync_app.task(name="add")(add)
    own = connect(autocommit=False)

    ids = [
        task.configure(connection=own).defer(a=1, b=2),
        *task.configure(connection=own).batch_defer({"a": 3}),
    ]
    assert all_jobs(conn) == []
    own.commit()

    assert [job_id for job_id, _ in all_jobs(conn)] == ids


def test_a_job_of_a_transaction_that_is_rolled_back_was_never_deferred(
    sync_app: App, connect: Connect, conn: psycopg.Connection
) -> None:
    own = connect(autocommit=False)

    sync_app.configure_task("t", connection=own).defer()
    own.rollback()

    assert all_jobs(conn) == []


async def test_a_job_is_part_of_the_callers_transaction_in_async_code(
    open_app: App, aconnect: AsyncConnect, conn: psycopg.Connection
) -> None:
    own = await aconnect(autocommit=False)
    deferrer = open_app.configure_task("t", connection=own)

    first = await deferrer.defer_async()
    (second,) = await deferrer.batch_defer_async({})
    assert all_jobs(conn) == []
    await own.commit()
    await deferrer.defer_async()
    await own.rollback()

    assert [job_id for job_id, _ in all_jobs(conn)] == [first, second]


def test_an_error_leaves_the_callers_transaction_failed(
    sync_app: App, connect: Connect
) -> None:
    own = connect(autocommit=False)
    task = sync_app.task(name="add", queueing_lock="ql")(add)
    task.configure(connection=own).defer(a=1)
    with pytest.raises(exceptions.AlreadyEnqueued):
        task.configure(connection=own).defer(a=2)

    with pytest.raises(exceptions.ConnectorException) as error:
        task.configure(connection=own, queueing_lock="other").defer(a=3)

    assert type(error.value.__cause__).__name__ == "InFailedSqlTransaction"
    own.rollback()
