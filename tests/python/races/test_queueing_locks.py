"""A queueing lock has one waiting job, whoever asks for it at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene

QUEUEING = "procrastinate_jobs_queueing_lock_idx_v1"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_defers_with_one_queueing_lock_one_waits_and_only_one_wins(
    queue: Scene, end: str
) -> None:
    defer = verbs.defer("a", queueing_locks=["q"])
    lists = [script.transaction("one", defer, end=end), script.transaction("two", defer)]
    for run in script.permutations(queue.stage, *lists, setup=queue.reset):
        first, second = run.of(lists[0][1]), run.of(lists[1][1])
        errors = [s for s in (first, second) if s.sqlstate]
        for statement in errors:
            assert isinstance(statement.error, psycopg.errors.UniqueViolation)
            assert statement.error.diag.constraint_name == QUEUEING
        committed = (end == "commit" and not first.sqlstate) + (not second.sqlstate)
        assert committed <= 1, run
        count = queue.value("select count(*) from procrastinate_jobs")
        assert count == committed, run
        if end == "commit":
            assert count == 1, run
        queue.ends_well(run)


def test_of_two_try_defers_with_one_queueing_lock_the_second_is_told_of_the_conflict(
    queue: Scene,
) -> None:
    """And each keeps the other jobs of its call."""
    lists = [
        script.transaction(name, verbs.try_defer("a", "a", queueing_locks=["q", None]))
        for name in ("one", "two")
    ]
    for run in script.permutations(queue.stage, *lists, setup=lambda: queue.reset(idle=False)):
        assert run.sqlstates() == [], run
        rows = [row for steps in lists for row in run.of(steps[1]).rows]
        assert sorted(row["conflict"] or "" for row in rows) == ["", "", "", "q"], run
        assert all((row["job_id"] is None) == (row["conflict"] is not None) for row in rows)
        assert queue.value("select count(*) from procrastinate_jobs") == 3, run
        queue.ends_well(run)


def test_two_batches_with_the_same_queueing_locks_in_other_orders_do_not_deadlock(
    queue: Scene,
) -> None:
    lists = [
        script.transaction("one", verbs.defer("a", "a", queueing_locks=["p", "q"])),
        script.transaction("two", verbs.defer("a", "a", queueing_locks=["q", "p"])),
    ]
    for run in script.permutations(queue.stage, *lists, setup=queue.reset):
        assert run.sqlstates() == ["23505"], run
        queue.ends_well(run)


def test_a_retry_whose_queueing_lock_was_taken_meanwhile_fails_the_job_and_says_why(
    queue: Scene,
) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", queueing_locks=["q"])
        held[:] = queue.claim(worker)

    lists = [
        script.transaction("one", verbs.defer("a", queueing_locks=["q"])),
        script.transaction("two", lambda: verbs.retry(worker, held)),
    ]
    outcomes: set[str] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        deferred, retried = run.of(lists[0][1]), run.of(lists[1][1])
        assert retried.sqlstate is None, run
        outcome = retried.rows[0]["outcome"]
        outcomes.add(outcome)
        assert (deferred.sqlstate, outcome) in {(None, "failed"), ("23505", "retried")}, run
        job = held[0].job_id
        if outcome == "failed":
            events = queue.stage.look(
                "select error from procrastinate_events where job_id = %s and type = 'failed'",
                [job],
            )
            assert len(events) == 1, run
            assert events[0]["error"], run
        queue.ends_well(run)
    assert outcomes == {"failed", "retried"}


def test_one_taken_queueing_lock_does_not_hold_up_the_other_retries_of_its_batch(
    queue: Scene,
) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    queue.defer("a", "a", "a", queueing_locks=["p", "q", None])
    held = queue.claim(worker, 3)
    queue.defer("a", queueing_locks=["p"])
    session = queue.stage.session("one")
    rows = session.run(verbs.retry(worker, held))
    assert [row["outcome"] for row in rows] == ["failed", "retried", "retried"]
    queue.ends_well()


def test_a_retry_by_id_whose_queueing_lock_is_taken_raises_and_leaves_the_job_failed(
    queue: Scene,
) -> None:
    job = 0

    def setup() -> None:
        nonlocal job
        queue.reset(idle=False)
        worker = queue.worker()
        (job,) = queue.defer("a", queueing_locks=["q"])
        queue.stage.look(verbs.finish(worker, queue.claim(worker), "failed"))

    lists = [
        script.transaction("one", verbs.defer("a", queueing_locks=["q"])),
        script.transaction("two", lambda: verbs.retry_by_id(job)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == ["23505"], run
        error = next(s.error for s in run.statements if s.sqlstate)
        assert error is not None
        assert error.diag.constraint_name == QUEUEING
        queue.ends_well(run)
