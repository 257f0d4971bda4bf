"""What 3.10 published is published here, with the same signatures, defaults and kinds."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

HERE = pathlib.Path(__file__).parent
TOOL = HERE / "api_snapshot.py"
BEFORE = HERE / "procrastinate-3.10.json"
NAMES = (HERE / "procrastinate-documented-names.txt", HERE / "procrastinate-also-public.txt")
DJANGO = "procrastinate.contrib.django"


def tool(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=HERE.parents[1],
        env={"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


def published_names() -> set[str]:
    lines = [line.strip() for path in NAMES for line in path.read_text().splitlines()]
    return {line for line in lines if line and not line.startswith("#")}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A snapshot of this package."""
    path = tmp_path_factory.mktemp("api") / "ours.json"
    options = [
        "--exclude=procrastinate.sql.migrations*",
        f"--exclude={DJANGO}.migrations",
        f"--exclude={DJANGO}.migrations.*",
        f"--documented={NAMES[0]}",
    ]
    if importlib.util.find_spec(DJANGO) is not None:
        options.append(f"--django-app={DJANGO}")
    dumped = tool("dump", "procrastinate", *options, "--out", path)
    assert dumped.returncode == 0, dumped.stderr
    return path


def modules_of(snapshot: pathlib.Path) -> dict[str, Any]:
    modules: dict[str, Any] = json.loads(snapshot.read_text())["modules"]
    return modules


def test_every_published_module_is_there(
    ours: pathlib.Path,
) -> None:
    before, after = modules_of(BEFORE), modules_of(ours)
    published = {
        module
        for module in before
        if any(name == module or name.startswith(f"{module}.") for name in published_names())
        # a package that only holds others publishes nothing itself
        and before[module]["names"]
    }

    assert published <= after.keys()


def test_every_published_name_is_there_as_it_was(ours: pathlib.Path) -> None:
    chosen = [option for path in NAMES for option in ("--names", path)]

    compared = tool("diff", BEFORE, ours, *chosen)

    assert not compared.stderr
    assert compared.stdout == ""


def test_the_snapshot_of_a_package_differs_from_one_that_lacks_something(
    ours: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    snapshot = json.loads(ours.read_text())
    del snapshot["modules"]["procrastinate.jobs"]["names"]["JobDeferrer"]
    poorer = tmp_path / "poorer.json"
    poorer.write_text(json.dumps(snapshot))

    compared = tool("diff", ours, poorer)

    assert "procrastinate.jobs.JobDeferrer: missing" in compared.stdout.splitlines()
