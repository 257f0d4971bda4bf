"""One queue, two packages: 3.10's worker and ours take jobs from the same tables (I8)."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import procrastinate
from tools import upstream

from .conftest import Fleet, OldHand

if TYPE_CHECKING:
    from procrastinate.types import JSONDict

OLD, NEW = upstream.VERSION, procrastinate.__version__
RAN = ["deferred", "started", "succeeded"]
#: 3.10 writes the date of a retry before the retry.
AGAIN = ["scheduled", "deferred_for_retry", "started"]


def empty(count: int) -> list[JSONDict]:
    """The arguments of so many jobs that take none."""
    return [{} for _ in range(count)]


async def test_each_attempt_of_each_job_runs_once_whichever_package_takes_it(
    fleet: Fleet, old_hand: OldHand
) -> None:
    expected = {
        "work": ("succeeded", 1, RAN),
        "stumble": ("succeeded", 3, [*RAN[:2], *AGAIN, *AGAIN, "succeeded"]),
        "fail": ("failed", 2, [*RAN[:2], *AGAIN, "failed"]),
    }
    for task in expected:
        for lock in (None, "a", "b", "c"):
            options: dict[str, Any] = {"lock": lock, "queue": "both"}
            old_hand.defer(task, *empty(6), **options, priority=1)
            await fleet.app.configure_task(task, **options).batch_defer_async(*empty(6))
    old_hand.defer("work", *empty(60))
    await fleet.old_worker(poll=0.1)
    await fleet.our_worker(fetch_job_polling_interval=0.1)
    await fleet.until(
        "select 1 where not exists"
        " (select from procrastinate_jobs where status in ('todo', 'doing'))"
    )

    for job in await fleet.app.job_manager.list_jobs_async():
        assert job.id is not None
        status, attempts, events = expected[job.task_name]
        assert (job.status, job.attempts, job.abort_requested) == (status, attempts, False)
        assert fleet.events(job.id) == events
        assert len(fleet.ran_at(job.id)) == attempts  # its key allows each attempt once
    overlaps = fleet.rows(
        "select a.job_id, b.job_id from fleet_runs a join fleet_runs b"
        " on a.lock = b.lock and (a.job_id, a.attempt) <> (b.job_id, b.attempt)"
        " and a.began between b.began and b.ended"
    )
    assert overlaps == []
    shares = collections.Counter(
        version for (version,) in fleet.rows("select version from fleet_runs")
    )
    assert set(shares) == {OLD, NEW}


async def test_a_job_of_either_wakes_the_worker_of_the_other(
    fleet: Fleet, old_hand: OldHand
) -> None:
    await fleet.old_worker(queues="old")
    await fleet.our_worker(queues=["new"])
    (to_ours,) = old_hand.defer("work", queue="new")
    to_theirs = await fleet.app.configure_task("work", queue="old").defer_async()
    await fleet.until_status(to_ours, "succeeded")
    await fleet.until_status(to_theirs, "succeeded")
    assert (fleet.ran_at(to_ours), fleet.ran_at(to_theirs)) == ([NEW], [OLD])
    assert fleet.events(to_ours) == fleet.events(to_theirs) == RAN


async def test_a_lock_that_one_gives_back_wakes_the_worker_of_the_other(
    fleet: Fleet, old_hand: OldHand
) -> None:
    await fleet.old_worker(queues="old")
    await fleet.our_worker(queues=["new"])
    chain: list[int] = []
    for queue in ("old", "new", "old", "new"):
        chain += old_hand.defer("sleep", {"seconds": 0.1}, queue=queue, lock="l")
    for job_id in chain:
        await fleet.until_status(job_id, "succeeded")
    assert [fleet.ran_at(job_id) for job_id in chain] == [[OLD], [NEW], [OLD], [NEW]]


async def test_either_aborts_what_runs_at_the_other(fleet: Fleet, old_hand: OldHand) -> None:
    await fleet.old_worker(queues="old")
    await fleet.our_worker(queues=["new"])
    manager = fleet.app.job_manager
    for task in ("sleep", "poll"):
        (ours,) = old_hand.defer(task, queue="new")
        (theirs,) = old_hand.defer(task, queue="old")
        await fleet.until_status(ours, "doing")
        await fleet.until_status(theirs, "doing")
        assert old_hand.manager("cancel_job_by_id", job_id=ours, abort=True) is True
        assert await manager.cancel_job_by_id_async(theirs, abort=True)
        await fleet.until_status(ours, "aborted")
        await fleet.until_status(theirs, "aborted")
        aborted = ["deferred", "started", "abort_requested", "aborted"]
        assert fleet.events(ours) == fleet.events(theirs) == aborted


async def test_either_cannot_defer_beside_a_queueing_lock_of_the_other(
    fleet: Fleet, old_hand: OldHand
) -> None:
    await fleet.app.configure_task("work", queueing_lock="ours").defer_async()
    taken = old_hand.say("defer", "work", {"queueing_lock": "ours"}, [{}])
    assert taken == {"error": "AlreadyEnqueued"}
    old_hand.defer("work", queueing_lock="theirs")
    try:
        await fleet.app.configure_task("work", queueing_lock="theirs").defer_async()
    except procrastinate.exceptions.AlreadyEnqueued:
        return
    raise AssertionError("it was deferred")


async def test_a_tick_is_deferred_once_though_both_have_the_periodic_task(
    fleet: Fleet,
) -> None:
    await fleet.old_worker(periodic=True)
    await fleet.our_worker(periodic=True)
    ticks = "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) > 3"
    await fleet.until(ticks)
    stamps = fleet.rows("select args ->> 'timestamp' from procrastinate_jobs")
    assert len(stamps) == len(set(stamps))
    (kept,) = fleet.rows("select count(*) from procrastinate_periodic_defers")
    assert kept == (1,)
