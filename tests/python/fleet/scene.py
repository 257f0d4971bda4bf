"""
What the conversation is made of: the app, its tasks, and what a scene notes.

Runs in 3.10's own environment: see conversation.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import os
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import psycopg

import procrastinate
from procrastinate import exceptions, jobs

DSN = os.environ["FLEET_DSN"]
FAR = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN, max_size=8))
manager = app.job_manager


@app.task(name="add", queue="sums")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="greet", queue="words", lock="door", priority=3)
async def greet(name: str) -> str:
    return f"hello {name}"


@app.task(name="only_one", queue="words", queueing_lock="one")
async def only_one() -> None: ...


@app.task(name="fails", queue="bad")
async def fails() -> None:
    raise ValueError


@app.task(name="fails_twice", queue="bad", retry=2)
async def fails_twice() -> None:
    raise ValueError


@app.task(name="second_time_lucky", queue="bad", retry=True, pass_context=True)
def second_time_lucky(context: procrastinate.JobContext) -> None:
    if context.job.attempts == 0:
        raise ValueError


@app.task(
    name="late_luck", queue="bad", retry=procrastinate.RetryStrategy(wait=1), pass_context=True
)
async def late_luck(context: procrastinate.JobContext) -> None:
    if context.job.attempts == 0:
        raise ValueError


@app.task(name="sleeps", queue="slow")
async def sleeps() -> None:
    await asyncio.sleep(60)


@app.task(name="sleeps_again", queue="slow", retry=True)
async def sleeps_again() -> None:
    await asyncio.sleep(60)


@app.task(name="polls", queue="slow", pass_context=True)
def polls(context: procrastinate.JobContext) -> None:
    while not context.should_abort():
        time.sleep(0.01)
    raise exceptions.JobAborted


@app.task(name="breeds", queue="sums")
async def breeds(n: int) -> None:
    if n:
        await breeds.defer_async(n=n - 1)


class Scene:
    """The words of one scene."""

    def __init__(self, conn: psycopg.AsyncConnection) -> None:
        self.conn = conn
        self.said: list[Any] = []
        self.names: dict[str, dict[int, str]] = {"job": {}, "worker": {}}

    def name(self, what: str, number: Any) -> Any:
        if not isinstance(number, int):
            return number
        names = self.names[what]
        return names.setdefault(number, f"{what} {len(names) + 1}")

    def job(self, job: jobs.Job | None) -> Any:
        if job is None:
            return None
        context: dict[str, Any] = {**job.log_context()}
        context["id"] = self.name("job", context["id"])
        context["worker_id"] = self.name("worker", context["worker_id"])
        context["scheduled_at"] = (
            str(job.scheduled_at) if job.scheduled_at in (FAR, PAST) else bool(job.scheduled_at)
        )
        del context["call_string"]
        return context

    def note(self, **words: Any) -> None:
        self.said.append({key: self.plain(value) for key, value in words.items()})

    def plain(self, value: Any) -> Any:
        several: list[Any]
        pairs: dict[str, Any]
        if isinstance(value, jobs.Job):
            return self.job(value)
        if isinstance(value, (list, tuple, set)):
            several = list(value)  # pyright: ignore[reportUnknownArgumentType] (any row's)
            return [self.plain(item) for item in several]
        if isinstance(value, dict):
            pairs = dict(value)  # pyright: ignore[reportUnknownArgumentType] (any row's)
            return {key: self.plain(item) for key, item in pairs.items()}
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        return f"{type(value).__name__} {value}"

    async def refused(self, what: str, call: Awaitable[Any]) -> None:
        try:
            answer = await call
        except exceptions.ProcrastinateException as error:
            causes: list[str] = []
            cause: BaseException | None = error
            while cause is not None:
                text = (
                    str(cause)
                    .split("\nCONTEXT", maxsplit=1)[0]
                    .split("\nDETAIL", maxsplit=1)[0]
                )
                for number, name in self.names["job"].items():
                    text = text.replace(f"(job id: {number})", f"({name})")
                causes.append(f"{type(cause).__name__}: {text}")
                if isinstance(cause, exceptions.UniqueViolation):
                    causes.append(f"{cause.constraint_name} {cause.queueing_lock}")
                cause = cause.__cause__
            self.note(**{what: causes})
        else:
            self.note(**{what: f"was not refused: {answer}"})

    async def exists(self, function: str) -> bool:
        """Whether the database is ours: a function of 3.10's is not asked for."""
        rows = await self.rows("select to_regproc(%s) is not null", function)
        return bool(rows[0][0])

    async def rows(self, query: str, *args: Any) -> list[tuple[Any, ...]]:
        return await (await self.conn.execute(query.encode(), args or None)).fetchall()

    async def tables(self) -> None:
        """What the four tables hold, as 3.10 reads them."""
        alive = {
            worker_id
            for (worker_id,) in await self.rows("select id from procrastinate_workers")
        }
        for job in await manager.list_jobs_async():
            assert job.id is not None
            rows = await self.rows(
                "select type::text, at > now() + interval '1 day' from procrastinate_events"
                " where job_id = %s order by id",
                job.id,
            )
            # 3.10 writes `scheduled` once more for a waiting job whose last worker leaves: its
            # trigger takes the foreign key's update for one of the job. Nobody relies on that.
            echoes = {"deferred_for_retry", "retried"}
            events = [
                [kind, far]
                for (before, _), (kind, far) in itertools.pairwise([("", False), *rows])
                if not (kind == "scheduled" and before in echoes)
            ]
            # a worker that has left is none: ours may forget it later (docs/differences.md)
            worker_id = job.worker_id if job.worker_id in alive else None
            self.note(job=job.evolve(worker_id=worker_id), events=events)
        periodic = await self.rows(
            "select task_name, periodic_id, defer_timestamp, job_id is null"
            " from procrastinate_periodic_defers order by task_name, defer_timestamp"
        )
        workers = await self.rows("select count(*) from procrastinate_workers")
        orphans = await self.rows(
            "select count(*) from procrastinate_events e where not exists"
            " (select from procrastinate_jobs j where j.id = e.job_id)"
        )
        self.note(periodic=periodic, workers=workers, events_of_no_job=orphans)


def numbered(count: int) -> list[dict[str, Any]]:
    """The arguments of so many sums."""
    return [{"a": n, "b": n} for n in range(count)]


async def drain(**options: Any) -> None:
    await asyncio.wait_for(
        app.run_worker_async(wait=False, install_signal_handlers=False, **options), 20
    )


@contextlib.asynccontextmanager
async def worker(**options: Any) -> AsyncGenerator[asyncio.Task[None]]:
    """A worker that waits for jobs; no poll helps it."""
    still: dict[str, Any] = {"fetch_job_polling_interval": 30, "abort_job_polling_interval": 30}
    task = asyncio.create_task(
        app.run_worker_async(install_signal_handlers=False, **{**still, **options})
    )
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)


async def until(job_id: int, status: str) -> None:
    async with asyncio.timeout(30):
        while (await manager.get_job_status_async(job_id)).value != status:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
