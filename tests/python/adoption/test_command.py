"""What the command line says of an adoption, and of the way back."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg

from tests.python.adoption import old
from tools import upstream


def schema(dsn: str, *arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``procrastinate schema`` on an app that has nothing but a database."""
    program = (
        "import os, procrastinate\n"
        "from procrastinate.cli import main\n"
        "app = procrastinate.App(connector=procrastinate.PsycopgConnector("
        "conninfo=os.environ['ADOPTION_DSN']))\n"
        "main()\n"
    )
    command = [sys.executable, "-c", program, "--app=__main__.app", "schema", *arguments]
    environment = {**os.environ, "ADOPTION_DSN": dsn}
    return subprocess.run(
        command, env=environment, input=script, capture_output=True, text=True, check=False
    )


def test_a_plan_says_what_will_be_done_and_changes_nothing(empty_dsn: str) -> None:
    old.bring(empty_dsn, "03.01.00_01_pre")
    old.fill(empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(
            "create function mine() returns trigger language plpgsql"
            " as 'begin return null; end'; create trigger audit after insert"
            " on procrastinate_jobs for each statement execute function mine(); analyze"
        )
        before = old.described(empty_dsn)
        connection.execute("begin; select 1")
        said = schema(empty_dsn, "--plan")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("adoption of the schema of 3.x\n  there are about 2")
    assert "your own trigger audit on procrastinate_jobs stays" in said.stdout
    assert "gone afterwards" in said.stdout
    assert "procrastinate_defer_job_v1" in said.stdout
    assert old.described(empty_dsn) == before


def test_the_commands_lead_there_and_back(empty_dsn: str) -> None:
    upstream.apply_schema(empty_dsn)
    before = old.described(empty_dsn)
    there = schema(empty_dsn, "--migrate")
    assert there.stdout == "adoption of the schema of 3.x\n", there.stderr
    assert schema(empty_dsn, "--check").returncode == 0
    back = schema(empty_dsn, "--revert", "-", script=upstream.read_schema())
    assert back.returncode == 0, back.stderr
    assert old.described(empty_dsn) == before
