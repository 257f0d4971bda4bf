"""`make test-pythons` meets each Python that there is once, and none that is too old."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
    """A home without any Python; what the script runs is on its path."""
    (tmp_path / "bin").mkdir()
    for program in ("cut", "sort"):
        found = shutil.which(program)
        assert found
        (tmp_path / "bin" / program).symlink_to(found)
    return tmp_path


def pythons(home: pathlib.Path) -> list[str]:
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "pythons.sh")],
        env={"HOME": str(home), "PATH": str(home / "bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def add(program: pathlib.Path, script: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_any_python_there_is_none(home: pathlib.Path) -> None:
    assert pythons(home) == []


def test_an_interpreter_of_pyenv_and_the_same_on_the_path_are_one(home: pathlib.Path) -> None:
    real = f'exec {sys.executable} "$@"'
    add(home / "bin" / "python3", real)
    add(home / ".pyenv" / "versions" / "x" / "bin" / "python", real)

    (found,) = pythons(home)

    assert pathlib.Path(found).resolve() == pathlib.Path(sys.executable).resolve()


def test_one_that_refuses_and_one_that_is_too_old_are_passed_over(home: pathlib.Path) -> None:
    add(home / "bin" / "python3", "exit 127")  # a shim for a version that is not installed
    versions = home / ".pyenv" / "versions"
    old = f'exec {sys.executable} -c "import sys; sys.version_info = (3, 10); $2"'
    add(versions / "old" / "bin" / "python", old)
    add(versions / "newer" / "bin" / "python", "echo 14 /opt/python3.14")
    add(versions / "new" / "bin" / "python", "echo 12 /opt/python3.12")

    assert pythons(home) == ["/opt/python3.12", "/opt/python3.14"]
