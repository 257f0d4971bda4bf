"""What the calls about options and results do and return, on a real schema."""

from __future__ import annotations

import datetime
from typing import Any

import psycopg
import pytest

from procrastinate import SyncPsycopgConnector, exceptions, jobs
from procrastinate.rpc import defers, front, results, values, wire
from procrastinate.rpc.call import Written

ERROR: dict[str, Any] = {
    "class": "builtins.ValueError",
    "message": "no",
    "traceback": "t",
    "attempt": 1,
}


class World:
    """A worker, and jobs with options for it."""

    def __init__(self, connector: SyncPsycopgConnector) -> None:
        self.call = connector.call
        self.worker_id = self.call(wire.register_worker_v2(name="w"))

    def job(self, **options: Any) -> jobs.Job:
        return jobs.Job(
            queue="q",
            task_name="t",
            lock=None,
            queueing_lock=None,
            options=jobs.JobOptions(**options),
        )

    def claim(self, **options: Any) -> tuple[int, int]:
        (job_id,) = self.call(defers.defer_jobs_v3(new_jobs=[self.job(**options)]))
        exchange = self.call(wire.fetch_jobs_v1(worker_id=self.worker_id, queues=None, limit=1))
        (claimed,) = exchange.claimed
        assert claimed.job.id == job_id
        return job_id, claimed.claim_id

    def end(self, *ends: wire.End, limit: int = 0) -> values.Exchange:
        return self.call(
            results.finish_and_fetch_v2(
                worker_id=self.worker_id, queues=None, limit=limit, marks=None, ends=ends
            )
        )


@pytest.fixture
def world(connector: SyncPsycopgConnector) -> World:
    return World(connector)


def test_a_claimed_job_has_its_options_and_one_without_has_none(world: World) -> None:
    given = [world.job(timeout=1.5, ttl=0, max_attempts=3, key="k"), world.job()]
    world.call(defers.defer_jobs_v3(new_jobs=given))

    exchange = world.end(limit=2)

    assert [one.job.options for one in exchange.claimed] == [given[0].options, None]


def test_one_job_is_deferred_with_options_by_name(world: World) -> None:
    options = jobs.JobOptions(
        timeout=1,
        heartbeat=2,
        ttl=-1,
        max_attempts=4,
        retry_delay=5,
        retry_backoff=6.5,
        retry_delay_cap=7,
        retry_jitter=False,
        key="k",
        group_key="g",
        keep_result=False,
    )
    world.call(front.defer_job(queue_name="q", task_name="t", options=options))

    (claimed,) = world.end(limit=1).claimed

    assert claimed.job.options == options


def test_the_two_forms_of_one_call_are_two_statements(dsn: str) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
    connector.open()
    try:
        for options in (None, jobs.JobOptions(ttl=0), None):
            call = front.defer_job(queue_name="q", task_name="t", options=options)
            assert connector.call(call)
    finally:
        connector.close()


def test_results_are_told_of_jobs_that_exist_or_have_left_one(world: World) -> None:
    none, null = world.claim(), world.claim(ttl=0)
    failed, gone = world.claim(ttl=60), world.claim(ttl=0, keep_result=True)
    waiting = world.call(
        defers.defer_periodic_job_v4(
            job=world.job(ttl=0, meta={"m": 1}), periodic_id="p", defer_timestamp=1
        )
    )
    assert waiting is not None
    world.end(
        wire.End(*none, "succeeded", result=Written("1")),
        wire.End(*null, "succeeded", result=Written("null")),
        wire.End(*failed, "failed", error=ERROR),
        wire.End(*gone, "succeeded", delete=True, result=Written('{"a": 2}')),
    )
    ids = [none[0], null[0], failed[0], gone[0], waiting, 10**9]

    found = {one.job_id: one for one in world.call(results.get_results_v1(job_ids=ids))}

    assert list(found) == ids[:-1]
    told = [(one.status, one.attempts, one.keeps, one.stored) for one in found.values()]
    assert told == [
        ("succeeded", 1, False, False),
        ("succeeded", 1, True, True),
        ("failed", 1, True, True),
        ("succeeded", None, True, True),
        ("todo", 0, True, False),
    ]
    assert [one.result for one in found.values()] == [None, None, None, {"a": 2}, None]
    assert found[failed[0]].error == values.ErrorRecord.from_json(ERROR)
    assert found[waiting].meta == {"m": 1}
    left = found[failed[0]]
    assert left.updated_at is not None
    assert left.expires_at == left.updated_at + datetime.timedelta(seconds=60)


