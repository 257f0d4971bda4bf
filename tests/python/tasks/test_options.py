"""The options of a job's run, on a task, on a job, and how one is laid over the other."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any, cast

import pytest

from procrastinate import App, Blueprint, exceptions, jobs
from procrastinate.testing import InMemoryConnector


@pytest.fixture
def app() -> App:
    """An app in memory."""
    return App(connector=InMemoryConnector())


def test_what_a_task_says_holds_for_its_jobs(app: App) -> None:
    @app.task(
        timeout=datetime.timedelta(minutes=2),
        heartbeat=30,
        ttl=0,
        keep_result=True,
        max_attempts=5,
        retry_delay=1,
        retry_backoff=2,
        retry_delay_cap=60,
        retry_jitter=True,
    )
    def task() -> None: ...

    assert task.configure().job.options == jobs.JobOptions(
        timeout=120,
        heartbeat=30,
        ttl=0,
        keep_result=True,
        max_attempts=5,
        retry_delay=1,
        retry_backoff=2,
        retry_delay_cap=60,
        retry_jitter=True,
    )


def test_what_a_job_says_wins_and_none_asks_for_the_default(app: App) -> None:
    @app.task(name="t", timeout=10, ttl=60)
    def task() -> None: ...

    job = app.configure_task("t", timeout=5, ttl=None, key="k", group_key="g").job

    assert job.options == jobs.JobOptions(timeout=5, ttl=60, key="k", group_key="g")


def test_a_task_without_options_makes_jobs_without_options(app: App) -> None:
    @app.task(timeout=None, store_result=False)
    def task() -> None: ...

    assert task.options is None
    assert task.configure(timeout=None, store_result=False).job.options is None


def test_a_blueprint_s_tasks_keep_their_options(app: App) -> None:
    blueprint = Blueprint()

    @blueprint.task(name="t", timeout=10)
    def task() -> None: ...

    app.add_tasks_from(blueprint, namespace="b")

    assert app.configure_task("b:t").job.options == jobs.JobOptions(timeout=10)
    assert task.options == jobs.JobOptions(timeout=10)


STORED: list[tuple[dict[str, Any], dict[str, Any], float | None]] = [
    ({"store_result": True}, {}, 86_400),
    ({"store_result": True, "ttl": 5}, {}, 5),
    ({"ttl": 5}, {"store_result": True}, 5),
    ({"ttl": 5}, {"store_result": False}, None),
    ({"ttl": -5}, {}, -1),
    ({"ttl": -1}, {"store_result": True}, 86_400),
    ({}, {"ttl": datetime.timedelta(hours=1)}, 3600),
]


@pytest.mark.parametrize(("of_task", "of_job", "ttl"), STORED)
def test_a_result_is_stored_for_so_long(
    app: App, of_task: dict[str, Any], of_job: dict[str, Any], ttl: float | None
) -> None:
    task = cast("Any", app.task)(**of_task)(lambda: None)

    options = task.configure(**of_job).job.options

    assert (options.ttl if options else None) == ttl


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds, not 0"),
    ({"timeout": "5"}, TypeError, "timeout must be seconds or a timedelta, not '5'"),
    ({"timeout": True}, TypeError, "timeout must be seconds"),
    ({"timeout": float("inf")}, ValueError, "timeout must be a finite number"),
    ({"heartbeat": -1}, ValueError, "heartbeat must be more than 0"),
    ({"ttl": float("nan")}, ValueError, "ttl must be a finite number"),
    ({"ttl": -1, "store_result": True}, ValueError, "store_result=True contradicts ttl=-1"),
    ({"ttl": 0, "store_result": False}, ValueError, "store_result=False contradicts ttl=0"),
    ({"store_result": "yes"}, TypeError, "store_result must be True or False"),
    ({"keep_result": True}, ValueError, "keep_result needs a result that is stored"),
    ({"max_attempts": 0}, ValueError, "max_attempts counts all runs"),
    ({"max_attempts": 1.5}, TypeError, "max_attempts must be a whole number"),
    ({"max_attempts": True}, TypeError, "max_attempts must be a whole number"),
    ({"retry_delay": 1}, ValueError, "retry_delay says how .* give max_attempts"),
    ({"retry_jitter": False}, ValueError, "retry_jitter says how"),
    ({"max_attempts": 2, "retry_delay": -1}, ValueError, "retry_delay must be 0 seconds or"),
    ({"max_attempts": 2, "retry_backoff": 0.5}, ValueError, "factor of at least 1"),
    ({"max_attempts": 2, "retry_backoff": True}, TypeError, "must be a number"),
    ({"max_attempts": 2, "retry_delay_cap": "1"}, TypeError, "retry_delay_cap must be"),
]
OF_JOBS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"key": ""}, ValueError, "key must not be empty"),
    ({"key": 5}, TypeError, "key must be a string"),
    ({"group_key": ""}, ValueError, "group_key must not be empty"),
    ({"group_key": "g", "lock": "l"}, ValueError, r"both a lock \('l'\) and a group_key"),
]


@pytest.mark.parametrize(("options", "error", "words"), WRONG)
def test_a_task_refuses_what_can_not_be_meant(
    app: App, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        cast("Any", app.task)(**options)(lambda: None)


@pytest.mark.parametrize(("options", "error", "words"), WRONG + OF_JOBS)
async def test_a_job_refuses_what_can_not_be_meant_before_anything_is_written(
    app: App, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    async with app.open_async():
        with pytest.raises(error, match=words):
            await app.configure_task("t", **options).defer_async()
        assert list(await app.job_manager.list_jobs_async()) == []


async def test_a_key_is_one_job_s_until_it_has_ended(app: App) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    async with app.open_async():
        await task.configure(key="k").defer_async()
        with pytest.raises(exceptions.KeyInUse, match="the key k"):
            await task.configure(key="k").defer_async()
        with pytest.raises(exceptions.AlreadyEnqueued):
            await asyncio.to_thread(task.configure(key="k").defer)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        await task.configure(key="k").defer_async()
        assert len(list(await app.job_manager.list_jobs_async(status="todo"))) == 1
