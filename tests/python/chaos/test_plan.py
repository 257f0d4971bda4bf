"""A seed decides all of a run's faults, and a run has each kind."""

from __future__ import annotations

import collections

from tools.chaos import plan
from tools.chaos.faults import Breaker


def test_a_seed_repeats_its_faults_and_another_one_has_others() -> None:
    assert plan.draw(7, 200) == plan.draw(7, 200)
    assert plan.draw(7, 200) != plan.draw(8, 200)


def test_a_longer_run_of_a_seed_makes_the_same_faults_in_the_same_order() -> None:
    kinds = [fault.kind for fault in plan.draw(7, 60)]

    assert [fault.kind for fault in plan.draw(7, 30)] == kinds[:30]


def test_each_kind_comes_as_often_as_any_other() -> None:
    times = collections.Counter(fault.kind for fault in plan.draw(7, 200))

    assert set(times) == set(plan.KINDS)
    assert max(times.values()) - min(times.values()) <= 1


def test_each_kind_can_be_made() -> None:
    assert {kind for kind in plan.KINDS if hasattr(Breaker, f"_{kind}")} == set(plan.KINDS)
