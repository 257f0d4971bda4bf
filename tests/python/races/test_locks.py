"""A fetch beside whatever changes the lock that holds its jobs back: no wake-up is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("status", ["succeeded", "failed", "aborted"])
def test_a_fetch_beside_the_finish_of_its_lock_s_holder_loses_no_wake_up(
    queue: Scene, end: str, status: str
) -> None:
    """The lost wake-up, both ways: the waiting job is parked before or after the release."""
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset()
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(workers[0])
        queue.defer("a", "a", locks=["l", "l"])
        queue.quiet()

    lists = [
        script.transaction("one", lambda: verbs.finish(workers[0], held, status), end=end),
        script.transaction("two", lambda: verbs.fetch(workers[1], 2)),
    ]
    for run in script.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert lists[1][1] not in run.waited, run
        assert run.sqlstates() == [], run
        queue.ends_well(run)
        assert queue.runs(queue.jobs), run


def test_an_end_that_waits_for_a_change_of_its_lock_releases_the_new_one(
    queue: Scene,
) -> None:
    """It released the new lock with the key of the old one: two jobs of the new one ran."""
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset()
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(workers[0])
        queue.defer("a", "a", "a", locks=["l", "m", "m"])
        queue.quiet()

    lists = [
        script.transaction(
            "one",
            lambda: f"update procrastinate_jobs set lock = 'm' where id = {held[0].job_id}",
        ),
        script.transaction("two", lambda: verbs.finish_and_fetch(workers[0], held, 5)),
        script.alone("three", lambda: verbs.fetch(workers[1], 5)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert lists[2][0] not in run.waited, run
        assert set(run.sqlstates()) <= {"23505"}, run  # the new lock is taken by then
        queue.ends_well(run)


CHANGES = [
    "select procrastinate_cancel_job({head})",
    "select procrastinate_cancel_job({head}, delete_job => true)",
    "select procrastinate_cancel_job({next})",
    "delete from procrastinate_jobs where id = {head}",
    "update procrastinate_jobs set status = 'cancelled' where status = 'todo'",
    "update procrastinate_jobs set priority = 10 where id = {next}",
    "update procrastinate_jobs set priority = -10 where id = {head}",
    "update procrastinate_jobs set lock = null where id = {head}",
    "update procrastinate_jobs set lock = 'm' where id = {next}",
    "update procrastinate_jobs set lock = 'm'",
    "update procrastinate_jobs set queue_name = 'b' where id = {head}",
    "update procrastinate_jobs set scheduled_at = now() + interval '1 day' where id = {head}",
    "select procrastinate_reschedule_job({head}, now() + interval '1 day')",
    (
        "insert into procrastinate_jobs (queue_name, task_name, lock, priority)"
        " values ('a', 't', 'l', 99)"
    ),
    (
        "insert into procrastinate_jobs (queue_name, task_name, lock, status)"
        " values ('a', 't', 'm', 'doing')"
    ),
    "select procrastinate_pause_queue('a')",
    "select procrastinate_prune_stalled_workers()",
    "select procrastinate_recover_stalled_jobs()",
    "select promoted from procrastinate_sweep_v1()",
]
# the change may be refused: two jobs of the lock are running by then, or the worker is pruned
REFUSED = {"update procrastinate_jobs set lock = 'm'": {"23505"}}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_fetch_beside_any_change_waits_for_nobody_and_loses_nothing(
    queue: Scene, end: str
) -> None:
    for text in CHANGES:
        beside_a_fetch(queue, text, end)


def beside_a_fetch(queue: Scene, text: str, end: str) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", "a", locks=["l", "l", None])
        queue.quiet()

    def change() -> str:
        return text.format(head=queue.jobs[0], next=queue.jobs[1])

    lists = [
        script.transaction("one", change, end=end),
        script.transaction("two", lambda: verbs.fetch(worker, 2)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert lists[1][1] not in run.waited, run
        assert set(run.sqlstates()) <= REFUSED.get(text, set()), (
            run,
            [s.error for s in run.statements if s.sqlstate],
        )
        queue.stage.look(verbs.resume("a"))
        in_the_end(queue, run)


def in_the_end(queue: Scene, run: script.Ran) -> None:
    """Also what was put off for a day has run."""
    queue.idle.woken = True
    queue.ends_well(run)
    for connection in (queue.idle.session.run, queue.stage.look):
        connection(verbs.set_clock("2100-01-01"))
    queue.idle.woken = True
    queue.ends_well(run)
    assert not queue.stage.look("select from procrastinate_todo"), run
    for connection in (queue.idle.session.run, queue.stage.look):
        connection(verbs.set_clock(None))
