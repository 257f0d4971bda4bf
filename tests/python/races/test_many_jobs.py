"""The verbs for many jobs beside each other, and beside those for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene

CANCEL = "select * from procrastinate_cancel_jobs(all_jobs => true)"
RETRY = "select * from procrastinate_retry_jobs(all_jobs => true)"


def outcomes(statement: harness.Statement) -> dict[int, str]:
    return {row["job_id"]: row["outcome"] for row in statement.rows}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_a_fetch_and_a_cancel_of_many_one_has_each_job_and_no_head_is_lost(
    queue: Scene, end: str
) -> None:
    def setup() -> None:
        queue.reset()
        queue.defer("a", "a", "a", "a", locks=["k", "k", "l", None])
        queue.quiet()
        workers.append(queue.worker())

    workers: list[int] = []
    lists = [
        script.transaction("one", CANCEL, end),
        script.transaction("two", lambda: verbs.fetch(workers[-1], 2)),
    ]
    seen: set[str] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], run
        assert lists[1][1] not in run.waited, run
        told = outcomes(run.of(lists[0][1]))
        seen |= set(told.values())
        fetched = {
            claim.job_id for claim in harness.Exchange.of(run.of(lists[1][1]).rows).claims
        }
        cancelled = {job for job, outcome in told.items() if outcome == "cancelled"}
        if end == "commit":
            assert not cancelled & fetched, run
            for job in cancelled:
                assert queue.status(job) == "cancelled", run
        queue.ends_well(run)
    assert {"cancelled", "busy"} <= seen


def test_two_cancels_of_many_do_not_wait_for_each_other(queue: Scene) -> None:
    def setup() -> None:
        queue.reset()
        queue.defer("a", "a", "a", locks=["l", "k", None])

    lists = [script.transaction("one", CANCEL), script.transaction("two", CANCEL)]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert (run.sqlstates(), run.waited) == ([], []), run
        told = [outcomes(run.of(steps[1])) for steps in lists]
        for job in queue.jobs:
            assert [each.get(job) for each in told].count("cancelled") == 1, run
            assert queue.status(job) == "cancelled", run
        queue.ends_well(run)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_queueing_lock_that_is_taken_meanwhile_takes_no_other_job_with_it(
    queue: Scene, end: str
) -> None:
    def setup() -> None:
        queue.reset()
        queue.defer("a", "a", "a", queueing_locks=["q", "r", None], locks=["k", "l", "l"])
        queue.stage.look("update procrastinate_jobs set status = 'failed'")

    defer = verbs.defer("a", queueing_locks=["q"])
    lists = [script.transaction("one", RETRY), script.transaction("two", defer, end)]
    seen: set[str] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        retry, other = run.of(lists[0][1]), run.of(lists[1][1])
        assert retry.sqlstate is None, run
        contested, *rest = queue.jobs
        told = outcomes(retry)
        seen.add(told[contested])
        assert [told[job] for job in rest] == ["retried", "retried"], run
        if told[contested] == "retried":
            assert other.sqlstate == "23505" or end == "rollback", run
        else:
            assert queue.status(contested) == "failed", run
        queue.ends_well(run)
    assert seen == ({"retried", "queueing_lock_taken"} if end == "commit" else {"retried"})
