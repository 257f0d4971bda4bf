"""Options of a worker, and those that it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from procrastinate import App, exceptions
from procrastinate import worker as worker_module
from procrastinate.jobs import DeleteJobCondition
from procrastinate.worker import Worker

from .conftest import Database


def test_the_defaults_are_those_of_3_x(app: App) -> None:
    worker = Worker(app)

    assert {
        name: getattr(worker, name)
        for name in (
            "queues",
            "worker_name",
            "concurrency",
            "wait",
            "fetch_job_polling_interval",
            "abort_job_polling_interval",
            "shutdown_graceful_timeout",
            "listen_notify",
            "delete_jobs",
            "additional_context",
            "install_signal_handlers",
            "update_heartbeat_interval",
            "stalled_worker_timeout",
            "task_middleware",
            "worker_middleware",
            "worker_id",
            "run_task",
        )
    } == {
        "queues": None,
        "worker_name": worker_module.WORKER_NAME,
        "concurrency": worker_module.WORKER_CONCURRENCY,
        "wait": True,
        "fetch_job_polling_interval": worker_module.FETCH_JOB_POLLING_INTERVAL,
        "abort_job_polling_interval": worker_module.ABORT_JOB_POLLING_INTERVAL,
        "shutdown_graceful_timeout": None,
        "listen_notify": True,
        "delete_jobs": DeleteJobCondition.NEVER,
        "additional_context": {},
        "install_signal_handlers": True,
        "update_heartbeat_interval": 10.0,
        "stalled_worker_timeout": 30.0,
        "task_middleware": [],
        "worker_middleware": [],
        "worker_id": None,
        "run_task": None,
    }


def test_an_unknown_option_is_a_type_error(app: App) -> None:
    options: dict[str, Any] = {"foo": 1}
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        Worker(app, **options)


def test_a_string_is_not_taken_for_queues_of_one_letter_each(app: App) -> None:
    with pytest.raises(TypeError, match="not the string 'mail'"):
        Worker(app, queues="mail")


@pytest.mark.parametrize("condition", [*DeleteJobCondition, "always"])
def test_delete_jobs_takes_the_word_or_the_enum(
    app: App, condition: str | DeleteJobCondition
) -> None:
    assert Worker(app, delete_jobs=condition).delete_jobs is DeleteJobCondition(condition)


def test_delete_jobs_refuses_other_words(app: App) -> None:
    with pytest.raises(ValueError, match="'bogus' is not a valid DeleteJobCondition"):
        Worker(app, delete_jobs="bogus")


def test_middlewares_are_looked_at_when_the_worker_is_made(app: App) -> None:
    def sync_middleware(call_next: Any, context: Any, worker: Any) -> Any: ...

    wrong: Any = [sync_middleware]
    with pytest.raises(exceptions.MiddlewareKindMismatch, match="must be async"):
        Worker(app, worker_middleware=wrong)
    no_functions: Any = [3]
    with pytest.raises(TypeError, match="Worker middleware 3 is not callable"):
        Worker(app, worker_middleware=no_functions)
    with pytest.raises(TypeError, match="Task middleware 3 is not callable"):
        Worker(app, task_middleware=no_functions)


def test_a_task_is_found_by_its_name(app: App) -> None:
    @app.task(name="t", aliases=["u"])
    def task() -> None: ...

    worker = Worker(app)
    assert worker.find_task("t") is worker.find_task("u") is task
    with pytest.raises(exceptions.TaskNotFound) as caught:
        worker.find_task("v")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_module_that_is_not_there_ends_the_worker_before_it_registers(
    app: App, database: Database
) -> None:
    app.import_paths = ["nobody.has.this"]
    with pytest.raises(ModuleNotFoundError):
        await Worker(app, install_signal_handlers=False).run()
    assert database.conn.execute(
        "select nextval(pg_get_serial_sequence('procrastinate_workers', 'id'))"
    ).fetchone() == (1,)


async def test_a_database_without_the_schema_ends_the_worker(empty_dsn: str) -> None:
    from procrastinate import PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=empty_dsn, min_size=1))
    async with app.open_async():
        with pytest.raises(exceptions.ConnectorException):
            await Worker(app, install_signal_handlers=False).run()


async def test_a_worker_on_an_app_that_is_not_open_says_so(dsn: str) -> None:
    from procrastinate import PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn))
    with pytest.raises(exceptions.AppNotOpen):
        await Worker(app, install_signal_handlers=False).run()


async def test_a_worker_knows_the_task_that_it_runs_in(app: App) -> None:
    tasks: list[Any] = []
    worker = Worker(app, wait=False, install_signal_handlers=False)

    @app.task(name="t")
    async def task() -> None:
        tasks.append(worker.run_task)

    await task.defer_async()
    await worker.run()
    assert isinstance(tasks[0], asyncio.Task)
    assert tasks[0].done()
