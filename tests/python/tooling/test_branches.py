"""Of the branches alone enough must have been taken."""

from __future__ import annotations

import json
import pathlib

import pytest

from tools import branches


@pytest.mark.parametrize(
    ("taken", "status", "said"),
    [
        (970, 0, "branches: 97.00 % (970 of 1000; at least 97 %)\n"),
        (969, 1, "branches: 96.90 % (969 of 1000; at least 97 %)\n"),
    ],
)
def test_too_few_are_a_failure(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    taken: int,
    status: int,
    said: str,
) -> None:
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"totals": {"covered_branches": taken, "num_branches": 1000}}))
    assert branches.main(report) == status
    assert capsys.readouterr().out == said
