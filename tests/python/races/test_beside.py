"""A claim goes beside what another holds, and its mark stays below what it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.python.races import harness, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene


def test_jobs_that_another_held_are_passed_and_found_again_from_the_mark(queue: Scene) -> None:
    queue.reset(idle=False)
    mine, others = queue.worker(), queue.worker()
    jobs = queue.defer(*"aaaaaa")
    one, two = queue.stage.session("one"), queue.stage.session("two")

    def fetch(limit: int, marks: list[int] | None) -> harness.Exchange:
        return harness.Exchange.of(two.run(verbs.fetch(mine, limit, ["a"], marks)))

    first = fetch(1, None)
    assert first.marks is not None
    one.begin()
    one.run(verbs.fetch(others, 2, ["a"]))
    beside = fetch(2, first.marks)
    assert [claim.job_id for claim in beside.claims] == jobs[3:5]
    assert not beside.contended
    assert beside.marks is not None
    # The straight way knows no more of what others write than it did before.
    assert beside.marks == [*first.marks[:9], jobs[1], *first.marks[10:]]

    one.rollback()
    again = fetch(2, beside.marks)
    assert [claim.job_id for claim in again.claims] == jobs[1:3]
    for held in (first, beside, again):
        two.run(verbs.finish(mine, held.claims))
    queue.ends_well()


def test_a_job_with_a_lock_is_not_passed_by_those_behind_it(queue: Scene) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    jobs = queue.defer(*"aaaa", locks=[None, "l", None, None])
    first = queue.fetch(worker, 1, ["a"])
    rows = queue.stage.look(verbs.fetch(worker, 2, ["a"], first.marks))
    claims = harness.Exchange.of(rows).claims
    assert [claim.job_id for claim in claims] == jobs[1:3]
    queue.stage.look(verbs.finish(worker, [*first.claims, *claims]))
    queue.ends_well()
