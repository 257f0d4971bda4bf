"""SAQ's job as a value: its fields, its units, its text."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from procrastinate.contrib import saq
from procrastinate.contrib.saq import job as job_module
from procrastinate.contrib.saq import utils
from procrastinate.contrib.saq.job import Job, Status


def test_a_new_job_has_saqs_defaults() -> None:
    job = Job("f", key="a")

    assert job.to_dict() == {"function": "f", "key": "a"}
    assert (job.timeout, job.retries, job.ttl, job.status) == (10, 1, 600, Status.NEW)
    assert (job.meta, job.abort_id, str(job)) == ({}, "saq:abort:a", "Job<function=f, key=a>")
    assert job == Job("g", key="a")
    assert hash(job) == hash(Job("g", key="a"))
    assert Job("f").key != Job("f").key


def test_a_status_may_be_given_by_its_value() -> None:
    given: Any = "complete"
    unknown: Any = "bad"

    assert Job("f", status=given).status is Status.COMPLETE
    with pytest.raises(KeyError, match="BAD"):
        Job("f", status=unknown)


def test_statuses_are_grouped_as_saq_groups_them() -> None:
    assert {Status.NEW, Status.QUEUED, Status.ACTIVE} == job_module.ACTIVE_STATUSES
    assert {Status.COMPLETE, Status.FAILED, Status.ABORTED} == job_module.TERMINAL_STATUSES
    assert {Status.FAILED, Status.ABORTED} == job_module.UNSUCCESSFUL_TERMINAL_STATUSES


@pytest.mark.parametrize(
    ("kind", "expected"), [("process", 4500), ("start", 2000), ("total", 6500)]
)
def test_durations_are_in_milliseconds(kind: Any, expected: int) -> None:
    job = Job("f", queued=1000, started=3000, completed=7500)

    assert job.duration(kind) == expected
    assert Job("f").duration(kind) is None
    assert Job("f").duration("running") is None
    assert 1000 <= (Job("f", started=utils.now() - 1000).duration("running") or 0) < 60_000
    with pytest.raises(ValueError, match="Unknown duration type: x"):
        job.duration("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("attempts", "retries", "expected"),
    [(0, 1, True), (1, 1, False), (1, 2, True), (0, 0, False)],
)
def test_a_job_is_retryable_while_attempts_are_left(
    attempts: int, retries: int, expected: bool
) -> None:
    assert Job("f", attempts=attempts, retries=retries).retryable is expected


def test_only_jobs_that_run_are_stuck() -> None:
    long_ago = utils.now() - 60_000

    def stuck(**fields: Any) -> bool:
        return Job("f", started=long_ago, touched=long_ago, **fields).stuck

    assert stuck(status=Status.ACTIVE)
    assert stuck(status=Status.ABORTING)
    assert stuck(status=Status.ACTIVE, timeout=0, heartbeat=1)
    assert not stuck(status=Status.ACTIVE, timeout=100)
    assert not stuck(status=Status.ACTIVE, timeout=0)
    assert not stuck(status=Status.QUEUED)


async def test_a_job_without_a_queue_says_what_it_lacks() -> None:
    job = Job("f")

    with pytest.raises(TypeError, match="must be associated with a `Queue`"):
        _ = job.id
    with pytest.raises(TypeError, match="must be associated with a `Queue`"):
        await job.enqueue()


def test_the_delay_doubles_with_each_attempt_up_to_a_cap_with_jitter() -> None:
    assert [utils.exponential_backoff(n, 1, None, jitter=False) for n in (1, 2, 3, 4)] == [
        1, 2, 4, 8
    ]  # fmt: skip
    assert [utils.exponential_backoff(n, 1, 3, jitter=False) for n in (1, 2, 3, 4)] == [
        1, 2, 3, 3
    ]  # fmt: skip
    delays = {
        Job("f", retry_delay=8, retry_backoff=2, attempts=1).next_retry_delay() for _ in "ab"
    }
    assert len(delays) == 2
    assert all(0 <= delay <= 2 for delay in delays)
    assert Job("f", retry_delay=1.5, attempts=3).next_retry_delay() == 1.5


def test_units_are_those_of_saq() -> None:
    assert (utils.millis(2), utils.seconds(2000)) == (2000, 2.0)
    assert isinstance(utils.now(), int)
    assert abs(utils.now() - utils.now_seconds() * 1000) < 60_000


def test_a_cron_expression_that_says_no_time_is_refused() -> None:
    async def f(ctx: Any) -> None: ...

    with pytest.raises(ValueError, match="Cron is invalid bad"):
        saq.Worker(saq.Queue.from_url("postgresql://"), [], cron_jobs=[saq.CronJob(f, "bad")])


async def test_cancelling_says_whether_all_tasks_ended_in_time() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await release.wait()
        await release.wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    assert not await utils.cancel_tasks([task], timeout=0)
    release.set()
    assert await utils.cancel_tasks([task], timeout=None)
    assert await utils.cancel_tasks([])


def test_a_job_as_text_is_read_by_its_own_queue_alone() -> None:
    queue = saq.Queue.from_url("postgresql://")
    job = Job("f", kwargs={"a": 1}, key="k", queue=queue, status=Status.QUEUED, meta={"m": 1})

    text = queue.serialize(job)
    read = queue.deserialize(text)
    ended = queue.deserialize(job.to_dict() | {"queue": "default"}, status="complete")

    assert read is not None
    assert ended is not None
    assert (read.to_dict(), read.queue) == (job.to_dict(), queue)
    assert (ended.key, ended.status, ended.queue) == ("k", Status.COMPLETE, queue)
    assert queue.deserialize(None) is None
    assert Job.key_from_id(job.id) == "k"
    with pytest.raises(ValueError, match="fetched by wrong queue: other"):
        saq.Queue.from_url("postgresql://", name="other").deserialize(text)
