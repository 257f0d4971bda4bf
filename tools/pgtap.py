"""
pgTAP, the SQL test functions: from the system, or from its Debian package.

It is one SQL script, and needs no server of its own version:
    python -m tools.pgtap DATABASE-URL    puts it in a schema "tap" of that database
"""

from __future__ import annotations

import pathlib
import re
import sys

import psycopg

from tools import debian

SCHEMA = "tap"
SYSTEM = "usr/share/postgresql/*/extension/pgtap--*.sql"
REQUIRED = "PROCRASTINATE_REQUIRE_PGTAP"
MISSING = "pgTAP is neither installed nor to be had as a Debian package"


def find() -> pathlib.Path | None:
    """Where its script is."""
    return _script(pathlib.Path("/")) or _packaged()


def install(dsn: str, script: pathlib.Path) -> None:
    """Put it in a schema of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create schema {SCHEMA}".encode())
        connection.execute(f"grant usage on schema {SCHEMA} to public".encode())
        connection.execute(f"set search_path to {SCHEMA}".encode())
        connection.execute(script.read_bytes())


def _packaged() -> pathlib.Path | None:
    root = debian.unpacked(r"postgresql-(\d+)-pgtap")
    return root and _script(root)


def _script(root: pathlib.Path) -> pathlib.Path | None:
    # A full script has one version in its name, an upgrade two, and parts of it a word more.
    full = [
        path for path in root.glob(SYSTEM) if re.fullmatch(r"pgtap--[\d.]+\.sql", path.name)
    ]
    return max(
        full, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)], default=None
    )


if __name__ == "__main__":
    found = find()
    if found is None:
        raise SystemExit(MISSING)
    for argument in sys.argv[1:]:
        install(argument, found)
    print(found)
