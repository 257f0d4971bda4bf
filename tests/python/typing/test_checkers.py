"""pyright and mypy accept what is right, and refuse what is wrong, line by line."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[2]
ACCEPTED = HERE / "accepted.py"
REFUSED = HERE / "refused.py"
MARK = "# refused"
MYPY_ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+):\d+: error:", re.MULTILINE)

Errors = dict[str, set[int]]


def run(program: str, *arguments: str, cwd: pathlib.Path) -> str:
    path = pathlib.Path(sys.executable).parent / program
    done = subprocess.run(
        [str(path), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


def by_pyright(directory: pathlib.Path) -> Errors:
    """The lines with errors, in a project of its own: ours ignores the second file."""
    settings = {
        "include": [str(HERE)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.11",
        "reportUnusedCoroutine": "none",  # a misuse of something else, which only pyright sees
    }
    project = directory / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    printed = run(
        "basedpyright",
        "--project",
        str(project),
        "--pythonpath",
        sys.executable,
        "--outputjson",
        cwd=directory,
    )
    errors: Errors = {}
    for diagnostic in json.loads(printed)["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            name = pathlib.Path(diagnostic["file"]).name
            errors.setdefault(name, set()).add(diagnostic["range"]["start"]["line"] + 1)
    return errors


def by_mypy(directory: pathlib.Path) -> Errors:
    printed = run(
        "mypy",
        "--strict",
        "--show-column-numbers",
        f"--cache-dir={directory}",
        "--python-version=3.11",
        "--explicit-package-bases",
        "--namespace-packages",
        "--config-file=",
        str(ACCEPTED.relative_to(ROOT)),
        str(REFUSED.relative_to(ROOT)),
        cwd=ROOT,
    )
    errors: Errors = {}
    for found in MYPY_ERROR.finditer(printed):
        name = pathlib.Path(found["file"]).name
        errors.setdefault(name, set()).add(int(found["line"]))
    return errors


@pytest.mark.parametrize("check", [by_pyright, by_mypy])
def test_right_uses_are_accepted_and_each_misuse_is_refused(
    check: Callable[[pathlib.Path], Errors], tmp_path: pathlib.Path
) -> None:
    misused = {
        number
        for number, line in enumerate(REFUSED.read_text().splitlines(), 1)
        if line.endswith(MARK)
    }
    assert misused

    errors = check(tmp_path)

    assert errors == {REFUSED.name: misused}
