"""How jobs run and end in SAQ's worker."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from typing import Any

import psycopg
import pytest

from procrastinate import utils
from procrastinate.contrib import saq
from procrastinate.contrib.saq.queue.base import JobError
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import PATIENCE, Work, add, again, drain, fail


async def test_a_job_that_returns_is_complete(queue: PostgresQueue) -> None:
    await queue.enqueue("add", key="k", a=1, b=2)

    worker = await drain(queue, add)

    job = await again(queue, "k")
    assert (job.status, job.result, job.progress, job.attempts) == (
        saq.Status.COMPLETE, 3, 1.0, 1
    )  # fmt: skip
    assert job.queued <= job.started <= job.completed
    assert job.worker_id in (worker.id, None)  # its row is gone with the worker
    assert (queue.complete, queue.failed) == (1, 0)


async def test_a_job_that_raises_fails_with_its_traceback(queue: PostgresQueue) -> None:
    await queue.enqueue("fail", key="k")

    await drain(queue, fail)

    job = await again(queue, "k")
    assert (job.status, job.attempts, job.retryable) == (saq.Status.FAILED, 1, False)
    assert job.error is not None
    assert "Traceback" in job.error
    assert "ValueError: no luck" in job.error
    assert queue.failed == 1


async def test_a_job_is_attempted_as_often_as_retries_says(queue: PostgresQueue) -> None:
    await queue.enqueue("fail", key="three", retries=3)
    await queue.enqueue("fail", key="none", retries=0)

    await drain(queue, fail)

    attempts = {job.key: job.attempts for job in await queue.jobs(["three", "none"]) if job}
    assert attempts == {"three": 3, "none": 1}
    assert queue.retried == 2


async def test_a_delay_of_less_than_a_second_is_kept(queue: PostgresQueue, work: Work) -> None:
    begun: list[float] = []

    async def f(ctx: Any) -> None:
        begun.append(time.monotonic())
        raise ValueError

    await work(queue, ("f", f))

    with pytest.raises(JobError):
        await queue.apply("f", retries=2, retry_delay=0.4)

    assert begun[1] - begun[0] >= 0.4


async def test_a_job_between_attempts_waits_with_its_error(queue: PostgresQueue) -> None:
    await queue.enqueue("fail", key="k", retries=2, retry_delay=50)

    await drain(queue, fail)

    job = await again(queue, "k")
    assert (job.status, job.started, job.completed) == (saq.Status.QUEUED, 0, 0)
    assert "no luck" in (job.error or "")
    assert 40 <= job.scheduled - time.time() <= 51
    assert (await queue.info())["scheduled"] == 1


async def test_a_delay_is_one_by_the_clock_of_the_database(
    queue: PostgresQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = utils.utcnow
    monkeypatch.setattr(utils, "utcnow", lambda: right() + datetime.timedelta(hours=1))
    await queue.enqueue("fail", key="k", retries=2, retry_delay=50)

    await drain(queue, fail)

    assert 40 <= (await again(queue, "k")).scheduled - time.time() <= 51


async def test_a_backoff_spreads_the_next_attempts_up_to_its_cap(queue: PostgresQueue) -> None:
    keys = ["a", "b", "c"]
    for key in keys:
        await queue.enqueue("fail", key=key, retries=2, retry_delay=9e6, retry_backoff=1e6)

    await drain(queue, fail)

    delays = [(await again(queue, key)).scheduled - time.time() for key in keys]
    assert all(0 < delay <= 1e6 for delay in delays)
    assert min(delays) < 1e6 - 1000  # all three so near to the cap: once in 10^9


async def test_a_function_that_nobody_has_and_wrong_arguments_are_failures(
    queue: PostgresQueue,
) -> None:
    await queue.enqueue("nobody", key="n")
    await queue.enqueue("add", key="w", c=1)

    await drain(queue, add)

    jobs = await queue.jobs(["n", "w"])
    assert [job.status for job in jobs if job] == [saq.Status.FAILED] * 2
    assert "TaskNotFound" in ((await again(queue, "n")).error or "")
    assert "TypeError" in ((await again(queue, "w")).error or "")


async def test_a_job_past_its_timeout_is_cancelled_and_counts_as_an_attempt(
    queue: PostgresQueue, work: Work
) -> None:
    async def sleep(ctx: Any) -> None:
        await asyncio.sleep(PATIENCE)

    await work(queue, ("sleep", sleep))
    job = await queue.enqueue("sleep", timeout=0.2, retries=2)
    assert job is not None

    await job.refresh(PATIENCE)

    assert (job.status, job.attempts) == (saq.Status.FAILED, 2)
    assert "longer than its timeout" in (job.error or "")


async def test_a_job_that_is_silent_past_its_heartbeat_is_stopped_unless_it_updates(
    queue: PostgresQueue, work: Work
) -> None:
    async def silent(ctx: Any) -> None:
        await asyncio.sleep(PATIENCE)

    async def beating(ctx: Any) -> str:
        for _ in range(8):
            await asyncio.sleep(0.1)
            await ctx["job"].update()
        return "done"

    await work(queue, ("silent", silent), ("beating", beating))

    silence = asyncio.create_task(queue.apply("silent", heartbeat=0.4))

    assert await queue.apply("beating", heartbeat=0.4) == "done"
    with pytest.raises(JobError, match="sign of life"):
        await silence


async def test_progress_and_meta_of_a_running_job_are_seen_from_outside(
    queue: PostgresQueue, work: Work
) -> None:
    told, seen = asyncio.Event(), asyncio.Event()

    async def f(ctx: Any) -> dict[str, Any]:
        job: saq.Job = ctx["job"]
        job.meta["step"] = 2
        await job.update(progress=0.5)
        told.set()
        await seen.wait()
        return job.meta

    await work(queue, ("f", f))
    job = await queue.enqueue("f", meta={"from": "outside"})
    assert job is not None
    async with asyncio.timeout(PATIENCE):
        await told.wait()
        while (await again(queue, job.key)).progress != 0.5:
            pass  # each look is a round trip
    assert (await again(queue, job.key)).meta == {"from": "outside", "step": 2}
    seen.set()
    await job.refresh(PATIENCE)
    assert job.result == {"from": "outside", "step": 2}


async def test_only_the_task_itself_updates_its_job(queue: PostgresQueue) -> None:
    job = await queue.enqueue("f")
    assert job is not None

    with pytest.raises(RuntimeError, match="does not run in this process"):
        await job.update(progress=0.5)


async def test_a_running_job_that_is_aborted_is_cancelled_and_never_retried(
    queue: PostgresQueue, work: Work
) -> None:
    begun = asyncio.Event()

    async def sleep(ctx: Any) -> None:
        begun.set()
        await asyncio.sleep(PATIENCE)

    await work(queue, ("sleep", sleep))
    job = await queue.enqueue("sleep", retries=3, timeout=0)
    assert job is not None
    async with asyncio.timeout(PATIENCE):
        await begun.wait()

    await job.abort("enough")

    # The worker may be as fast as the look at what became of it.
    assert job.status in {saq.Status.ABORTING, saq.Status.ABORTED}
    assert job.error == "enough"
    await job.refresh(PATIENCE)
    assert (job.status, job.attempts) == (saq.Status.ABORTED, 1)
    assert queue.aborted == 1


async def test_a_waiting_job_is_aborted_at_once_and_one_that_is_over_stays(
    queue: PostgresQueue,
) -> None:
    waiting = await queue.enqueue("add", scheduled=time.time() + 1000)
    over = await queue.enqueue("add", key="over", a=1, b=1)
    assert waiting is not None
    assert over is not None
    await drain(queue, add)

    await waiting.abort("enough")
    await over.abort("too late")

    assert (waiting.status, waiting.error) == (saq.Status.ABORTED, "enough")
    assert (await again(queue, waiting.key)).status is saq.Status.ABORTED
    assert (await again(queue, "over")).status is saq.Status.COMPLETE


async def test_sync_functions_run_in_threads_with_the_context(queue: PostgresQueue) -> None:
    def where(ctx: Any) -> str:
        return threading.current_thread().name

    await queue.enqueue("where", key="k")

    await drain(queue, ("where", where))

    assert (await again(queue, "k")).result not in (None, threading.main_thread().name)


async def test_a_job_that_is_aborted_has_not_ended_before_its_thread(
    queue: PostgresQueue, work: Work
) -> None:
    loop = asyncio.get_running_loop()
    begun, release = asyncio.Event(), threading.Event()
    ends: list[str] = []

    def block(ctx: Any) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait(PATIENCE)
        ends.append("thread")

    def note(ctx: Any) -> None:
        ends.append("job")

    worker = await work(queue, ("block", block), after_process=note)
    job = await queue.enqueue("block", key="k", timeout=0)
    assert job is not None
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        await job.abort("enough")
        while not any(c["task"].cancelling() for c in worker.job_task_contexts.values()):
            await queue.count("active")  # each look is a round trip
    assert (await again(queue, "k")).status is saq.Status.ABORTING

    release.set()
    await job.refresh(PATIENCE)

    assert job.status is saq.Status.ABORTED
    assert ends == ["thread", "job"]


async def test_a_result_that_json_can_not_say_fails_the_job(queue: PostgresQueue) -> None:
    async def odd(ctx: Any) -> object:
        return object()

    await queue.enqueue("odd", key="k", retries=3)

    await drain(queue, ("odd", odd))

    job = await again(queue, "k")
    assert (job.status, job.attempts) == (saq.Status.FAILED, 1)
    assert "TypeError" in (job.error or "")


async def test_results_are_kept_as_the_ttl_says(
    queue: PostgresQueue, conn: psycopg.Connection
) -> None:
    for key, ttl in (("ever", 0), ("never", -1), ("long", 600), ("short", 1)):
        await queue.enqueue("add", key=key, ttl=ttl, a=1, b=1)
    await drain(queue, add)
    conn.execute(
        "update procrastinate_events set at = at - interval '1 minute'"
        " where job_id = (select id from procrastinate_jobs where key = 'short')"
    )
    conn.commit()

    jobs = await queue.jobs(["ever", "never", "long", "short"])

    assert [job and job.result for job in jobs] == [2, None, 2, None]


async def test_ungrouped_jobs_run_while_a_group_is_busy(
    queue: PostgresQueue, work: Work
) -> None:
    release = asyncio.Event()
    running = most = 0

    async def grouped(ctx: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    for n in range(20):  # more than the worker has room for
        await queue.enqueue("grouped", key=f"g{n}", group_key="g")
    await work(queue, ("grouped", grouped), add, concurrency=5)

    assert await queue.apply("add", timeout=PATIENCE, a=1, b=1) == 2

    release.set()
    async with asyncio.timeout(PATIENCE):
        while await queue.count("incomplete"):
            pass  # each look is a round trip
    assert most == 1


async def test_smaller_priorities_run_first(queue: PostgresQueue) -> None:
    ran: list[int] = []

    async def f(ctx: Any, n: int) -> None:
        ran.append(n)

    for n in (5, 0, 10, -1, 40000):
        await queue.enqueue("f", n=n, priority=n)

    await drain(queue, ("f", f), concurrency=1)

    assert ran == [-1, 0, 5, 10, 40000]
