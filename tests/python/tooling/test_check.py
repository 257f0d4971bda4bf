"""The steps of `make check`: each runs, and each that fails is named."""

from __future__ import annotations

import pytest

from tools import check


def test_every_step_runs_and_those_that_fail_are_named_in_order(
    capfd: pytest.CaptureFixture[str],
) -> None:
    programs = ("import sys; sys.exit(print('no', file=sys.stderr) or 1)", "print('yes')")
    steps = tuple(
        check.Step(name, ("python", "-c", programs[name == "sound"]))
        for name in ("first", "sound", "last")
    )

    assert check.failing(steps) == ["first", "last"]
    assert capfd.readouterr().out == "--- first\nno\n--- sound\nyes\n--- last\nno\n"
