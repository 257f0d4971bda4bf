"""Whoever waits for jobs through SAQ's interface gets what came of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from procrastinate.contrib import saq
from procrastinate.contrib.saq.queue.base import JobError
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import PATIENCE, Work, add, again, fail


async def sleep(ctx: Any, seconds: float = PATIENCE) -> str:
    await asyncio.sleep(seconds)
    return "slept"


async def test_apply_returns_the_result_or_raises_the_error(
    queue: PostgresQueue, work: Work
) -> None:
    await work(queue, add, fail)

    assert await queue.apply("add", a=1, b=2) == 3
    assert await queue.apply("add", ttl=-1, a=1, b=2) is None
    with pytest.raises(JobError, match="no luck") as raised:
        await queue.apply("fail", key="k")

    job = raised.value.job
    assert str(raised.value).startswith(
        "Job k Status.FAILED\n\nThe above job failed with the following error:\n\nTraceback"
    )
    assert (job.status, job.attempts, job.timeout) == (saq.Status.FAILED, 1, 0)


async def test_the_timeout_of_apply_is_the_jobs_too(queue: PostgresQueue, work: Work) -> None:
    await work(queue, sleep)

    with pytest.raises(TimeoutError):
        await queue.apply("sleep", timeout=0.2, key="k")

    job = await again(queue, "k")
    await job.refresh(PATIENCE)
    assert (job.status, job.timeout) == (saq.Status.FAILED, 0.2)


async def test_apply_with_a_key_that_is_taken_gives_the_result_of_that_job(
    queue: PostgresQueue, work: Work
) -> None:
    await queue.enqueue("add", key="k", a=1, b=2)

    waiting = asyncio.create_task(queue.apply("add", key="k", a=5, b=5))
    await work(queue, add)

    assert await waiting == 3


async def test_map_returns_results_in_the_order_of_its_input(
    queue: PostgresQueue, work: Work
) -> None:
    await work(queue, add)

    results = await queue.map("add", [{"a": 1}, {"a": 2, "b": 7, "key": "two"}], b=1)

    assert results == [2, 9]
    assert (await again(queue, "two")).kwargs == {"a": 2, "b": 7}
    assert await queue.map("add", []) == []


async def test_map_of_a_job_makes_a_job_of_each_item(queue: PostgresQueue, work: Work) -> None:
    await work(queue, add)

    items = [{"a": 1, "b": 1}, {"a": 2, "b": 2}]

    assert await queue.map(saq.Job("add", kwargs={"a": 0}), items) == [2, 4]


async def test_map_raises_the_first_failure_while_the_others_go_on(
    queue: PostgresQueue, work: Work
) -> None:
    released = asyncio.Event()

    async def held(ctx: Any, *, luck: bool) -> str:
        if not luck:
            raise ValueError("no luck")
        await released.wait()
        return "luck"

    await work(queue, ("held", held))

    with pytest.raises(JobError, match="no luck"):
        await queue.map("held", [{"luck": True, "key": "k"}, {"luck": False}])

    released.set()
    job = await again(queue, "k")
    await job.refresh(PATIENCE)
    assert job.result == "luck"


async def test_map_returns_failures_if_that_is_wanted_but_raises_timeouts(
    queue: PostgresQueue, work: Work
) -> None:
    await work(queue, add, fail, sleep)

    found = await queue.map("fail", [{}], return_exceptions=True)
    with pytest.raises(TimeoutError):
        await queue.map("sleep", [{}], timeout=0.1, return_exceptions=True)

    assert [type(error) for error in found] == [JobError]


async def test_listen_calls_with_each_status_until_that_is_enough(
    queue: PostgresQueue, work: Work
) -> None:
    seen: list[tuple[str, saq.Status]] = []
    looked = asyncio.Event()

    async def enough(key: str, status: saq.Status) -> bool:
        seen.append((key, status))
        looked.set()
        return status is saq.Status.COMPLETE

    await queue.enqueue("add", key="k", a=1, b=2)
    listening = asyncio.create_task(queue.listen(["k"], enough, timeout=PATIENCE))
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
    await work(queue, add)
    await listening

    assert seen[0] == ("k", saq.Status.QUEUED)
    assert seen[-1] == ("k", saq.Status.COMPLETE)
    with pytest.raises(TimeoutError):
        await queue.listen([], lambda key, status: True, timeout=0.05)


async def test_refresh_waits_for_the_end_no_longer_than_told(
    queue: PostgresQueue, work: Work
) -> None:
    job = await queue.enqueue("add", a=1, b=2)
    assert job is not None

    with pytest.raises(TimeoutError):
        await job.refresh(0.1)
    await work(queue, add)
    await job.refresh(0)
    await job.refresh(0.01)

    assert (job.status, job.result) == (saq.Status.COMPLETE, 3)
    with pytest.raises(RuntimeError, match="doesn't exist"):
        await saq.Job("add", queue=queue).refresh()


async def test_a_map_with_a_key_that_is_taken_waits_for_that_job_too(
    queue: PostgresQueue, work: Work
) -> None:
    await queue.enqueue("add", key="taken", a=1, b=1)
    items: list[dict[str, Any]] = [{"a": 2, "b": 2}, {"a": 9, "b": 9, "key": "taken"}]
    before = await again(queue, "taken")

    results = asyncio.create_task(queue.map("add", items))
    async with asyncio.timeout(PATIENCE):
        while await queue.count("queued") < 2:
            pass  # each look is a round trip
    await work(queue, add)

    assert await results == [4, 2]
    assert (await again(queue, "taken")).row_id == before.row_id
