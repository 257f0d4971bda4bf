"""A claim ends once, whoever else ends it at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.races.scene import Scene


def test_of_two_finishes_of_one_claim_one_happens_and_the_other_is_told(queue: Scene) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(worker)
        queue.defer("a", locks=["l"])
        queue.quiet()

    lists = [
        script.transaction("one", lambda: verbs.finish(worker, held, "succeeded")),
        script.transaction("two", lambda: verbs.finish(worker, held, "failed")),
    ]
    for run in script.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        rows = [run.of(steps[1]).rows[0] for steps in lists]
        assert sorted(row["outcome"] for row in rows) == ["finished", "not_held"], run
        assert rows[0]["status"] == rows[1]["status"] == queue.status(held[0].job_id), run
        queue.ends_well(run)


@pytest.mark.parametrize("other", ["finish", "retry", "release", "delete"])
def test_a_claim_ends_once_whatever_the_two_ends_are(queue: Scene, other: str) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(worker)
        queue.defer("a", locks=["l"])
        queue.quiet()

    def end() -> str:
        match other:
            case "finish":
                return verbs.finish(worker, held)
            case "retry":
                return verbs.retry(worker, held)
            case "release":
                return verbs.release(worker, held)
            case _:
                return verbs.finish(worker, held, delete=True)

    lists = [
        script.transaction("one", lambda: verbs.retry(worker, held)),
        script.transaction("two", end),
    ]
    for run in script.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        rows = [run.of(steps[1]).rows[0] for steps in lists]
        assert [row["outcome"] for row in rows].count("not_held") == 1, run
        queue.ends_well(run)


def test_the_late_finish_of_a_recovered_job_changes_nothing_and_says_so(queue: Scene) -> None:
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", "a", locks=["l", "l"])
        held[:] = queue.claim(workers[0])
        queue.stage.look(
            "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
            " where id = %s",
            [workers[0]],
        )

    lists = [
        [
            script.Step("one", verbs.recover(), "recover"),
            script.Step("one", lambda: verbs.fetch(workers[1], 1), "fetch"),
        ],
        script.alone("two", lambda: verbs.finish(workers[0], held)),
    ]
    outcomes: set[str] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], run
        (row,) = run.of(lists[1][0]).rows
        recovered = [r["id"] for r in run.of(lists[0][0]).rows]
        assert (row["outcome"] == "not_held") == (recovered == [held[0].job_id]), run
        outcomes.add(row["outcome"])
        if run.order.index(lists[0][1]) < run.order.index(lists[1][0]):
            assert row["status"] == "doing", run  # it is its successor's now
            attempts = queue.value(
                f"select attempts from procrastinate_jobs where id = {held[0].job_id}"
            )
            assert attempts == 1, run
        queue.ends_well(run)
    assert outcomes == {"finished", "not_held"}


def test_a_finish_carries_its_own_claim_even_for_the_same_worker(queue: Scene) -> None:
    """(worker, attempt) repeats itself when a job is given back and fetched again."""
    queue.reset(idle=False)
    worker = queue.worker()
    queue.defer("a")
    held = queue.claim(worker)
    session = queue.stage.session("one")
    assert session.run(verbs.release(worker, held))[0]["outcome"] == "released"
    again = queue.claim(worker)
    assert again[0].job_id == held[0].job_id
    assert again[0].claim_id != held[0].claim_id
    assert session.run(verbs.finish(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.retry(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.release(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.finish(worker, again))[0]["outcome"] == "finished"
    queue.ends_well()


@pytest.mark.parametrize("end", ["finish", "finish two ways", "exchange", "retry", "release"])
def test_an_end_changes_nothing_of_the_next_run_even_if_that_is_this_workers_too(
    queue: Scene, end: str
) -> None:
    """
    The row of the job says the same worker and doing again; only the claim is another.

    What ends in one statement has read the claim from before it waited. It is undone as a
    whole then, and sent again it is told that it holds nothing.
    """
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", None])
        held[:] = queue.claim(worker, 2)

    def ends() -> str:
        match end:
            case "finish":
                return verbs.finish(worker, held)
            case "finish two ways":
                text = verbs.finish(worker, held)
                return text.replace("'succeeded', 'succeeded'", "'succeeded', 'failed'")
            case "exchange":
                return verbs.finish_and_fetch(worker, held, 1)
            case "retry":
                return verbs.retry(worker, held)
            case _:
                return verbs.release(worker, held)

    def made(status: str) -> Callable[[], str]:
        return lambda: (
            f"update procrastinate_jobs set status = '{status}' where id = {held[0].job_id}"
        )

    theirs = script.transaction("operator", made("todo"), made("doing"))
    (ours,) = lists = script.alone("one", ends)
    waited = 0
    for run in script.permutations(queue.stage, theirs, lists, setup=setup):
        first = run.order.index(ours) < run.order.index(theirs[1])
        waited += ours in run.waited
        undone = ours in run.waited and end in {"finish", "exchange"}
        assert run.sqlstates() == ["40001"] * undone, run
        if undone:
            assert queue.status(held[1].job_id) == "doing", f"{run}: undone as a whole"
            rows = queue.stage.session("one").run(ends())
        else:
            rows = run.of(ours).rows
        told = {row["job_id"]: row["outcome"] for row in rows}
        assert (told.get(held[0].job_id) == "not_held") == (not first), run
        assert told.get(held[1].job_id) != "not_held", run
        runs = queue.stage.look("select job_id, claim_id from procrastinate_doing")
        assert [row["job_id"] for row in runs] == [held[0].job_id], run
        assert runs[0]["claim_id"] != held[0].claim_id, run
        queue.ends_well(run)
    assert waited == 2
