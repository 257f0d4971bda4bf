"""What SAQ 0.26 documents is in procrastinate.contrib.saq, with the same signatures."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
TOOL = HERE / "api_snapshot.py"
BEFORE = HERE / "saq-0.26.json"
NAMES = HERE / "saq-documented-names.txt"
PACKAGE = "procrastinate.contrib.saq"


def tool(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A snapshot of the package."""
    path = tmp_path_factory.mktemp("api") / "saq.json"
    dumped = tool("dump", PACKAGE, "--out", path)
    assert dumped.returncode == 0, dumped.stderr
    return path


def compare(ours: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return tool("diff", BEFORE, ours, f"--rename=saq={PACKAGE}", "--names", NAMES)


def test_every_documented_name_of_saq_is_there_as_it_was(ours: pathlib.Path) -> None:
    compared = compare(ours)

    assert not compared.stderr
    assert compared.stdout == ""


def test_the_comparison_reports_a_name_that_is_missing(
    ours: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    snapshot = json.loads(ours.read_text())
    del snapshot["modules"][f"{PACKAGE}.job"]["names"]["ACTIVE_STATUSES"]
    poorer = tmp_path / "poorer.json"
    poorer.write_text(json.dumps(snapshot))

    compared = compare(poorer)

    assert f"{PACKAGE}.job.ACTIVE_STATUSES: missing" in compared.stdout.splitlines()