def test_one_result_is_asked_for_by_the_front_door(world: World) -> None:
    job_id, claim_id = world.claim(ttl=0)
    world.end(wire.End(job_id, claim_id, "succeeded", result=Written("[1]")))

    report = world.call(front.get_result(job_id=job_id))
    watch = world.call(front.watch_job(job_id=job_id))

    assert (report.job_id, report.status, report.result) == (job_id, "succeeded", [1])
    assert report.stored
    assert watch == values.Watch(
        channel="procrastinate_ended_v1", status="succeeded", over=True
    )
    for call in (front.get_result(job_id=10**9), front.watch_job(job_id=10**9)):
        with pytest.raises(exceptions.JobNotFound):
            world.call(call)


def test_a_result_that_is_too_large_fails_its_job(world: World) -> None:
    job_id, claim_id = world.claim(ttl=0)

    text = Written(f'"{"x" * 1100000}"')
    stray = world.end(wire.End(job_id, claim_id + 1, "succeeded", result=text))
    exchange = world.end(wire.End(job_id, claim_id, "succeeded", result=text))

    assert (stray.too_large, exchange.too_large) == ([], [job_id])
    report = world.call(front.get_result(job_id=job_id))
    assert (report.status, report.result) == ("failed", None)
    assert report.error is not None
    assert report.error.cls == "procrastinate.exceptions.ResultTooLarge"


def test_a_failed_run_is_tried_again_as_its_options_say(world: World) -> None:
    first, last = world.claim(max_attempts=2), world.claim(max_attempts=1)
    ends = [
        wire.End(*first, "failed", error=ERROR),
        wire.End(*last, "failed"),
        wire.End(10**9, 1, "failed"),
    ]

    outcomes = world.call(results.fail_jobs_v1(worker_id=world.worker_id, ends=ends))

    assert [(one.outcome, one.status) for one in outcomes] == [
        ("retried", "todo"),
        ("failed", "failed"),
        ("not_held", None),
    ]


def test_a_retry_keeps_what_the_run_raised(world: World, conn: psycopg.Connection) -> None:
    claims = [world.claim() for _ in range(3)]
    retries = [
        wire.Retry(job_id=job_id, claim_id=claim_id, retry_at=None, error=error)
        for (job_id, claim_id), error in zip(
            claims, (None, ERROR, {**ERROR, "attempt": 2}), strict=True
        )
    ]

    world.call(results.retry_jobs_v2(worker_id=world.worker_id, retries=retries))

    rows = conn.execute(
        "select details ->> 'attempt', error from procrastinate_events "
        "where type = 'deferred_for_retry' order by job_id"
    ).fetchall()
    assert rows == [(None, None), ("1", "ValueError: no"), ("2", "ValueError: no")]


def test_what_a_running_job_tells_is_kept_until_told_anew(world: World) -> None:
    job_id, claim_id = world.claim()

    def update(claim_id: int, **told: Any) -> dict[int, str]:
        one = results.Update(job_id=job_id, claim_id=claim_id, **told)
        return world.call(results.update_jobs_v1(worker_id=world.worker_id, updates=[one]))

    assert update(claim_id, progress=0.5, meta={"m": 1}) == {job_id: "updated"}
    assert update(claim_id) == {job_id: "updated"}
    assert update(claim_id + 1, progress=1) == {job_id: "not_held"}
    report = world.call(front.get_result(job_id=job_id))
    assert (report.progress, report.meta) == (0.5, {"m": 1})


def test_a_run_past_its_time_is_ended_when_its_worker_is_gone(world: World) -> None:
    job_id, _ = world.claim(timeout=0.001, max_attempts=2)
    world.call(wire.unregister_worker_v2(worker_id=world.worker_id))

    outcomes = world.call(results.expire_jobs_v1(older_than=datetime.timedelta()))

    assert [(one.job_id, one.outcome) for one in outcomes] == [(job_id, "retried")]


def test_whoever_waits_says_so(world: World) -> None:
    until, again = (world.call(results.announce_ends_v1()) for _ in range(2))
    assert until is not None
    assert again is not None
    assert until <= again


def test_keys_lead_to_their_newest_jobs(world: World) -> None:
    old = world.claim(key="k")
    world.end(wire.End(*old, "failed"))
    new = world.claim(key="k")

    tried = world.call(
        defers.try_defer_jobs_v2(new_jobs=[world.job(key="k"), world.job(key="free")])
    )

    assert world.call(results.find_keys_v1(keys=["k", "none"])) == {"k": new[0]}
    assert tried[0] == values.TriedDefer(
        ordinal=1, job_id=None, conflict="k", reason="key", other_job_id=new[0]
    )
    assert (tried[1].job_id is None, tried[1].reason) == (False, None)
