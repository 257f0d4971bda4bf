"""What jobs may ask for, in memory: results, times, policies, progress, keys, groups."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import psycopg
import pytest

from procrastinate import SyncPsycopgConnector, exceptions, jobs
from procrastinate.connector import BaseConnector
from procrastinate.connectors.memory import results as memory_results
from procrastinate.connectors.memory import wishes
from procrastinate.rpc import defers, front, results, values, wire
from procrastinate.rpc.call import Written
from procrastinate.testing import InMemoryConnector

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
PATIENCE = 20.0  # seconds, for what takes milliseconds
ERROR: dict[str, Any] = {
    "class": "builtins.ValueError",
    "message": "no",
    "traceback": "t",
    "attempt": 1,
}


@attrs.define
class World:
    """A queue with a clock and a worker."""

    connector: BaseConnector
    now: datetime.datetime = NOON
    worker_id: int = 0

    def call(self, call: Any) -> Any:
        return self.connector.call(call)

    def job(self, **options: Any) -> jobs.Job:
        fields: dict[str, Any] = {"queue": "q", "task_name": "t", "lock": None}
        fields |= {
            name: options.pop(name)
            for name in ("queue", "lock", "scheduled_at", "priority")
            if name in options
        }
        return jobs.Job(**fields, queueing_lock=None, options=jobs.JobOptions(**options))

    def defer(self, **options: Any) -> int:
        (job_id,) = self.call(defers.defer_jobs_v3(new_jobs=[self.job(**options)]))
        return int(job_id)

    def fetch(self, limit: int = 10) -> list[values.ClaimedJob]:
        exchange = self.call(
            wire.fetch_jobs_v1(worker_id=self.worker_id, queues=None, limit=limit)
        )
        return list(exchange.claimed)

    def claim(self, **options: Any) -> tuple[int, int]:
        self.defer(**options)
        (claimed,) = self.fetch()
        return claimed.job.id or 0, claimed.claim_id

    def end(self, claim: tuple[int, int], **more: Any) -> values.Exchange:
        fields: dict[str, Any] = {"status": "succeeded", **more}
        end = wire.End(*claim, **fields)
        exchange: values.Exchange = self.call(
            results.finish_and_fetch_v2(
                worker_id=self.worker_id, queues=None, limit=0, marks=None, ends=[end]
            )
        )
        return exchange

    def fail(self, claim: tuple[int, int], error: Any = None) -> str:
        end = wire.End(*claim, "failed", error=error)
        (outcome,) = self.call(results.fail_jobs_v1(worker_id=self.worker_id, ends=[end]))
        return str(outcome.outcome)

    def report(self, job_id: int) -> values.JobReport | None:
        reports = self.call(results.get_results_v1(job_ids=[job_id]))
        return reports[0] if reports else None

    def later(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)


@pytest.fixture
def memory() -> InMemoryConnector:
    return InMemoryConnector()


@pytest.fixture
def world(memory: InMemoryConnector) -> World:
    world = World(memory)
    memory.clock = lambda: world.now
    world.worker_id = world.call(wire.register_worker_v2(name="w"))
    return world


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

    world.call(wire.heartbeat_v1(worker_id=world.worker_id))
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


@pytest.mark.parametrize("ended", [False, True])
def test_a_key_is_taken_while_its_job_waits_or_runs(world: World, ended: bool) -> None:
    claim = world.claim(key="k")
    if ended:
        world.end(claim)
        assert world.call(results.find_keys_v1(keys=["k", "none"])) == {"k": claim[0]}
        again = world.defer(key="k")
        assert world.call(results.find_keys_v1(keys=["k"])) == {"k": again}
        return

    with pytest.raises(exceptions.UniqueViolation) as caught:
        world.defer(key="k")

    assert caught.value.constraint_name == "procrastinate_keys_pkey"
    assert (caught.value.key, caught.value.queueing_lock) == ("k", None)


def test_of_many_that_are_tried_each_is_told_who_is_in_its_way(world: World) -> None:
    holder = world.defer(key="k")
    tried = world.call(
        defers.try_defer_jobs_v2(new_jobs=[world.job(key=key) for key in ("k", "j", "j", None)])
    )

    found = [(one.ordinal, one.conflict, one.reason, one.other_job_id) for one in tried]
    assert found == [
        (1, "k", "key", holder),
        (2, None, None, None),
        (3, "j", "key", tried[1].job_id),
        (4, None, None, None),
    ]


def test_one_job_of_a_group_runs_and_others_are_not_held_up(world: World) -> None:
    world.defer(group_key="g")
    world.defer(group_key="g")
    free = world.defer()
    elsewhere = world.defer(group_key="g", queue="r")

    assert [one.job.id for one in world.fetch()] == [1, free, elsewhere]
    assert world.fetch() == []


def test_a_delayed_job_of_a_group_does_not_hold_back_the_others(world: World) -> None:
    delayed = world.defer(group_key="g", scheduled_at=NOON + datetime.timedelta(seconds=9))
    ready = world.defer(group_key="g")

    (claimed,) = world.fetch()
    exchange = world.end((ready, claimed.claim_id))
    world.later(9)

    assert claimed.job.id == ready
    assert exchange.next_due_in is None  # it asked for none
    assert [one.job.id for one in world.fetch()] == [delayed]


def test_the_lock_of_a_delayed_job_of_a_group_is_explained(world: World) -> None:
    job_id = world.defer(group_key="g", scheduled_at=NOON + datetime.timedelta(seconds=9))

    gates = {gate.gate: gate for gate in world.call(front.explain_job(job_id=job_id))}

    assert (gates["lock"].is_open, gates["schedule"].is_open) == (True, False)
    assert gates["lock"].detail == (
        'Nobody holds the lock group ["q", "g"], and no job comes first for it.'
    )


def test_a_job_behind_a_held_lock_is_no_alarm(world: World) -> None:
    later = NOON + datetime.timedelta(seconds=9)
    world.claim(lock="l")
    world.defer(lock="l", scheduled_at=later)

    def due() -> float | None:
        fetch = wire.fetch_jobs_v1(worker_id=world.worker_id, queues=None, limit=1)
        exchange: values.Exchange = world.call(fetch)
        return exchange.next_due_in

    assert due() is None
    world.defer(group_key="g", scheduled_at=later)
    assert due() == 9


def test_a_group_is_a_lock_that_the_queue_names(world: World) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="a lock and a group"):
        world.defer(group_key="g", lock="l")


def test_a_job_that_moves_to_another_queue_joins_the_group_there(
    world: World, memory: InMemoryConnector
) -> None:
    job_id, claim_id = world.claim(group_key="g")
    retry = wire.Retry(job_id=job_id, claim_id=claim_id, retry_at=None, queue="r", error=ERROR)
    world.call(results.retry_jobs_v2(worker_id=world.worker_id, retries=[retry]))

    assert memory.jobs[job_id]["lock"] == 'group ["r", "g"]'
    assert memory.events[job_id][-1]["details"] == ERROR


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
