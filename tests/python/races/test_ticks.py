"""A periodic tick is deferred once, whoever comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.python.races import script, verbs

if TYPE_CHECKING:
    from tests.python.races.scene import Scene


def test_of_two_periodic_defers_of_one_tick_one_defers(queue: Scene) -> None:
    defer = verbs.defer_periodic(1000)
    lists = [script.transaction("one", defer), script.transaction("two", defer)]
    for run in script.permutations(
        queue.stage, *lists, setup=queue.reset, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        ids = [run.of(steps[1]).rows[0]["id"] for steps in lists]
        assert ids.count(None) == 1, run
        assert queue.value("select count(*) from procrastinate_jobs") == 1, run
        queue.ends_well(run)


def test_a_late_tick_is_not_deferred_again_while_a_newer_one_takes_its_place(
    queue: Scene,
) -> None:
    late = script.transaction("late", verbs.defer_periodic(1000))
    newer = script.transaction("newer", verbs.defer_periodic(2000))

    def setup() -> None:
        queue.reset()
        queue.stage.look(verbs.defer_periodic(1000))

    for run in script.permutations(
        queue.stage, late, newer, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        assert run.of(late[1]).rows[0]["id"] is None, run
        assert queue.value("select count(*) from procrastinate_jobs") == 2, run
        queue.ends_well(run)


def test_a_periodic_defer_that_rolls_back_leaves_its_tick_to_the_other(queue: Scene) -> None:
    defer = verbs.defer_periodic(1000)
    lists = [script.transaction("one", defer, end="rollback"), script.transaction("two", defer)]
    for run in script.permutations(queue.stage, *lists, setup=queue.reset):
        deferred = run.of(lists[1][1])
        if lists[1][1] in run.waited or run.order.index(lists[0][2]) < run.order.index(
            lists[1][1]
        ):
            assert deferred.rows[0]["id"] is not None, run
        queue.ends_well(run)
