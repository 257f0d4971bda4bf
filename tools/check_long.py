"""
What `make check` has no time for, within forty-five minutes: `make check-long`.

Each part has a limit of its own, shows what it does, and runs whatever the others find. The
tests of PostgreSQL 18 and of the Python of `.venv` are those of `make check`.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

from tools import postgres, previous, running, upstream

LIMIT = 45 * 60.0  # seconds for all of it
POSTGRES = ("15", "16", "17")
PYTHONS = ("3.12", "3.13")
SPLIT = ("-n", "2", "--dist", "loadfile")


def tests(name: str, *paths: str, limit: float, require: str) -> running.Part:
    """Tests that have to run here."""
    return running.Part(
        name=name,
        command=(sys.executable, "-m", "pytest", *SPLIT, *paths),
        limit=limit,
        environment={**os.environ, require: "1"},
    )


def chaos() -> list[running.Part]:
    """The short form of `make chaos`, if there is such a target."""
    makefile = (running.ROOT / "Makefile").read_text(encoding="utf-8")
    if not re.search(r"^chaos:", makefile, re.MULTILINE):
        print("chaos: there is no such target, nothing is done")
        return []
    command = ("make", "--no-print-directory", "chaos", "CHAOS=--short")
    return [running.Part(name="chaos", command=command, limit=480.0)]


def pythons(paths: list[str]) -> list[running.Part]:
    """
    The tests of the package's Python (`COVERED` of the Makefile), with other interpreters.

    The others are about SQL, pages and tools: another interpreter changes nothing there.
    """
    listed = subprocess.run(
        ["sh", "tools/pythons.sh"], cwd=running.ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    found: dict[str, tuple[str, str]] = {}
    for interpreter in filter(None, listed):
        version = subprocess.run(
            [interpreter, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        found[version.rpartition(".")[0]] = (interpreter, version)
    parts: list[running.Part] = []
    for minor in PYTHONS:
        if minor not in found:
            print(f"Python {minor}: this machine does not have it, nothing is tested with it")
            continue
        interpreter, version = found[minor]
        where = pathlib.Path(".cache") / "pythons" / version
        parts.append(
            running.Part(
                name=f"Python {version}",
                command=(
                    *("make", "--no-print-directory", "test", f"PYTHON={interpreter}"),
                    *(f"VENV={where}", f"PYTEST={' '.join(paths)}"),
                ),
                limit=1000.0,
            )
        )
    return parts


def main(covered: list[str]) -> int:
    servers, missing = postgres.parts(POSTGRES, SPLIT)
    parts = [
        tests("upgrade", "tests/python/upgrade", limit=240.0, require=previous.REQUIRED),
        tests("fleet", "tests/python/fleet", limit=360.0, require=upstream.REQUIRED),
        running.Part(
            name="adoption with 100,000 jobs that wait, and as many that have ended",
            command=(sys.executable, "-m", "benchmarks.adoption"),
            limit=360.0,
        ),
        *chaos(),
        *servers,
        *pythons(covered),
    ]
    status = running.run(parts, limit=LIMIT)
    if missing and os.environ.get(postgres.REQUIRED):
        print(f"FAILED: {missing} versions of PostgreSQL are not to be had")
        return 1
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
