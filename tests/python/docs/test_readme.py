"""The tour of the README runs, block after block, and its comments are true."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable

import psycopg
import psycopg.conninfo
import pytest

ROOT = pathlib.Path(__file__).parents[3]
TOUR = (ROOT / "README.md").read_text().partition("## Ten minutes")[2].partition("\n## ")[0]

BLOCK = re.compile(r"^```(?P<language>python|sh|sql)\n(?P<text>.*?)^```$", re.M | re.S)
FILE = re.compile(r"# (?P<name>\w+\.py)\n")
VARIABLES = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
# Top-level await, as an asyncio REPL has it.
RUN = """\
import ast, asyncio, sys
code = compile(sys.stdin.read(), "README", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(eval(code, {"__name__": "tour"}))
"""

Psql = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(empty_dsn: str) -> dict[str, str]:
    """What the reader exported, but for the name of the database."""
    given = psycopg.conninfo.conninfo_to_dict(empty_dsn)
    exported = re.findall(r"^export (.*)$", TOUR, re.M)
    assert exported
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "PROCRASTINATE_"))
        },
        **dict(word.split("=", 1) for line in exported for word in shlex.split(line)),
        **{name: str(given[key]) for key, name in VARIABLES.items() if given.get(key)},
        "PGDATABASE": str(given["dbname"]),
    }


def test_the_tour_runs_and_says_the_truth(
    environment: dict[str, str], empty_dsn: str, tmp_path: pathlib.Path, psql: Psql
) -> None:
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("create table users (id bigint primary key, name text)")

    def run(*command: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": os.pathsep.join([".", str(ROOT)])},
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    said = ""
    for block in BLOCK.finditer(TOUR):
        text = block["text"]
        if block["language"] == "sql":
            answer = psql(empty_dsn, "-A", "-t", script=text)
            assert answer.returncode == 0, answer.stderr
            said += answer.stdout
        elif block["language"] == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                said += run("-m", program, *arguments) if program != "export" else ""
        elif saved := FILE.match(text):
            (tmp_path / saved["name"]).write_text(text)
        else:
            run("-c", RUN, given=text)

    assert "Welcome, user 42!" in said
    assert "0 live workers serve queue mail" in said  # why job 2 does not run
    assert said.endswith("\nf\n")  # the retry; and nothing for the check
    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute("select id, status::text, lock from procrastinate_jobs")
        assert sorted(rows) == [
            (1, "succeeded", None),
            (2, "todo", None),
            (3, "todo", "user-44"),
            (4, "todo", "user-45"),
        ]
