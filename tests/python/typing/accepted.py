"""What type checkers must accept: one use of each kind, as people write them."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Any, assert_type

import procrastinate
from procrastinate import exceptions, handles, jobs, manager, middleware, retry, tasks, worker
from procrastinate.rpc import values

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo="", min_size=1, max_size=4),
    import_paths=["shop.tasks"],
    worker_defaults={"concurrency": 3, "queues": ["mail"], "delete_jobs": "successful"},
    periodic_defaults={"max_delay": 60},
)
blueprint = procrastinate.Blueprint()


# Tasks, sync and async


@app.task
def plain(a: int, b: str = "") -> int:
    return a


@app.task(queue="mail", priority=3, lock="l", queueing_lock="q", retry=3, aliases=["old.name"])
async def slow(a: int) -> str:
    return str(a)


@app.task(pass_context=True, name="with_context")
def with_context(context: procrastinate.JobContext, a: int) -> bool:
    return context.should_abort()


@app.task(pass_context=True)
async def with_context_async(context: procrastinate.JobContext, *, a: int) -> None:
    assert_type(context.job, jobs.Job)
    assert_type(context.app, procrastinate.App)


@app.task(
    timeout=datetime.timedelta(minutes=1),
    heartbeat=5,
    ttl=0,
    store_result=True,
    keep_result=True,
    max_attempts=3,
    retry_delay=0.5,
    retry_backoff=2,
    retry_delay_cap=60,
    retry_jitter=True,
)
async def careful(a: int) -> list[str]:
    return [str(a)]


assert_type(careful.configure(key="k", group_key="g", timeout=None), jobs.JobDeferrer)
assert_type(careful.options, jobs.JobOptions | None)
assert_type(plain.defer_and_wait(a=1, b="2"), int)
assert_type(careful.defer_and_wait(a=1), list[str])
assert_type(plain.map([{"a": 1}], timeout=5), list[int])
assert_type(careful.map([{"a": 1}], return_exceptions=True), list[list[str]])
assert_type(plain.handle(1), handles.JobHandle[int])
assert_type(careful.handle(1), handles.JobHandle[list[str]])


@app.task(pass_context=True)
async def telling(context: procrastinate.JobContext) -> None:
    context.update(progress=0.5, meta={"stage": 1})
    context.touch()


assert_type(plain(1, b="2"), int)
assert_type(plain.defer(a=1, b="2"), int)
assert_type(plain.batch_defer({"a": 1}, {"a": 2, "b": "3"}), list[int])
assert_type(plain.configure(lock="l", priority=None), jobs.JobDeferrer)
assert_type(plain.configure(schedule_in={"minutes": 5}).defer(a=1), int)
assert_type(plain.configure().batch_defer({"a": 1}), list[int])
assert_type(with_context.defer(a=1), int)
assert_type(with_context.configure(queue="q").defer(a=1), int)
assert_type(app.configure_task("plain", allow_unknown=False).defer(a=[1, {"b": None}]), int)
assert_type(plain.name, str)
assert_type(plain.retry_strategy, retry.BaseRetryStrategy | None)


async def in_async_code() -> None:
    async with app.open_async() as opened:
        assert_type(opened, procrastinate.App)
    assert_type(await app.open_async(), procrastinate.App)
    assert_type(await slow(1), str)
    assert_type(await slow.defer_async(a=1), int)
    assert_type(await plain.defer_async(a=1), int)
    assert_type(await slow.batch_defer_async({"a": 1}), list[int])
    at = datetime.datetime.now(tz=datetime.UTC)
    assert_type(await slow.configure(schedule_at=at).defer_async(a=1), int)
    assert_type(await slow.configure().batch_defer_async({"a": 1}), list[int])
    await with_context_async.defer_async(a=1)
    assert_type(await slow.defer_and_wait_async(a=1), str)
    assert_type(await plain.defer_and_wait_async(a=1), int)
    assert_type(await slow.map_async([{"a": 1}]), list[str])
    assert_type(await careful.handle(1).result(timeout=5), list[str])
    assert_type(await plain.handle(1).wait(), values.JobReport)
    assert_type(await app.wait_for([1, 2], timeout=5), list[values.JobReport])
    await app.run_worker_async(wait=False, concurrency=2, queues=["mail"], name="w")
    job_manager = app.job_manager
    assert_type(job_manager, manager.JobManager)
    assert_type(await job_manager.get_job_status_async(job_id=1), jobs.Status)
    assert_type(await job_manager.cancel_job_by_id_async(1, abort=True), bool)
    for job in await job_manager.list_jobs_async(queue="mail", status="todo"):
        assert_type(job, jobs.Job)


def in_sync_code(dsn: str) -> None:
    sync_app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=dsn))
    with sync_app.open() as opened:
        assert_type(opened, procrastinate.App)
    with sync_app.replace_connector(app.connector) as replaced:
        assert_type(replaced, procrastinate.App)
    assert_type(sync_app.check_connection(), bool)
    schema: str = sync_app.schema_manager.get_schema()
    assert schema
    sync_app.run_worker(wait=False)


# Retries


class Patient(procrastinate.BaseRetryStrategy):
    def get_retry_decision(
        self, *, exception: BaseException, job: jobs.Job
    ) -> procrastinate.RetryDecision | None:
        if isinstance(exception, exceptions.JobAborted):
            return None
        return procrastinate.RetryDecision(
            retry_in={"seconds": 10 * job.attempts}, priority=1, queue="slow", lock="l"
        )


@app.task(retry=Patient())
def patient() -> None: ...


@app.task(
    retry=procrastinate.RetryStrategy(
        max_attempts=3, wait=1, linear_wait=2, exponential_wait=3, retry_exceptions={KeyError}
    )
)
def classic() -> None: ...


@app.task(retry=True)
def stubborn() -> None: ...


# Middleware


def timed(
    call_next: Callable[[], Any], context: procrastinate.JobContext, worker: worker.Worker
) -> Any:
    return call_next()


async def traced(
    call_next: Callable[[], Awaitable[Any]],
    context: procrastinate.JobContext,
    worker: worker.Worker,
) -> Any:
    worker.stop()
    return await call_next()


around_a_task: middleware.TaskMiddleware = timed
around_a_job: middleware.WorkerMiddleware = traced


@app.task(task_middleware=[timed])
def wrapped(a: int) -> None: ...


@app.task(task_middleware=[traced])
async def wrapped_async(a: int) -> None: ...


app.run_worker(worker_middleware=[traced], task_middleware=[timed, traced])
wrapped.defer(a=1)


# Periodic tasks: the deferrer passes the timestamp


@app.periodic(cron="*/5 * * * *")
@app.task(name="every_five_minutes")
def every_five_minutes(timestamp: int) -> None: ...


@app.periodic(cron="0 0 * * * 30", periodic_id="b", queue="night", task_kwargs={"a": 2})
@app.periodic(cron="0 0 * * *", periodic_id="a", priority=-1)
@app.task(pass_context=True, name="every_night")
async def every_night(
    context: procrastinate.JobContext, timestamp: int, other: int = 0, a: int = 1
) -> None: ...


every_five_minutes.defer()


# Blueprints


@blueprint.task(name="of_a_blueprint", task_middleware=[timed])
def of_a_blueprint(a: int) -> None: ...


@blueprint.periodic(cron="* * * * *")
@blueprint.task
async def of_a_blueprint_too(timestamp: int, a: int = 0) -> None: ...


blueprint.add_task_alias(of_a_blueprint, "former.name")
app.add_tasks_from(blueprint, namespace="shop")
of_a_blueprint.defer(a=1)
any_task: tasks.Task[Any, Any, Any] = app.tasks["shop:of_a_blueprint"]
assert_type(procrastinate.App.from_path("shop.app"), procrastinate.App)
assert_type(procrastinate.__version__, Any)
