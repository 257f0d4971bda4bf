"""What a soak says is what its samples show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tools.chaos import plan, soak

if TYPE_CHECKING:
    import pathlib


def samples(rates: list[float | None], memory: list[int] | None = None) -> list[soak.Sample]:
    """A sample each second, after one of so many jobs a second; None: no answer."""
    made: list[soak.Sample] = []
    ended = 0.0
    for second, rate in enumerate(rates):
        ended += rate or 0
        made.append(
            soak.Sample(
                at=float(second),
                ended=None if rate is None else int(ended),
                numbered=int(ended),
                connections=5,
                idle=0.0,
                stolen=0.0,
                memory={1: memory[second]} if memory else {},
            )
        )
    return made


def test_throughput_is_back_with_the_first_second_that_has_enough() -> None:
    seen = samples([100, 100, None, None, 0, 40, 95, 100])

    assert soak.seconds_until_back(seen, 3.0, 7.0, 100) == 3.0


def test_a_leap_after_an_outage_is_no_throughput() -> None:
    # the first sample after it has nothing to be compared with but what was long before
    seen = samples([100, 100, None, None, None, 1000, 40, 100])

    assert soak.seconds_until_back(seen, 4.0, 7.0, 100) == 3.0


def test_throughput_that_does_not_come_back_before_the_next_fault_is_not_back() -> None:
    seen = samples([100, 0, 40, 60, 100])

    assert soak.seconds_until_back(seen, 1.0, 3.5, 100) is None


def test_memory_is_compared_with_what_it_was_once_warm() -> None:
    cold, life = [100] * 20, [200] * 99 + [300]
    seen = samples([1.0] * 120, memory=cold + life)

    assert soak.growth(seen) == {1: pytest.approx(1.5)}


def test_a_worker_that_did_not_live_long_says_nothing_about_memory() -> None:
    assert soak.growth(samples([1.0] * 30, memory=[100] * 30)) == {}


def test_the_memory_of_a_process_is_read_and_none_of_one_that_is_gone() -> None:
    import os

    assert soak.memory_of(os.getpid()) > 1000
    assert soak.memory_of(2**22 + 1) == 0


def test_the_time_that_nobody_used_does_not_shrink() -> None:
    idle, stolen = soak.processor()
    assert idle > 0
    later = soak.processor()
    assert later[0] >= idle
    assert later[1] >= stolen >= 0


def test_what_was_seen_is_kept_with_the_faults(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "KEPT", tmp_path / "kept")
    (fault,) = plan.draw(7, 1, ["cut"])
    kept = json.loads(soak.keep(7, 100.0, [(fault, 1.0, 2.0)], samples([100, 50])).read_text())
    assert kept["rate"] == 100.0
    assert [it["ended"] for it in kept["samples"]] == [100, 150]
    (said,) = kept["faults"]
    assert (said["kind"], said["began"], said["mended"]) == ("cut", 1.0, 2.0)
