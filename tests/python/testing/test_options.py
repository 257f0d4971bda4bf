"""What jobs may ask for, in memory: results, times, policies, progress."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from procrastinate import SyncPsycopgConnector, exceptions, jobs
from procrastinate.connectors.memory import results as memory_results
from procrastinate.connectors.memory import wishes
from procrastinate.rpc import front, results, values, wire
from procrastinate.rpc.call import Written
from procrastinate.testing import InMemoryConnector
from tests.python.testing.world import ERROR, NOON, World

PATIENCE = 20.0  # seconds, for what takes milliseconds


def test_a_job_comes_back_with_its_options_and_without_its_meta(world: World) -> None:
    world.defer(timeout=5, retry_delay=0.1234567, meta={"m": 1})
    world.defer(meta={"m": 1})

    first, second = world.fetch()

    assert first.job.options == jobs.JobOptions(timeout=5, retry_delay=0.123457)
    assert second.job.options is None


def test_the_job_of_the_table_has_no_columns_more(
    world: World, memory: InMemoryConnector
) -> None:
    job_id = world.defer(timeout=5)
    plain = world.call(front.defer_job(queue_name="q", task_name="t"))

    assert memory.jobs[job_id].keys() == memory.jobs[plain].keys()
    assert memory.options == {job_id: jobs.JobOptions(timeout=5)}


def test_what_a_run_returned_is_kept_for_the_ttl(
    world: World, memory: InMemoryConnector
) -> None:
    job_id, claim_id = world.claim(ttl=60)
    world.end((job_id, claim_id), result=Written('{"a": [1]}'))

    world.later(59)
    report = world.report(job_id)
    world.later(1)
    expired = world.report(job_id)

    assert report is not None
    assert (report.stored, report.result) == (True, {"a": [1]})
    assert report.expires_at == NOON + datetime.timedelta(seconds=60)
    assert expired is not None
    assert (expired.keeps, expired.stored, expired.result) == (True, False, None)


@pytest.mark.parametrize(("ttl", "is_kept"), [(None, False), (-1, False), (0, True)])
def test_no_ttl_keeps_nothing_and_zero_keeps_for_ever(
    world: World, ttl: int | None, is_kept: bool
) -> None:
    job_id, claim_id = world.claim(ttl=ttl)
    world.end((job_id, claim_id), result=Written("null"))
    world.later(1e9)

    report = world.report(job_id)

    assert report is not None
    assert (report.keeps, report.stored, report.expires_at) == (is_kept, is_kept, None)


def test_a_sweep_deletes_results_past_their_time_first_the_oldest(world: World) -> None:
    for ttl in (30, 20, 1000):
        world.end(world.claim(ttl=ttl), result=Written("1"))

    def sweep(max_jobs: int) -> list[bool]:
        world.now = NOON + datetime.timedelta(seconds=50)
        world.call(wire.sweep_v1(max_jobs=max_jobs))
        world.now = NOON  # when all would be there still
        return [report.stored for report in map(world.report, (1, 2, 3)) if report]

    assert sweep(1) == [True, False, True]
    assert sweep(1000) == [False, False, True]


@pytest.mark.parametrize("keep_result", [False, True])
def test_a_result_outlives_its_job_only_if_that_was_asked_for(
    world: World, keep_result: bool
) -> None:
    job_id, claim_id = world.claim(ttl=0, keep_result=keep_result)
    world.end((job_id, claim_id), result=Written("7"), delete=True)

    report = world.report(job_id)

    if not keep_result:
        assert report is None
        with pytest.raises(exceptions.JobNotFound):
            world.call(front.get_result(job_id=job_id))
        return
    assert report is not None
    assert (report.status, report.result, report.attempts) == ("succeeded", 7, None)
    assert world.call(front.watch_job(job_id=job_id)).over


def test_a_result_that_is_too_large_fails_its_job_and_says_so(
    world: World, memory: InMemoryConnector
) -> None:
    job_id, claim_id = world.claim(ttl=0)
    text = json.dumps("x" * memory_results.MOST_BYTES)

    stray = world.end((job_id, claim_id + 1), result=Written(text))
    exchange = world.end((job_id, claim_id), result=Written(text))

    assert (stray.too_large, exchange.too_large) == ([], [job_id])
    report = world.report(job_id)
    assert report is not None
    assert (report.status, report.result) == ("failed", None)
    assert report.error is not None
    assert report.error.cls == "procrastinate.exceptions.ResultTooLarge"
    assert report.error.message.startswith(f"The result has {len(text)} bytes")
    assert memory.events[job_id][-1]["error"] == f"ResultTooLarge: {report.error.message}"


def test_an_end_whose_claim_is_lost_leaves_nothing(world: World) -> None:
    job_id, claim_id = world.claim(ttl=0)
    lost = (job_id, claim_id + 1)

    exchange = world.end(lost, result=Written("1"), error=ERROR)

    report = world.report(job_id)
    assert [end.job_id for end in exchange.not_held] == [job_id]
    assert report is not None
    assert (report.status, report.stored) == ("doing", False)
    assert world.fail(lost) == "not_held"
    updates = [results.Update(job_id=job_id, claim_id=claim_id + 1, progress=0.5)]
    assert world.call(results.update_jobs_v1(worker_id=world.worker_id, updates=updates)) == {
        job_id: "not_held"
    }


def test_each_failed_attempt_leaves_its_error_in_the_history(
    world: World, memory: InMemoryConnector
) -> None:
    job_id, claim_id = world.claim(max_attempts=2, ttl=0)

    assert world.fail((job_id, claim_id), ERROR) == "retried"
    (claimed,) = world.fetch()
    assert world.fail((job_id, claimed.claim_id), {**ERROR, "attempt": 2}) == "failed"

    told = [event for event in memory.events[job_id] if "details" in event]
    assert [event["type"] for event in told] == ["deferred_for_retry", "failed"]
    assert [event["error"] for event in told] == ["ValueError: no"] * 2
    report = world.report(job_id)
    assert report is not None
    assert report.error == values.ErrorRecord(
        cls="builtins.ValueError", message="no", traceback="t", attempt=2
    )


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({}, [0, 0, 0]),
        ({"retry_delay": 10}, [10, 10, 10]),
        ({"retry_delay": 10, "retry_backoff": 3}, [10, 30, 90]),
        ({"retry_delay": 10, "retry_backoff": 3, "retry_delay_cap": 50}, [10, 30, 50]),
        ({"retry_delay": 10, "retry_backoff": 0}, [10, 0, 0]),
        ({"retry_delay": 10, "retry_backoff": 0.5}, [10, 5, 2.5]),
    ],
)
def test_the_delay_grows_as_the_policy_says(
    world: World, memory: InMemoryConnector, options: dict[str, Any], delays: list[float]
) -> None:
    job_id = world.defer(max_attempts=9, **options)
    for delay in delays:
        (claimed,) = world.fetch()
        world.fail((job_id, claimed.claim_id))

        due = memory.jobs[job_id]["scheduled_at"]
        assert (due - world.now).total_seconds() == delay
        world.now = due


def test_a_job_that_was_asked_to_abort_is_not_tried_again(world: World) -> None:
    claim = world.claim(max_attempts=9, ttl=0)
    world.call(front.abort_job(job_id=claim[0]))

    assert world.fail(claim, ERROR) == "failed"
    report = world.report(claim[0])
    assert report is not None
    assert (report.attempts, report.stored) == (1, True)


def test_a_power_that_is_too_large_for_a_number_is_the_longest_delay() -> None:
    options = jobs.JobOptions(retry_delay=5, retry_backoff=1e6)

    assert wishes.retry_delay(options, 1000) == pytest.approx(wishes.LONGEST)


def test_with_jitter_a_delay_is_any_time_up_to_its_length() -> None:
    options = jobs.JobOptions(
        retry_delay=10, retry_backoff=10, retry_delay_cap=40, retry_jitter=True
    )

    delays = [wishes.retry_delay(options, 3) for _ in range(200)]

    assert min(delays) >= 0
    assert max(delays) <= 40
    assert min(delays) < 10  # else one in 10^24 runs
    assert max(delays) > 30


def test_a_run_that_is_past_its_time_is_expired_only_under_a_silent_worker(
    world: World,
) -> None:
    timed, _ = world.claim(timeout=30, max_attempts=2)
    world.claim()
    world.later(29)
    minute = datetime.timedelta(seconds=60)

    def expire() -> list[tuple[int, str]]:
        found = world.call(results.expire_jobs_v1(older_than=minute))
        return [(one.job_id, one.outcome) for one in found]

    world.call(wire.heartbeat_v2(worker_id=world.worker_id))
    world.later(5)
    assert expire() == []
    world.later(60)
    assert expire() == [(timed, "retried")]


def test_a_touch_puts_off_the_heartbeat_and_not_the_timeout(
    world: World, memory: InMemoryConnector
) -> None:
    first = world.claim(heartbeat=10, max_attempts=1)
    second = world.claim(timeout=10, heartbeat=10, max_attempts=1)
    world.later(8)
    touches = [results.Update(job_id=job, claim_id=claim) for job, claim in (first, second)]
    world.call(results.update_jobs_v1(worker_id=world.worker_id, updates=touches))
    world.call(wire.unregister_worker_v2(worker_id=world.worker_id))
    none = datetime.timedelta()

    world.later(5)
    expired = world.call(results.expire_jobs_v1(older_than=none))
    world.later(6)
    expired += world.call(results.expire_jobs_v1(older_than=none))

    assert [(one.job_id, one.outcome) for one in expired] == [
        (second[0], "failed"),
        (first[0], "failed"),
    ]
    assert [memory.events[job][-1]["error"] for job, _ in (second, first)] == [
        "JobTimeout: Its timeout has passed, and its worker is gone or silent",
        "JobTimeout: Its heartbeat has passed, and its worker is gone or silent",
    ]


def test_progress_and_meta_keep_what_is_not_told_again(world: World) -> None:
    job_id, claim_id = world.claim(meta={"m": 1})

    def update(**told: Any) -> tuple[float | None, Any]:
        one = results.Update(job_id=job_id, claim_id=claim_id, **told)
        world.call(results.update_jobs_v1(worker_id=world.worker_id, updates=[one]))
        report = world.report(job_id)
        assert report is not None
        return report.progress, report.meta

    assert update(progress=0.5) == (0.5, {"m": 1})
    assert update(meta={"n": 2}) == (0.5, {"n": 2})
    assert update() == (0.5, {"n": 2})


@contextlib.asynccontextmanager
async def heard(
    memory: InMemoryConnector, channel: str
) -> AsyncGenerator[Callable[[], Awaitable[Any]]]:
    """Listen on a channel while the block runs; the next that is told can be awaited."""
    payloads: asyncio.Queue[Any] = asyncio.Queue()
    listening = asyncio.Event()

    async def hear(*, channel: str, payload: str) -> None:
        payloads.put_nowait(json.loads(payload))

    async def following() -> Any:
        return await asyncio.wait_for(payloads.get(), PATIENCE)

    listener = asyncio.create_task(memory.listen_notify(hear, [channel], listening.set))
    await listening.wait()
    yield following
    listener.cancel()


async def test_the_end_of_a_job_with_a_ttl_is_told(
    world: World, memory: InMemoryConnector
) -> None:
    def end_two() -> int:
        silent, told = world.claim(ttl=-1), world.claim(ttl=0)
        world.end(silent)
        world.end(told)
        return told[0]

    waiting = await asyncio.to_thread(world.defer, scheduled_at=NOON)
    watch = await memory.call_async(front.watch_job(job_id=waiting))
    async with heard(memory, watch.channel) as following:
        await asyncio.to_thread(world.fetch)
        told = await asyncio.to_thread(end_two)

        assert await following() == {"type": "job_ended", "job_ids": [told]}
    assert (watch.status, watch.over) == ("todo", False)


async def test_progress_is_told_in_parts(world: World, memory: InMemoryConnector) -> None:
    def update_all() -> list[int]:
        updates: list[results.Update] = []
        for _ in range(31):
            for _ in range(10):
                world.defer()
            updates += [
                results.Update(job_id=one.job.id or 0, claim_id=one.claim_id, progress=1)
                for one in world.fetch()
            ]
        world.call(results.update_jobs_v1(worker_id=world.worker_id, updates=updates))
        return [update.job_id for update in updates]

    async with heard(memory, "procrastinate_progress_v1") as following:
        ids = await asyncio.to_thread(update_all)

        assert (await following())["job_ids"] == ids[:300]
        assert (await following())["job_ids"] == ids[300:]


def test_what_is_emptied_forgets_options_and_results(
    world: World, memory: InMemoryConnector
) -> None:
    world.end(world.claim(ttl=0, key="k"))
    memory.reset()

    assert world.call(results.get_results_v1(job_ids=[1])) == []
    assert world.call(results.find_keys_v1(keys=["k"])) == {}


@pytest.fixture
def database(dsn: str) -> Iterator[World]:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
    connector.open()
    world = World(connector)
    world.worker_id = world.call(wire.register_worker_v2(name="w"))
    yield world
    connector.close()


def test_in_the_database_jitter_keeps_the_same_bounds(
    database: World, conn: psycopg.Connection
) -> None:
    policy = {"max_attempts": 2, "retry_delay": 10, "retry_backoff": 10, "retry_jitter": True}
    for _ in range(40):
        database.defer(**policy)
    before = database.call(front.now())
    for one in database.fetch(40):
        assert database.fail((one.job.id or 0, one.claim_id)) == "retried"
    after = database.call(front.now())

    dues: list[datetime.datetime] = [
        due for (due,) in conn.execute("select scheduled_at from procrastinate_jobs")
    ]

    assert len(dues) == 40
    assert min(dues) >= before
    assert max(dues) <= after + datetime.timedelta(seconds=10)
    half = before + datetime.timedelta(seconds=5)
    assert min(dues) < half < max(dues)  # else one in 10^12 runs
