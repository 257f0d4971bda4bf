"""What is enqueued through SAQ's interface is a job of procrastinate's."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from procrastinate import exceptions
from procrastinate.contrib import saq
from procrastinate.contrib.saq.errors import InvalidUrlError, MissingDependencyError
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from tests.python.contrib_saq.conftest import add, again, drain


async def test_names_of_fields_configure_the_job_and_others_are_arguments(
    queue: PostgresQueue, conn: psycopg.Connection
) -> None:
    job = await queue.enqueue(
        "f", a=1, kwargs={"x": 2}, timeout=3, heartbeat=4, retries=5, ttl=6, key="k",
        priority=7, retry_delay=1.5, retry_backoff=30, group_key="g",
    )  # fmt: skip

    assert job is not None
    assert job.status is saq.Status.QUEUED
    assert job.queued > 0
    row = conn.execute(
        "select task_name, args, queue_name, priority, key, group_key, max_attempts,"
        " extract(epoch from timeout)::float, extract(epoch from heartbeat)::float,"
        " extract(epoch from ttl)::float, extract(epoch from retry_delay)::float,"
        " retry_backoff, extract(epoch from retry_delay_cap)::float, retry_jitter"
        " from procrastinate_jobs"
    ).fetchone()
    assert row == (
        "f", {"x": 2, "a": 1}, "default", -7, "k", "g", 5, 3.0, 4.0, 6.0, 1.5, 2.0, 30.0, True
    )  # fmt: skip


async def test_a_job_is_read_back_as_it_was_enqueued(queue: PostgresQueue) -> None:
    given = saq.Job(
        "f", kwargs={"x": 1}, key="k", timeout=0, heartbeat=2, retries=3, ttl=0, retry_delay=0.5,
        retry_backoff=True, priority=4, group_key="g", meta={"m": [1]},
        scheduled=int(time.time()) + 1000,
    )  # fmt: skip
    await queue.enqueue(given)

    found = await again(queue, "k")

    expected = given.to_dict()
    assert abs(found.queued - expected.pop("queued")) < 60_000
    assert {k: v for k, v in found.to_dict().items() if k != "queued"} == expected


async def test_a_key_that_waits_is_refused_in_any_queue(queue: PostgresQueue, dsn: str) -> None:
    other = PostgresQueue.from_url(dsn, name="other", min_size=1)
    await other.connect()
    await queue.enqueue("f", key="k", a=1)

    assert await queue.enqueue("f", key="k", a=2) is None
    assert await other.enqueue("f", key="k") is None

    assert (await again(queue, "k")).kwargs == {"a": 1}
    assert await other.job("k") is None
    with pytest.raises(ValueError, match="fetched by wrong queue"):
        await other.jobs(["k"])
    await other.disconnect()


async def test_a_key_may_be_used_again_once_its_job_is_over(queue: PostgresQueue) -> None:
    await queue.enqueue("add", key="k", a=1, b=2, scheduled=int(time.time()) - 5)
    await drain(queue, add)

    assert await queue.enqueue("add", key="k", a=2, b=2) is not None

    found = await again(queue, "k")
    assert (found.status, found.result, found.attempts) == (saq.Status.QUEUED, None, 0)


async def test_a_job_whose_key_is_taken_becomes_what_is_stored(queue: PostgresQueue) -> None:
    await queue.enqueue("f", key="k", a=1)
    job = saq.Job("f", key="k", kwargs={"a": 2}, queue=queue)

    await job.enqueue()
    await job.enqueue()

    assert job.kwargs == {"a": 1}


async def test_given_arguments_replace_those_of_a_job(queue: PostgresQueue) -> None:
    job = await queue.enqueue(saq.Job("f", kwargs={"a": 1}, key="k"), b=2, timeout=7)

    assert job is not None
    assert (job.kwargs, job.timeout) == ({"b": 2}, 7)


async def test_a_job_of_another_queue_is_refused(queue: PostgresQueue, dsn: str) -> None:
    job = saq.Job("f", queue=PostgresQueue.from_url(dsn, name="other"))

    with pytest.raises(ValueError, match="registered to a different queue"):
        await queue.enqueue(job)


async def test_arguments_that_json_can_not_say_leave_no_row(queue: PostgresQueue) -> None:
    with pytest.raises(TypeError):
        await queue.enqueue("f", a=object())

    assert await queue.count("incomplete") == 0


async def test_hooks_change_a_job_before_it_is_stored_and_may_refuse_it(
    queue: PostgresQueue,
) -> None:
    seen: list[saq.Status] = []

    async def mark(job: saq.Job) -> None:
        seen.append(job.status)
        job.meta["by"] = "hook"

    async def refuse(job: saq.Job) -> None:
        raise RuntimeError("not today")

    queue.register_before_enqueue(mark)
    await queue.enqueue("f", key="k")
    await queue.enqueue("f", key="k")
    queue.unregister_before_enqueue(mark)
    queue.unregister_before_enqueue(mark)
    queue.register_before_enqueue(refuse)
    with pytest.raises(RuntimeError, match="not today"):
        await queue.enqueue("f", key="l")

    assert seen == [saq.Status.QUEUED, saq.Status.QUEUED]
    assert (await again(queue, "k")).meta == {"by": "hook"}
    assert await queue.job("l") is None


async def test_a_queue_that_is_not_connected_says_so(dsn: str) -> None:
    with pytest.raises(exceptions.AppNotOpen):
        await PostgresQueue.from_url(dsn).enqueue("f")


@pytest.mark.parametrize("url", ["foo://x", "x", ""])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrlError, match="Invalid url"):
        saq.Queue.from_url(url)


@pytest.mark.parametrize("url", ["redis://localhost", "http://localhost/q"])
def test_a_queue_that_can_not_be_had_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(MissingDependencyError, match="queues are in PostgreSQL"):
        saq.Queue.from_url(url)


async def test_a_batch_that_raises_aborts_what_it_has_enqueued(queue: PostgresQueue) -> None:
    await queue.enqueue("f", key="before")

    async def give_up() -> None:
        async with queue.batch():
            await queue.enqueue("f", key="inside")
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await give_up()
    async with queue.batch():
        await queue.enqueue("f", key="fine")

    found: list[Any] = [
        job.status.value for job in await queue.jobs(["before", "inside"]) if job
    ]
    assert found == ["queued", "aborted"]
    assert (await again(queue, "fine")).status is saq.Status.QUEUED


async def test_a_job_enqueues_itself_into_the_queue_that_it_is_given(
    queue: PostgresQueue,
) -> None:
    job = saq.Job("f", key="k", kwargs={"a": 1})

    await job.enqueue(queue)

    assert (job.status, job.queue) == (saq.Status.QUEUED, queue)
    assert (await again(queue, "k")).kwargs == {"a": 1}


async def test_a_job_is_known_by_its_key_to_whoever_did_not_enqueue_it(
    queue: PostgresQueue,
) -> None:
    await queue.enqueue("f", key="k")
    same = saq.Job("g", key="k", queue=queue)

    await same.abort("enough")

    assert (same.status, same.error) == (saq.Status.ABORTED, "enough")
    assert (await again(queue, "k")).status is saq.Status.ABORTED


async def test_nothing_comes_of_what_is_done_to_a_job_that_is_not_there(
    queue: PostgresQueue,
) -> None:
    job = saq.Job("f", key="k", queue=queue)

    await job.abort("enough")
    await job.retry("again")
    await job.update(progress=0.5)
    with pytest.raises(RuntimeError, match="doesn't exist"):
        await job.refresh(0)

    assert (job.status, job.error, job.progress) == (saq.Status.NEW, None, 0.0)
    assert (queue.aborted, queue.retried) == (0, 0)
    assert await queue.job("k") is None


async def test_a_waiting_job_may_be_finished_as_aborted(queue: PostgresQueue) -> None:
    for key, error in (("why", "enough"), ("no word", None)):
        job = await queue.enqueue("f", key=key)
        assert job is not None
        job.error = error
        await queue.finish_abort(job)

        assert (job.status, job.error) == (saq.Status.ABORTED, error or "aborted")
        assert (await again(queue, key)).status is saq.Status.ABORTED


def test_a_queue_without_a_database_is_refused() -> None:
    with pytest.raises(ValueError, match="Queue 'q' needs a pool or the url of a database"):
        PostgresQueue(name="q")
