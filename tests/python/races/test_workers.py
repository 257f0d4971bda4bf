"""A worker's row goes, or its client dies, while it is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene


OLD = (
    "update procrastinate_workers set last_heartbeat = now() - interval '1 hour' where id = {}"
)


def test_a_prune_beside_a_heartbeat_keeps_the_worker_or_tells_it(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        queue.claim(worker)
        queue.stage.look(OLD.format(worker))

    lists = [
        script.transaction("one", verbs.prune()),
        script.transaction("two", lambda: verbs.heartbeat(worker)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        beat = run.of(lists[1][1])
        alive = queue.stage.look("select from procrastinate_workers where id = %s", [worker])
        assert (beat.sqlstate == "PQ004") == (not alive), run
        assert set(run.sqlstates()) <= {"PQ004"}, run
        if alive:
            assert len(beat.rows) == 1, run
        else:
            queue.stage.look("select procrastinate_recover_stalled_jobs()")
        queue.ends_well(run)


@pytest.mark.parametrize("gone", ["prune", "unregister"])
def test_a_fetch_beside_the_end_of_its_own_worker_leaves_no_orphan(
    queue: Scene, gone: str
) -> None:
    """A job in doing under a worker that is gone would never be found."""
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", None])
        queue.stage.look(OLD.format(worker))

    lists = [
        script.transaction(
            "one", lambda: verbs.prune() if gone == "prune" else verbs.unregister(worker)
        ),
        script.transaction("two", lambda: verbs.fetch(worker, 2)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert lists[1][1] not in run.waited, run
        fetch = run.of(lists[1][1])
        assert fetch.sqlstate in {None, "PQ004"}, run
        orphans = queue.stage.look(
            "select d.job_id from procrastinate_doing as d where d.worker_id is not null"
            " and not exists (select from procrastinate_workers as w where w.id = d.worker_id)"
        )
        assert not orphans, run
        if fetch.sqlstate is None:
            # it committed before the worker went: the jobs are found stalled
            assert len(harness.Exchange.of(fetch.rows).claims) == 2, run
            recovered = queue.stage.look("select procrastinate_recover_stalled_jobs()")
            assert len(recovered) == 2, run
        queue.ends_well(run)


def test_a_reply_lost_after_commit_is_found_by_the_heartbeat_and_given_back(
    queue: Scene,
) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    jobs = queue.defer("a", "a", "a", locks=["l", None, "l"])
    lost = queue.stage.session("lost")
    lost.run(verbs.fetch(worker, 2))  # the reply never came
    queue.stage.look("select pg_terminate_backend(%s)", [lost.pid])
    session = queue.stage.session("one")
    held = [
        harness.Claim(r["job_id"], r["claim_id"]) for r in session.run(verbs.heartbeat(worker))
    ]
    assert {claim.job_id for claim in held} == set(jobs[:2])
    queue.quiet()
    rows = session.run(verbs.release(worker, held))
    assert [row["outcome"] for row in rows] == ["released", "released"]
    attempts = queue.value("select max(attempts) from procrastinate_jobs")
    assert attempts == 0
    queue.idle.react()
    assert sorted(queue.idle.ran) == jobs
    assert queue.idle.ran.index(jobs[0]) < queue.idle.ran.index(jobs[2])
    queue.ends_well()


def test_a_fetch_whose_client_dies_before_the_commit_claims_nothing(queue: Scene) -> None:
    queue.reset()
    worker = queue.worker()
    jobs = queue.defer("a", "a", locks=["l", None])
    lost = queue.stage.session("lost")
    lost.begin()
    lost.run(verbs.fetch(worker, 2))
    queue.idle.react()
    assert queue.idle.come_back
    queue.stage.look("select pg_terminate_backend(%s, 10000)", [lost.pid])
    queue.idle.react()
    assert sorted(queue.idle.ran) == jobs
    queue.ends_well()
