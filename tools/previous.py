"""
The version of ours before this one, in an environment of its own below .cache/.

tests/python/upgrade/previous.txt names its commit; `git archive` has its files, and what is
installed is the wheel that they build. `python -m tools.previous` makes the environment: what
comes after needs neither git nor network.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import venv

from tools import archives

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
NAMED = ROOT / "tests" / "python" / "upgrade" / "previous.txt"
REQUIRED = "PROCRASTINATE_REQUIRE_UPGRADE"
MISSING = "the version before this one can't be built"
PARTS = ("procrastinate", "sql", "schema.lock", "pyproject.toml", "README.md", "LICENSE")


class PreviousError(Exception):
    """It can't be built here; the text is what the command that failed has printed."""


def commit() -> str:
    """The commit that it was built from."""
    return NAMED.read_text(encoding="utf-8").strip()


def python() -> pathlib.Path:
    """Find the interpreter of its environment, which the first call makes."""
    home = CACHE / f"previous-{commit()}"
    interpreter = home / "bin" / "python"
    if home.exists():
        return interpreter
    unfinished = CACHE / f"previous-{commit()}.{os.getpid()}"  # several may do this at once
    try:
        _make(unfinished)
        if not home.exists():
            unfinished.rename(home)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return interpreter


def _make(home: pathlib.Path) -> None:
    # our pip fills it: an interpreter without ensurepip can make it all the same
    venv.create(home, with_pip=False, clear=True)
    archive, source = home / "source.tar", home / "source"
    _run(["git", "archive", f"--output={archive}", commit(), *PARTS])
    archives.unpack_tar(archive, source)
    _run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", home, source])
    (wheel,) = home.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python")
    wheels = f"--find-links={pathlib.Path(sys.prefix) / 'wheels'}"  # `make venv` fills it
    _run([*pip, "install", "--quiet", wheels, wheel, "psycopg[binary]"])
    archive.unlink()
    shutil.rmtree(source)


def _run(command: list[pathlib.Path | str]) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise PreviousError(f"there is no program {exc.filename}") from exc
    if done.returncode:
        raise PreviousError(f"{command[0]} exited with {done.returncode}:\n{done.stderr}")


if __name__ == "__main__":
    try:
        python()
    except PreviousError as error:
        raise SystemExit(f"{MISSING}:\n{error}") from None
