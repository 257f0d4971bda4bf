"""
procrastinate 3.10, as published, in an environment of its own below .cache/.

A black box: nothing of it is imported here, for its import name is ours. Tests and benchmarks
run it in processes of its own. `python -m tools.upstream` makes the environment; what comes
after needs no network.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import venv

VERSION = "3.10.0"
HOME = pathlib.Path(__file__).resolve().parent.parent / ".cache" / f"upstream-{VERSION}"
REQUIRED = "PROCRASTINATE_REQUIRE_FLEET"
MISSING = f"procrastinate {VERSION} can't be had from the package index"

_APPLY = """
import sys, procrastinate
app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=sys.argv[1]))
with app.open():
    app.schema_manager.apply_schema()
"""


class UpstreamError(Exception):
    """A command that concerns upstream's package failed; the text is what it printed."""


def _run(command: list[pathlib.Path | str]) -> None:
    """Say what a command printed only if it failed."""
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UpstreamError(f"{command[0]} exited with {done.returncode}:\n{done.stderr}")


def python() -> pathlib.Path:
    """Find the interpreter of its environment, which the first call makes."""
    interpreter = HOME / "bin" / "python"
    ready = HOME / "ready"  # set last: an installation that was cut short is begun anew
    if not ready.exists():
        print(f"installing procrastinate {VERSION} into .cache/{HOME.name} …", flush=True)
        # our pip fills it: an interpreter without ensurepip can make it all the same
        venv.create(HOME, with_pip=False, clear=True)
        packages = (f"procrastinate=={VERSION}", "psycopg[binary]")
        pip = (sys.executable, "-m", "pip", "--python", str(interpreter))
        _run([*pip, "install", "--quiet", *packages])
        ready.touch()
    return interpreter


def apply_schema(dsn: str) -> None:
    """Apply its schema with its package."""
    # -I: neither the working directory nor the environment may offer our own package
    _run([python(), "-I", "-c", _APPLY, dsn])


if __name__ == "__main__":
    try:
        python()
    except UpstreamError as error:
        raise SystemExit(f"{MISSING}:\n{error}") from None
