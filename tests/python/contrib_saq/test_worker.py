"""SAQ's worker: hooks, bursts, ticks, its end, and what others see of it."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import Any

import psycopg
import pytest

from procrastinate.contrib import saq
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import PATIENCE, Work, add, again, drain, fail


async def test_hooks_are_called_around_the_worker_and_each_attempt(
    queue: PostgresQueue,
) -> None:
    seen: list[tuple[str, Any]] = []

    def startup(ctx: Any) -> None:
        ctx["db"] = "open"
        seen.append(("startup", ctx["worker"].id))

    async def before(ctx: Any) -> None:
        seen.append(("before", (ctx["job"].key, ctx["job"].attempts, ctx["db"])))

    async def after(ctx: Any) -> None:
        seen.append(("after", (ctx["job"].status.value, type(ctx.get("exception")))))

    def failing(ctx: Any) -> None:
        raise RuntimeError("a hook after changes nothing")

    async def shutdown(ctx: Any) -> None:
        seen.append(("shutdown", ctx["db"]))

    await queue.enqueue("fail", key="f", retries=2)
    await drain(
        queue, fail, id="me", concurrency=1, startup=startup, shutdown=[shutdown],
        before_process=before, after_process=[after, failing],
    )  # fmt: skip

    assert seen == [
        ("startup", "me"),
        ("before", ("f", 1, "open")),
        ("after", ("queued", ValueError)),
        ("before", ("f", 2, "open")),
        ("after", ("failed", ValueError)),
        ("shutdown", "open"),
    ]


async def test_a_hook_before_that_raises_fails_the_job(queue: PostgresQueue) -> None:
    after: list[saq.Status] = []

    def refuse(ctx: Any) -> None:
        raise RuntimeError("not you")

    def note(ctx: Any) -> None:
        after.append(ctx["job"].status)

    await queue.enqueue("add", key="k", a=1, b=1)
    await drain(queue, add, before_process=refuse, after_process=note)

    assert (await again(queue, "k")).status is saq.Status.FAILED
    assert after == [saq.Status.FAILED]


async def test_a_startup_that_raises_comes_out_of_start(queue: PostgresQueue) -> None:
    def refuse(ctx: Any) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await saq.Worker(queue, [], startup=refuse).start()


async def test_functions_are_known_by_qualified_names_and_the_first_of_a_name_wins(
    queue: PostgresQueue,
) -> None:
    def second(ctx: Any, **_: Any) -> str:
        return "second"

    worker = saq.Worker[Any](queue, [add, ("add", second), second])

    assert worker.functions["add"] is add
    assert worker.functions[second.__qualname__] is second
    with pytest.raises(ValueError, match="dequeue_timeout must be a positive value"):
        saq.Worker(queue, [], burst=True)


def test_a_worker_takes_no_other_kind_of_queue() -> None:
    other: Any = "default"

    with pytest.raises(TypeError, match="runs jobs of a PostgresQueue, not of 'default'"):
        saq.Worker(other, [])


@pytest.mark.parametrize("burst", [False, True])
async def test_a_worker_that_is_stopped_while_it_starts_runs_no_job(
    queue: PostgresQueue, burst: bool
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    over: list[str] = []

    async def startup(ctx: Any) -> None:
        begun.set()
        await go_on.wait()

    await queue.enqueue("add", key="k", a=1, b=1)
    worker = saq.Worker[Any](
        queue, [add], burst=burst, dequeue_timeout=PATIENCE, startup=startup,
        shutdown=lambda ctx: over.append("shut down"),
    )  # fmt: skip
    run = asyncio.create_task(worker.start())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        stop = asyncio.create_task(worker.stop())
        go_on.set()
        await stop
        await run

    assert (await again(queue, "k")).attempts == 0
    assert over == ["shut down"]


async def test_upkeep_that_fails_is_logged_and_done_again(
    queue: PostgresQueue, work: Work, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0
    recovered = asyncio.Event()

    async def noon(ctx: Any) -> None: ...

    async def refuse_the_second(job: saq.Job) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("not today")
        if calls == 3:
            recovered.set()

    queue.register_before_enqueue(refuse_the_second)
    await work(queue, cron_jobs=[saq.CronJob(noon, "0 12 * * *")], timers={"schedule": 0.01})
    async with asyncio.timeout(PATIENCE):
        await recovered.wait()

    failures = [r for r in caplog.records if r.message == "Upkeep task failed unexpectedly"]
    assert [str(r.exc_info[1]) for r in failures if r.exc_info] == ["not today"]


async def test_a_burst_ends_after_as_many_jobs_as_it_may_run(queue: PostgresQueue) -> None:
    for n in range(5):
        await queue.enqueue("add", a=n, b=n)

    worker = await drain(queue, add, max_burst_jobs=2)
    assert (queue.complete, worker.burst_jobs_processed) == (2, 2)

    assert await worker.process()
    assert queue.complete == 3
    assert await queue.count("queued") == 2


async def test_a_burst_waits_for_jobs_as_long_as_told(queue: PostgresQueue) -> None:
    await queue.enqueue("add", a=1, b=1, scheduled=time.time() + 0.5)
    worker = saq.Worker[Any](queue, [add], burst=True, dequeue_timeout=1)

    async with asyncio.timeout(PATIENCE):
        await worker.start()

    assert queue.complete == 1


async def test_a_job_that_is_cut_short_by_a_stop_waits_again_however_few_attempts_are_left(
    queue: PostgresQueue,
) -> None:
    begun = asyncio.Event()

    async def sleep(ctx: Any) -> None:
        begun.set()
        await asyncio.sleep(PATIENCE)

    await queue.enqueue("sleep", key="k", retries=1, timeout=0)
    worker = saq.Worker[Any](queue, [("sleep", sleep)])
    run = asyncio.create_task(worker.start())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await worker.stop()
        await run

    job = await again(queue, "k")
    assert (job.status, job.attempts) == (saq.Status.QUEUED, 1)
    assert await queue.count("queued") == 1  # still connected


async def test_a_job_may_end_within_the_grace_period(queue: PostgresQueue) -> None:
    begun = asyncio.Event()

    async def short(ctx: Any) -> str:
        begun.set()
        await asyncio.sleep(0.2)
        return "done"

    await queue.enqueue("short", key="k")
    worker = saq.Worker[Any](queue, [("short", short)], shutdown_grace_period_s=10)
    run = asyncio.create_task(worker.start())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await worker.stop()
        await run

    assert (await again(queue, "k")).result == "done"


async def test_a_cron_job_runs_once_a_tick_for_all_workers(
    queue: PostgresQueue, work: Work
) -> None:
    ticks: list[int] = []
    enough = asyncio.Event()

    async def tick(ctx: Any, *, word: str) -> None:
        ticks.append(ctx["job"].scheduled)
        if len(ticks) == 2:
            enough.set()

    cron = saq.CronJob(tick, "* * * * * */1", kwargs={"word": "x"}, timeout=5)
    for _ in range(2):
        await work(queue, cron_jobs=[cron])
    async with asyncio.timeout(PATIENCE):
        await enough.wait()

    assert len(set(ticks)) == len(ticks)


async def test_the_next_tick_waits_as_a_job_in_the_zone_of_the_worker(
    queue: PostgresQueue,
) -> None:
    async def noon(ctx: Any) -> None: ...

    zone = datetime.timezone(datetime.timedelta(hours=-3))
    crons = [saq.CronJob(noon, "0 12 * * *", ttl=5)]
    both = [
        saq.Worker[Any](queue, [], cron_jobs=crons, cron_tz=zone),
        saq.Worker[Any](queue, [], cron_jobs=[saq.CronJob(noon, "0 3 * * *")]),
    ]
    for worker in both:
        await worker.schedule()

    (job,) = [job async for job in queue.iter_jobs()]
    assert job.key == f"cron:{noon.__qualname__}"
    assert (job.ttl, job.timeout) == (5, 10)
    moment = datetime.datetime.fromtimestamp(job.scheduled, tz=datetime.UTC)
    assert (moment.hour, moment.minute) == (15, 0)  # the first is kept


async def test_a_cron_job_that_is_not_unique_has_a_job_of_each_worker(
    queue: PostgresQueue,
) -> None:
    async def noon(ctx: Any) -> None: ...

    for _ in range(2):
        worker = saq.Worker[Any](queue, [], cron_jobs=[saq.CronJob(noon, "0 12 * * *", False)])
        await worker.schedule()
        await worker.schedule()

    assert (await queue.info())["scheduled"] == 2


async def test_a_queue_tells_of_its_jobs_and_workers(queue: PostgresQueue, work: Work) -> None:
    release = asyncio.Event()
    begun = asyncio.Event()

    async def held(ctx: Any) -> None:
        begun.set()
        await release.wait()

    await queue.enqueue("held", key="a")
    await work(queue, ("held", held), id="me", concurrency=1, metadata={"rack": 7})
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    await queue.enqueue("held", key="b")
    await queue.enqueue("held", key="c", scheduled=time.time() + 1000)

    info = await queue.info(jobs=True)

    assert (info["name"], info["queued"], info["active"], info["scheduled"]) == (
        "default", 1, 1, 1
    )  # fmt: skip
    assert [(job["key"], job["status"]) for job in info["jobs"]] == [
        ("a", saq.Status.ACTIVE),
        ("b", saq.Status.QUEUED),
        ("c", saq.Status.QUEUED),
    ]
    assert (await again(queue, "a")).worker_id == "me"
    assert info["workers"]["me"]["metadata"] == {"rack": 7}
    assert [job["key"] for job in (await queue.info(True, 1, 1))["jobs"]] == ["b"]
    assert await queue.count("active") == 1
    assert await queue.count("incomplete") == 3
    with pytest.raises(ValueError, match="Can't count 'all'"):
        await queue.count("all")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    keys = [job.key async for job in queue.iter_jobs([saq.Status.QUEUED], batch_size=1)]
    assert keys == ["b", "c"]
    assert [job async for job in queue.iter_jobs([])] == []
    release.set()


async def test_what_can_not_be_had_says_so(queue: PostgresQueue, dsn: str) -> None:
    job = await queue.enqueue("f")
    assert job is not None

    with pytest.raises(NotImplementedError, match="Run a Worker"):
        await queue.dequeue()
    with pytest.raises(NotImplementedError, match="the worker that runs a job ends it"):
        await job.finish(saq.Status.COMPLETE)
    with pytest.raises(NotImplementedError, match="a queue of their own"):
        PostgresQueue.from_url(dsn, priorities=(1, 3))


async def test_a_failed_job_may_be_retried_by_hand_and_a_complete_one_may_not(
    queue: PostgresQueue,
) -> None:
    bad = await queue.enqueue("fail", key="bad")
    good = await queue.enqueue("add", key="good", a=1, b=1)
    assert bad is not None
    assert good is not None
    await drain(queue, fail, add)

    await bad.retry("once more")
    with pytest.raises(RuntimeError, match="only a job that has failed can"):
        await good.retry("once more")

    assert (await again(queue, "bad")).status is saq.Status.QUEUED
    assert queue.retried == 1


@pytest.mark.parametrize("delay", [0, 50])
async def test_who_is_retried_by_hand_waits_for_the_delay(
    queue: PostgresQueue, conn: psycopg.Connection, delay: float
) -> None:
    job = await queue.enqueue("fail", key="k", retry_delay=delay)
    assert job is not None
    await drain(queue, fail)

    await job.retry("once more")

    (waits,) = conn.execute(
        "select extract(epoch from scheduled_at - now())::float from procrastinate_jobs"
    ).fetchone() or (None,)
    assert waits is not None
    assert delay - 30 <= waits <= delay
