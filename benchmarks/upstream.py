"""
procrastinate 3.10, as published, in an environment and a database of its own.

A black box: its package applies its schema, and we call the functions that its documentation
and catalogue name. Nothing of it is imported here, for its import name is ours.
"""

from __future__ import annotations

import subprocess
import venv
from typing import TYPE_CHECKING

from benchmarks import server as servers

if TYPE_CHECKING:
    import pathlib

VERSION = "3.10.0"
CACHE = servers.CHECKOUT / ".cache"

_APPLY = """
import sys, procrastinate
app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=sys.argv[1]))
with app.open():
    app.schema_manager.apply_schema()
"""


def _run(command: list[pathlib.Path | str]) -> None:
    """Say what a command printed only if it failed."""
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}:\n{done.stderr}")


def python() -> pathlib.Path:
    """Find the interpreter of upstream's environment, which the first run makes."""
    home = CACHE / f"upstream-{VERSION}"
    interpreter = home / "bin" / "python"
    ready = home / "ready"  # set last: an installation that was cut short is begun anew
    if not ready.exists():
        print(f"installing procrastinate {VERSION} into .cache/{home.name} …")
        venv.create(home, with_pip=True, clear=True)
        wanted = [f"procrastinate=={VERSION}", "psycopg[binary]"]
        _run([interpreter, "-m", "pip", "install", "--quiet", *wanted])
        ready.touch()
    return interpreter


def install(server: servers.Server, database: str) -> None:
    """Apply upstream's schema with upstream's package."""
    # -I: neither the working directory nor the environment may offer our own package
    _run([python(), "-I", "-c", _APPLY, server.dsn_of(database)])
