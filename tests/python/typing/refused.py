"""What type checkers must refuse: each line that ends in `# refused`, and no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
from procrastinate import jobs, middleware, worker

app = procrastinate.App(connector=procrastinate.PsycopgConnector())
blueprint = procrastinate.Blueprint()

procrastinate.App()  # refused
procrastinate.App(procrastinate.PsycopgConnector())  # refused
procrastinate.App(connector="postgresql:///")  # refused


@app.task
def plain(a: int, b: str = "") -> int:
    return a


@app.task(queue="mail")
async def slow(a: int) -> int:
    return a


@app.task(pass_context=True)
def with_context(context: procrastinate.JobContext, a: int) -> int:
    return a


@app.periodic(cron="* * * * *")
@app.task(name="ticking")
def ticking(timestamp: int, a: int = 0) -> None: ...


# Arguments of a job
plain("1")  # refused
plain.defer()  # refused
plain.defer(a="1")  # refused
plain.defer(a=1, c=2)  # refused
slow.defer(b=1)  # refused
with_context.defer()  # refused
with_context.defer(a=1, context=None)  # refused
ticking.defer(a="1")  # refused
plain.batch_defer(1)  # refused
plain.configure().defer(a=object())  # refused
number: str = plain.defer(a=1)  # refused


plain.configure(timeout="5")  # refused
plain.configure(colour="red")  # refused
app.task(max_attempts="3")  # refused
app.task(key="k")  # refused
plain.defer_and_wait(a="1")  # refused
text: str = plain.defer_and_wait(a=1)  # refused
texts: list[str] = slow.map([{"a": 1}])  # refused


def takes_text(text: str) -> None: ...


async def in_async_code() -> None:
    takes_text(await slow.defer_and_wait_async(a=1))  # refused
    takes_text(await slow.handle(1).result())  # refused
    await slow.defer_async(a="1")  # refused
    await slow.defer_async()  # refused
    await slow.defer(a=1)  # refused
    await app.run_worker_async(colour="red")  # refused
    await app.run_worker_async(concurrency="3")  # refused
    await app.job_manager.cancel_job_by_id_async("1")  # refused


# Options
plain.configure(priority="3")  # refused
plain.configure(colour="red")  # refused
plain.configure(schedule_in={"fortnights": 1})  # refused
plain.configure(schedule_at="tomorrow")  # refused
app.task(queue=1)  # refused
app.task(retry="often")  # refused
app.configure_task(name=3)  # refused
app.add_tasks_from(blueprint, "shop")  # refused
app.periodic("* * * * *")  # refused
app.periodic(cron="* * * * *", colour="red")  # refused


# Retries
procrastinate.RetryStrategy(3)  # refused
procrastinate.RetryStrategy(wait="3")  # refused
procrastinate.RetryDecision(retry_in={"fortnights": 1})  # refused
procrastinate.RetryDecision(priority="high")  # refused


class Patient(procrastinate.BaseRetryStrategy):
    def get_retry_decision(self, exception: str, job: jobs.Job) -> None:  # refused
        return None


# Middleware
def takes_too_little(call_next: Callable[[], Any]) -> Any:
    return call_next()


def sync(
    call_next: Callable[[], Any], context: procrastinate.JobContext, worker: worker.Worker
) -> int:
    return 1


async def traced(
    call_next: Callable[[], Awaitable[Any]],
    context: procrastinate.JobContext,
    worker: worker.Worker,
) -> Any:
    return await call_next()


around_a_job: middleware.WorkerMiddleware = sync  # refused
around_a_task: middleware.TaskMiddleware = takes_too_little  # refused
app.task(task_middleware=traced)  # refused
app.run_worker_async(worker_middleware=[sync])  # refused


# A task without a timestamp can't be periodic
@app.periodic(cron="* * * * *")  # refused
@app.task(name="without_timestamp")
def without_timestamp() -> None: ...
