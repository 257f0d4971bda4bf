"""The stress benchmark, for some seconds: `python -m benchmarks.stress 60` is the long form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import stress

if TYPE_CHECKING:
    import pytest

SECONDS = 5.0


def test_workers_producers_and_operators_on_hot_locks_leave_all_well(
    dsn: str, capfd: pytest.CaptureFixture[str]
) -> None:
    well = stress.stress(dsn, SECONDS)
    assert well, capfd.readouterr().out
