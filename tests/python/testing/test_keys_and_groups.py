"""Keys, groups and the locks of groups, in memory."""

from __future__ import annotations

import datetime

import pytest

from procrastinate import exceptions
from procrastinate.rpc import defers, front, results, values, wire
from procrastinate.testing import InMemoryConnector
from tests.python.testing.world import ERROR, NOON, World


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
