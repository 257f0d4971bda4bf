"""The benchmark of several queues counts each job once, hides no side, and goes on where it was."""

from __future__ import annotations

import pathlib
import sys

import pytest

from benchmarks.peers import counting, environments, table
from benchmarks.peers.cases import FULL
from benchmarks.peers.results import Outcome, Result, Results, UnreadableError

CASE = FULL["drain-10"]


def result(case: str, outcomes: dict[str, Outcome]) -> Result:
    return Result(
        case=case,
        when="2026-01-01",
        revision="abc",
        facts={},
        versions={},
        rounds=3,
        outcomes=outcomes,
    )


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (["010001"], "1 did not run and 0 ran more than once"),
        (["010201"], "0 did not run and 1 ran more than once"),
        (["010100", "000101"], "0 did not run and 1 ran more than once"),
        (["0101"], "counted"),
        ([], "counted"),
    ],
)
def test_a_job_that_was_lost_or_ran_twice_is_counted(seen: list[str], said: str) -> None:
    with pytest.raises(counting.MiscountError, match=said):
        counting.once(seen, 3)


def test_jobs_that_several_workers_ran_once_each_are_all_right() -> None:
    counting.once(["010001", "000100"], 3)


def test_what_is_kept_is_not_run_again_unless_it_is_asked_for(tmp_path: pathlib.Path) -> None:
    results = Results.read(tmp_path / "new" / "kept.json")
    results.keep(result("a", {"ours": Outcome(values={"rate": [1.0]})}))
    results.keep(result("b", {"ours": Outcome(failed="lost a job")}))
    kept = Results.read(results.path)
    assert kept.cases == results.cases
    assert kept.to_run(["a", "b", "c"], []) == ["c"]
    assert kept.to_run(["a", "b", "c"], ["a"]) == ["a", "c"]
    assert kept.to_run(["a", "b", "c"], ["failed"]) == ["b", "c"]


def test_a_file_that_holds_no_results_is_refused_by_its_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text('{"cases": [{}')
    with pytest.raises(UnreadableError, match=r"kept\.json"):
        Results.read(path)


def test_a_side_that_failed_or_is_missing_is_shown_with_its_reason(
    tmp_path: pathlib.Path,
) -> None:
    ours = Outcome(values={"rate": [10.0, 12.0, 11.0]})
    kept = result(
        "drain-10",
        {
            "ours": ours,
            "3.10": Outcome(values={"rate": [5.0]}, failed="2 ran twice"),
            "saq": Outcome(missing="no net"),
        },
    )
    page = table.Page({"drain-10": CASE}, Results(tmp_path / "x", {"drain-10": kept}))
    text = "\n".join(page.lines())
    assert "**FAILED**" in text
    assert "**missing**" in text
    assert "2 ran twice" in text
    assert "no net" in text
    assert "NOT MEASURED" in text
    assert page.unmet() == 1


def test_a_package_that_cannot_be_had_is_missing_with_the_last_word(
    tmp_path: pathlib.Path,
) -> None:
    with pytest.raises(
        environments.MissingError, match=r"some-queue can't be had .*: no network"
    ):
        environments._install(  # pyright: ignore[reportPrivateUsage] (no registry is asked here)
            "some-queue", tmp_path, [sys.executable, "-c", "import sys; sys.exit('no network')"]
        )
