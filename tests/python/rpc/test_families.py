"""What each call does and returns, on a real schema."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from procrastinate import SyncPsycopgConnector, exceptions, jobs, types
from procrastinate.rpc import defers, front, listing, old_wire, schema_free, values, wire

NOW = datetime.datetime.now(tz=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
AGO = datetime.timedelta(0)


def a_job(**options: Any) -> jobs.Job:
    defaults: dict[str, Any] = {
        "queue": "q",
        "task_name": "t",
        "lock": None,
        "queueing_lock": None,
    }
    return jobs.Job(**{**defaults, **options})


def to_defer(**options: Any) -> types.JobToDefer:
    fields: dict[str, Any] = {
        "queue_name": "q",
        "task_name": "t",
        "priority": 0,
        "lock": None,
        "queueing_lock": None,
        "args": {},
        "scheduled_at": None,
        **options,
    }
    return types.JobToDefer(**fields)


class World:
    """A worker, and jobs for it."""

    def __init__(self, connector: SyncPsycopgConnector) -> None:
        self.call = connector.call
        self.worker_id = self.call(wire.register_worker_v2(name="w"))

    def defer(self, **options: Any) -> int:
        (job_id,) = self.call(defers.defer_jobs_v2(new_jobs=[a_job(**options)]))
        return job_id

    def fetch(self, limit: int = 10, queues: list[str] | None = None) -> values.Exchange:
        return self.call(
            wire.fetch_jobs_v1(worker_id=self.worker_id, queues=queues, limit=limit)
        )

    def claim(self, **options: Any) -> values.ClaimedJob:
        self.defer(**options)
        (claimed,) = self.fetch().claimed
        return claimed

    def status(self, job_id: int | None) -> str:
        assert job_id is not None
        return self.call(listing.get_job_status(job_id=job_id))

    def job(self, job_id: int | None) -> jobs.Job:
        (job,) = self.call(listing.list_jobs(id=job_id))
        return job


@pytest.fixture
def world(connector: SyncPsycopgConnector) -> World:
    return World(connector)


def end(claimed: values.ClaimedJob, status: str = "succeeded", **options: Any) -> wire.End:
    assert claimed.job.id is not None
    return wire.End(job_id=claimed.job.id, claim_id=claimed.claim_id, status=status, **options)


# The wire


def test_deferred_jobs_come_back_as_they_went_in(world: World) -> None:
    later = NOW + HOUR
    given = [
        a_job(priority=3, lock="l", queueing_lock="ql", task_kwargs={"a": [1, None]}),
        a_job(queue="other", scheduled_at=later),
    ]

    ids = world.call(defers.defer_jobs_v2(new_jobs=given))

    expected = [
        job.evolve(id=job_id, status="todo") for job, job_id in zip(given, ids, strict=True)
    ]
    assert world.call(listing.list_jobs()) == expected


def test_a_taken_queueing_lock_is_a_unique_violation_with_its_name(world: World) -> None:
    world.defer(queueing_lock="ql")

    with pytest.raises(exceptions.UniqueViolation) as caught:
        world.defer(queueing_lock="ql")

    assert caught.value.constraint_name == "procrastinate_jobs_queueing_lock_idx_v1"
    assert caught.value.queueing_lock == "ql"


def test_a_name_that_is_too_long_is_refused_in_our_words(world: World) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="queue name"):
        world.defer(queue="q" * 200)


def test_a_defer_of_many_reports_each_job_or_its_conflict(world: World) -> None:
    tried = world.call(
        defers.try_defer_jobs_v1(
            new_jobs=[a_job(queueing_lock="ql"), a_job(queueing_lock="ql"), a_job()]
        )
    )

    assert [(one.ordinal, one.conflict) for one in tried] == [(1, None), (2, "ql"), (3, None)]
    assert [one.job_id is None for one in tried] == [False, True, False]


def test_a_fetch_claims_by_priority_with_all_that_running_needs(world: World) -> None:
    world.defer(task_kwargs={"a": 1})
    urgent = world.defer(priority=1, lock="l", queueing_lock="ql")
    world.defer(scheduled_at=datetime.datetime.now(tz=datetime.UTC) + HOUR)

    exchange = world.fetch()

    first, second = exchange.claimed
    assert first.job == jobs.Job(
        id=urgent,
        status="doing",
        queue="q",
        priority=1,
        lock="l",
        queueing_lock="ql",
        task_name="t",
        worker_id=world.worker_id,
    )
    assert second.job.task_kwargs == {"a": 1}
    assert first.claim_id != second.claim_id
    assert exchange.next_due_in is not None
    assert 3500 < exchange.next_due_in <= 3600
    assert not exchange.contended
    assert not exchange.more
    assert exchange.not_held == []


def test_a_fetch_claims_no_more_than_asked_for_and_of_its_queues_only(world: World) -> None:
    world.defer(queue="a")
    world.defer(queue="a")
    world.defer(queue="b")

    assert [c.job.queue for c in world.fetch(1, ["a"]).claimed] == ["a"]
    assert [c.job.queue for c in world.fetch(10, ["b"]).claimed] == ["b"]
    assert world.fetch(10, []).claimed == []


def test_marks_are_taken_back(world: World) -> None:
    for _ in range(3):
        world.defer()
    marks = world.fetch(1).marks

    exchange = world.call(
        wire.fetch_jobs_v1(worker_id=world.worker_id, queues=None, limit=10, marks=marks)
    )

    assert len(exchange.claimed) == 2


def test_one_exchange_reports_and_claims(world: World) -> None:
    claimed = world.claim()
    doomed = world.claim()
    waiting = world.defer()

    exchange = world.call(
        wire.finish_and_fetch_v1(
            worker_id=world.worker_id,
            queues=None,
            limit=1,
            marks=None,
            ends=[end(claimed), end(doomed, "failed", delete=True)],
        )
    )

    assert [c.job.id for c in exchange.claimed] == [waiting]
    assert exchange.not_held == []
    assert world.job(claimed.job.id).attempts == 1
    assert world.status(claimed.job.id) == "succeeded"
    assert world.call(listing.list_jobs(id=doomed.job.id)) == []


def test_an_end_of_a_claim_that_is_not_held_changes_nothing(world: World) -> None:
    claimed = world.claim()
    world.call(wire.finish_jobs_v1(worker_id=world.worker_id, ends=[end(claimed, "failed")]))

    exchange = world.call(
        wire.finish_and_fetch_v1(
            worker_id=world.worker_id, queues=None, limit=0, marks=None, ends=[end(claimed)]
        )
    )

    (refused,) = exchange.not_held
    assert (refused.job_id, refused.status) == (claimed.job.id, "failed")
    assert world.status(claimed.job.id) == "failed"


def test_finishing_tells_the_outcome_of_each(world: World) -> None:
    claimed = world.claim()
    stranger = wire.End(job_id=10**9, claim_id=1, status="succeeded")

    outcomes = world.call(
        wire.finish_jobs_v1(worker_id=world.worker_id, ends=[end(claimed, "aborted"), stranger])
    )

    assert {(o.job_id, o.outcome, o.status) for o in outcomes} == {
        (claimed.job.id, "finished", "aborted"),
        (10**9, "not_held", None),
    }


def test_a_worker_whose_row_is_gone_claims_nothing(world: World) -> None:
    world.defer()
    assert world.call(wire.unregister_worker_v2(worker_id=world.worker_id)) is True
    assert world.call(wire.unregister_worker_v2(worker_id=world.worker_id)) is False

    with pytest.raises(exceptions.WorkerNotRegistered):
        world.fetch()
    with pytest.raises(exceptions.WorkerNotRegistered):
        world.call(wire.heartbeat_v1(worker_id=world.worker_id))


def test_a_retry_changes_what_it_gives_and_keeps_the_rest(world: World) -> None:
    claimed = world.claim(priority=2, lock="l")
    assert claimed.job.id is not None
    later = NOW + HOUR

    (outcome,) = world.call(
        wire.retry_jobs_v1(
            worker_id=world.worker_id,
            retries=[
                wire.Retry(
                    job_id=claimed.job.id,
                    claim_id=claimed.claim_id,
                    retry_at=later,
                    priority=7,
                    queue="slow",
                )
            ],
        )
    )

    assert (outcome.outcome, outcome.status) == ("retried", "todo")
    job = world.job(claimed.job.id)
    assert (job.queue, job.priority, job.lock, job.attempts) == ("slow", 7, "l", 1)
    assert job.scheduled_at == later


def test_a_release_counts_no_attempt(world: World) -> None:
    claimed = world.claim()
    assert claimed.job.id is not None
    claim = (claimed.job.id, claimed.claim_id)

    (outcome,) = world.call(wire.release_jobs_v1(worker_id=world.worker_id, claims=[claim]))
    (again,) = world.call(wire.release_jobs_v1(worker_id=world.worker_id, claims=[claim]))

    assert (outcome.outcome, again.outcome) == ("released", "not_held")
    assert world.job(claimed.job.id).attempts == 0


def test_a_heartbeat_lists_what_is_held_and_to_be_aborted(world: World) -> None:
    first, second = world.claim(), world.claim()
    world.call(old_wire.cancel_job_v1(job_id=second.job.id or 0, abort=True, delete=False))

    held = world.call(wire.heartbeat_v2(worker_id=world.worker_id))

    assert [(h.job_id, h.claim_id, h.abort_requested) for h in held] == [
        (first.job.id, first.claim_id, False),
        (second.job.id, second.claim_id, True),
    ]
    assert world.call(wire.heartbeat_v1(worker_id=world.worker_id)) == held
    assert world.call(wire.list_jobs_to_abort_v2(worker_id=world.worker_id)) == [second.job.id]
    assert world.call(wire.list_jobs_to_abort_v1(worker_id=world.worker_id)) == [second.job.id]


@pytest.mark.parametrize(
    ("named", "held"), [([], []), ([0], [0]), ([1, 9, 1], [1]), ([1, 0], [0, 1])]
)
def test_a_worker_asks_for_the_jobs_that_it_names(
    world: World, named: list[int], held: list[int]
) -> None:
    jobs = [world.claim().job.id or 0 for _ in range(2)]
    for job_id in jobs:
        world.call(old_wire.cancel_job_v1(job_id=job_id, abort=True, delete=False))
    elsewhere = 10_000
    asked = [jobs[number] if number < len(jobs) else elsewhere for number in named]

    beat = world.call(wire.heartbeat_v2(worker_id=world.worker_id, job_ids=asked))
    told = world.call(wire.list_jobs_to_abort_v2(worker_id=world.worker_id, job_ids=asked))

    assert [job.job_id for job in beat] == told == [jobs[number] for number in held]


def test_a_worker_says_that_it_is_quiet_and_asks_who_writes(world: World) -> None:
    world.call(wire.set_quiet_v1(worker_id=world.worker_id, quiet=True))
    world.call(wire.set_quiet_v1(worker_id=world.worker_id, quiet=False))
    assert world.call(wire.list_writers_v1()) == frozenset()

    world.call(wire.unregister_worker_v2(worker_id=world.worker_id))
    with pytest.raises(exceptions.WorkerNotRegistered):
        world.call(wire.set_quiet_v1(worker_id=world.worker_id, quiet=True))


def test_pruned_workers_are_named(world: World) -> None:
    assert world.call(wire.prune_workers_v1(older_than=HOUR)) == []
    assert world.call(wire.prune_workers_v1(older_than=AGO)) == [world.worker_id]


def test_a_recovery_says_what_became_of_each_job(world: World) -> None:
    again, never, left = (world.claim(task_name=name) for name in ("again", "never", "left"))

    def recover() -> set[tuple[int, str, str | None]]:
        call = wire.recover_jobs_v1(older_than=AGO, max_attempts={"again": None, "never": 0})
        return {(o.job_id, o.outcome, o.status) for o in world.call(call)}

    assert recover() == {
        (again.job.id, "retried", "todo"),
        (never.job.id, "failed", "failed"),
    }
    assert recover() == set()
    assert world.job(left.job.id or 0).status == "doing"


def test_a_sweep_of_a_sound_schema_finds_nothing(world: World) -> None:
    assert world.call(wire.sweep_v1()) == values.Sweep(promoted=0, unlinked=0)


def test_a_tick_is_deferred_once(world: World) -> None:
    def defer() -> int | None:
        return world.call(
            defers.defer_periodic_job_v3(
                job=a_job(task_kwargs={"timestamp": 5}), periodic_id="p", defer_timestamp=5
            )
        )

    first, second = defer(), defer()

    assert world.job(first).task_kwargs == {"timestamp": 5}
    assert second is None


def test_channels_are_those_of_the_queues(world: World) -> None:
    assert world.call(wire.channels_v1(queues=None)) == ["procrastinate_any_queue_v1"]
    short, long = sorted(world.call(wire.channels_v1(queues=["a", "q" * 100])), key=len)
    assert short == "procrastinate_queue_v1#a"
    assert len(long) <= 63


# The front door


def test_the_front_door_defers(world: World) -> None:
    later = NOW + HOUR
    one = world.call(
        front.defer_job(
            queue_name="q",
            task_name="t",
            priority=2,
            lock="l",
            queueing_lock="ql",
            args={"a": 1},
            scheduled_at=later,
        )
    )
    two, three = world.call(front.defer_jobs(new_jobs=[to_defer(), to_defer(lock="m")]))

    assert world.job(one) == jobs.Job(
        id=one,
        status="todo",
        queue="q",
        priority=2,
        lock="l",
        queueing_lock="ql",
        task_name="t",
        task_kwargs={"a": 1},
        scheduled_at=later,
    )
    assert [world.job(two).lock, world.job(three).lock] == [None, "m"]


def test_the_front_door_cancels_and_aborts(world: World) -> None:
    claimed = world.claim()
    kept, deleted, aborted = world.defer(), world.defer(), world.defer()
    running = claimed.job.id or 0

    assert world.call(front.cancel_job(job_id=kept)) is True
    assert world.call(front.cancel_job(job_id=deleted, delete_job=True)) is True
    assert world.call(front.abort_job(job_id=aborted)) is True
    assert world.call(front.cancel_job(job_id=running)) is False
    assert world.call(front.cancel_job(job_id=running, abort=True)) is True
    assert world.call(front.cancel_job(job_id=10**9)) is False
    assert world.status(kept) == world.status(aborted) == "cancelled"
    assert world.call(listing.list_jobs(id=deleted)) == []
    assert world.job(running).abort_requested


def test_the_front_door_retries_and_reschedules(world: World) -> None:
    claimed = world.claim()
    job_id = claimed.job.id or 0
    world.call(wire.finish_jobs_v1(worker_id=world.worker_id, ends=[end(claimed, "failed")]))

    assert world.call(front.retry_job(job_id=job_id, priority=4)) is True
    assert world.call(front.retry_job(job_id=job_id)) is False
    assert world.call(front.reschedule_job(job_id=job_id, scheduled_at=NOW + HOUR)) is True
    assert world.job(job_id).scheduled_at == NOW + HOUR
    assert world.job(job_id).priority == 4
    with pytest.raises(exceptions.JobNotFound):
        world.call(front.retry_job(job_id=10**9))


def test_a_paused_queue_is_not_fetched_from(world: World) -> None:
    world.defer()
    world.call(front.pause_queue(queue_name="q", reason="lunch"))
    assert world.fetch().claimed == []

    world.call(front.resume_queue(queue_name="q"))
    assert len(world.fetch().claimed) == 1


def test_the_front_door_keeps_house(world: World) -> None:
    done, stalled = world.claim(), world.claim()
    world.call(wire.finish_jobs_v1(worker_id=world.worker_id, ends=[end(done)]))

    assert world.call(front.purge_jobs(older_than=HOUR)) == 0
    assert world.call(front.purge_jobs(older_than=AGO, statuses=[jobs.Status.FAILED])) == 0
    assert world.call(front.purge_jobs(older_than=AGO)) == 1
    assert world.call(front.recover_stalled_jobs()) == []
    assert world.call(front.prune_stalled_workers(older_than=AGO)) == [world.worker_id]
    assert world.call(front.recover_stalled_jobs()) == [stalled.job.id]
    assert world.job(stalled.job.id).attempts == 1


def test_the_front_door_explains_and_checks(world: World) -> None:
    job_id = world.defer(scheduled_at=NOW + HOUR)

    gates = world.call(front.explain_job(job_id=job_id))

    assert any(gate.gate == "schedule" and not gate.is_open for gate in gates)
    assert world.call(front.check()) == []
    assert world.call(front.repair()) == 0
    assert world.call(front.version())
    assert abs(world.call(front.now()) - datetime.datetime.now(tz=datetime.UTC)) < HOUR


# The old wire


def test_the_old_wire_runs_a_job(world: World) -> None:
    (job_id,) = world.call(old_wire.defer_jobs_v1(new_jobs=[to_defer(args={"a": 1})]))
    worker_id = world.call(old_wire.register_worker_v1())

    job = world.call(old_wire.fetch_job_v2(queues=["q"], worker_id=worker_id))
    assert job is not None
    assert (job.id, job.status, job.task_kwargs) == (job_id, "doing", {"a": 1})
    assert job.worker_id == worker_id
    assert world.call(old_wire.fetch_job_v2(queues=None, worker_id=worker_id)) is None
    world.call(old_wire.retry_job_v1(job_id=job_id, retry_at=NOW - HOUR))
    assert world.call(old_wire.fetch_job_v2(queues=None, worker_id=worker_id)) is not None
    world.call(old_wire.finish_job_v1(job_id=job_id, status="failed", delete=False))
    assert world.status(job_id) == "failed"
    world.call(
        old_wire.retry_job_v2(job_id=job_id, retry_at=NOW, priority=5, queue="other", lock="l")
    )
    job = world.job(job_id)
    assert (job.status, job.priority, job.queue, job.lock) == ("todo", 5, "other", "l")
    assert world.call(old_wire.cancel_job_v1(job_id=job_id, abort=False, delete=True)) == job_id
    assert world.call(old_wire.cancel_job_v1(job_id=job_id, abort=True, delete=True)) is None
    world.call(old_wire.update_heartbeat_v1(worker_id=worker_id))
    world.call(old_wire.unregister_worker_v1(worker_id=worker_id))
    assert world.call(old_wire.prune_stalled_workers_v1(seconds_since_heartbeat=0.0)) == [
        world.worker_id
    ]


def test_the_old_wire_defers_a_tick_once(world: World) -> None:
    def defer() -> int | None:
        return world.call(
            old_wire.defer_periodic_job_v2(
                job=a_job(lock="l", priority=3), periodic_id="p", defer_timestamp=5
            )
        )

    job_id = defer()

    assert (world.job(job_id).lock, world.job(job_id).priority) == ("l", 3)
    assert defer() is None


# Without a schema


def test_the_jobs_table_is_looked_for(empty_dsn: str, connector: SyncPsycopgConnector) -> None:
    empty = SyncPsycopgConnector(conninfo=empty_dsn, min_size=1)
    empty.open()
    try:
        assert empty.call(schema_free.has_jobs_table()) is False
    finally:
        empty.close()
    assert connector.call(schema_free.has_jobs_table()) is True


@pytest.mark.parametrize(
    ("row", "is_at_rest"),
    [
        ((7, True, "idle"), True),
        ((7, True, "idle in transaction (aborted)"), True),
        ((7, True, "active"), False),
        ((7, True, None), False),  # it may not be seen
        ((7, False, None), True),  # it is gone
        ((8, False, None), False),  # a pooler makes the numbers up
    ],
)
def test_what_a_process_does(row: tuple[int, bool, str | None], *, is_at_rest: bool) -> None:
    assert schema_free.is_process_at_rest(1, asking=7).decode([row]) is is_at_rest
