"""
procrastinate 3.x, as published, each version in an environment of its own below .cache/.

A black box: nothing of it is imported here, for its import name is ours. Tests and benchmarks
run it in processes of its own. `python -m tools.upstream` makes the environments; what comes
after needs no network.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import venv

VERSION = "3.10.0"
#: The first version whose schema can be adopted.
OLDEST = "3.0.0"
CACHE = pathlib.Path(__file__).resolve().parent.parent / ".cache"
HOME = CACHE / f"upstream-{VERSION}"
REQUIRED = "PROCRASTINATE_REQUIRE_FLEET"
MISSING = f"procrastinate {VERSION} can't be had from the package index"

_CONNECT = """
import sys, procrastinate
app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=sys.argv[1]))
"""
_APPLY = f"""{_CONNECT}
with app.open():
    app.schema_manager.apply_schema()
"""
_READ = f"""{_CONNECT}
print(app.schema_manager.get_schema())
"""
_PATH = f"""{_CONNECT}
print(app.schema_manager.get_migrations_path())
"""


class UpstreamError(Exception):
    """A command that concerns upstream's package failed; the text is what it printed."""


def _run(command: list[pathlib.Path | str]) -> str:
    """Say what a command printed; raise it if the command failed."""
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UpstreamError(f"{command[0]} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


def python(version: str = VERSION) -> pathlib.Path:
    """Find the interpreter of a version's environment, which the first call makes."""
    home = CACHE / f"upstream-{version}"
    interpreter = home / "bin" / "python"
    extras = "[django]" if version == VERSION else ""
    packages = (f"procrastinate{extras}=={version}", "psycopg[binary]")
    # set last: an installation that was cut short, or of other packages, is begun anew
    ready = home / "ready"
    if not ready.exists() or ready.read_text() != f"{packages}":
        print(f"installing procrastinate {version} into .cache/{home.name} …", flush=True)
        # our pip fills it: an interpreter without ensurepip can make it all the same
        venv.create(home, with_pip=False, clear=True)
        pip = (sys.executable, "-m", "pip", "--python", str(interpreter))
        _run([*pip, "install", "--quiet", *packages])
        ready.write_text(f"{packages}")
    return interpreter


def _ask(script: str, dsn: str, version: str) -> str:
    # -I: neither the working directory nor the environment may offer our own package
    return _run([python(version), "-I", "-c", script, dsn])


def apply_schema(dsn: str, version: str = VERSION) -> None:
    """Apply a version's schema with its package."""
    _ask(_APPLY, dsn, version)


def read_schema(version: str = VERSION) -> str:
    """Ask a version's package for its schema, as one script."""
    return _ask(_READ, "", version)


def migrations_path(version: str = VERSION) -> pathlib.Path:
    """Ask a version's package for the directory of its migrations."""
    return pathlib.Path(_ask(_PATH, "", version).strip())


if __name__ == "__main__":
    try:
        for each in (VERSION, OLDEST):
            python(each)
    except UpstreamError as error:
        raise SystemExit(f"{MISSING}:\n{error}") from None
