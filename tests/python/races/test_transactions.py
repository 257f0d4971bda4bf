"""Transactions of users: of many statements, over many locks, with an old snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.races.scene import Scene

LOCK = "procrastinate_jobs_lock_idx_v1"


def test_a_bulk_cancel_of_many_locks_beside_fetch_and_finish_waits_without_deadlock(
    queue: Scene,
) -> None:
    many = 3000  # locks; more than one statement may take keys for
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l0", "l1"])
        held[:] = queue.claim(worker, 2)
        queue.stage.look(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            f" select 'a', 't', 'l' || n from generate_series(0, {many - 1}) as n"
        )
        queue.quiet()

    cancel = "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
    one = script.transaction("one", cancel)
    two = script.transaction("two", lambda: verbs.finish(worker, held))
    for order in (one[:2] + two[:2] + one[2:] + two[2:], two[:2] + one[:2] + two[2:] + one[2:]):
        setup()
        run = script.play(queue.stage, order)
        # it only tries the key for all locks; PQ007: it did not get it
        assert set(run.sqlstates()) <= {"PQ007"}, [
            s.error for s in run.statements if s.sqlstate
        ]
        if not run.sqlstates():
            assert queue.value("select count(*) from procrastinate_todo") == 0, run
        else:
            queue.stage.look(cancel)
        queue.ends_well(run)


def test_a_fetch_beside_a_bulk_cancel_of_many_locks_does_not_wait(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.stage.look(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            " select 'a', 't', 'l' || n % 2900 from generate_series(1, 3000) as n"
        )

    cancel = "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
    one, two = (
        script.transaction("one", cancel),
        script.transaction("two", lambda: verbs.fetch(worker, 5)),
    )
    for order in (one[:2] + two[:2] + one[2:] + two[2:], two[:2] + one[:2] + two[2:] + one[2:]):
        setup()
        run = script.play(queue.stage, order)
        assert two[1] not in run.waited, run
        assert set(run.sqlstates()) <= {"PQ007"}, [
            s.error for s in run.statements if s.sqlstate
        ]
        if run.sqlstates():
            queue.stage.look(cancel)
        queue.ends_well(run)


def test_transactions_that_take_two_locks_in_opposite_orders_may_deadlock_and_no_more(
    queue: Scene,
) -> None:
    """I9: of such a pair one may get 40P01; neither is stuck and nothing is lost."""
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "m"])
        held[:] = queue.claim(worker, 2)
        queue.defer(*["a"] * 4, locks=["l", "m", "l", "m"])
        queue.quiet()

    def cancel(place: int) -> Callable[[], str]:
        return lambda: verbs.cancel(queue.jobs[-4:][place])

    lists = [
        script.transaction("one", cancel(0), cancel(1)),
        script.transaction("two", cancel(3), cancel(2)),
    ]
    seen: set[str] = set()
    for run in script.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        states = run.sqlstates()
        seen.update(states)
        # 25P02: the steps after the deadlock's error, in the same transaction
        assert states.count("40P01") <= 1, run
        assert set(states) <= {"40P01", "25P02"}, run
        queue.stage.look(verbs.finish(worker, held))
        queue.ends_well(run)


def test_ends_and_cancels_of_one_statement_each_never_deadlock(queue: Scene) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "m"])
        held[:] = queue.claim(worker, 2)
        queue.defer(*["a"] * 4, locks=["m", "l", "l", "m"])
        queue.quiet()

    lists = [
        script.transaction("one", lambda: verbs.finish(worker, list(reversed(held)))),
        script.transaction(
            "two", "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
        ),
        script.alone(
            "three", "update procrastinate_jobs set priority = 3 where status = 'todo'"
        ),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], [s.error for s in run.statements if s.sqlstate]
        queue.ends_well(run)


def test_a_second_job_of_a_held_lock_is_refused_entry_into_doing(queue: Scene) -> None:
    queue.reset()
    worker = queue.worker()
    queue.defer("a", "a", locks=["l", "l"])
    queue.claim(worker)
    start = f"update procrastinate_jobs set status = 'doing' where id = {queue.jobs[1]}"
    statement = queue.stage.session("one").start(start)
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        statement.result()
    assert caught.value.diag.constraint_name == LOCK
    queue.ends_well()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_finish_with_an_old_snapshot_is_healed_by_the_sweep(queue: Scene, level: str) -> None:
    queue.reset()
    worker = queue.worker()
    queue.defer("a", locks=["l"])
    held = queue.claim(worker)
    one = queue.stage.session("one")
    one.run(f"begin isolation level {level}")
    one.run("select from procrastinate_jobs")
    (waiting,) = queue.defer("a", locks=["l"])
    queue.idle.react()  # parks it
    one.run(verbs.finish(worker, held))
    one.commit()
    queue.stage.look(verbs.SWEEP)
    queue.idle.react()
    assert queue.status(waiting) == "succeeded"
    queue.ends_well()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_fetch_with_an_old_snapshot_is_refused_with_the_way_out(
    queue: Scene, level: str
) -> None:
    worker = queue.worker()
    one = queue.stage.session("one")
    one.run(f"begin isolation level {level}")
    statement = one.start(verbs.fetch(worker))
    with pytest.raises(psycopg.Error) as caught:
        statement.result()
    assert caught.value.sqlstate == "PQ005"
    assert "default_transaction_isolation" in (caught.value.diag.message_hint or "")
    one.rollback()
