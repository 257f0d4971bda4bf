"""What the commands that make, change and check the database do, and what they say."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    import pathlib

    import psycopg

    from .conftest import Run, Start, Terminal

pytestmark = pytest.mark.usefixtures("database")


# schema


def test_the_schema_that_is_read_makes_an_empty_database_ours(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setenv("TEST_DSN", empty_dsn)
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(run("schema", "--read").out.encode())

    assert run("healthchecks").status == 0


@pytest.mark.parametrize("args", [["--apply"], []])
def test_the_schema_is_applied_to_an_empty_database(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = run("schema", *args)

    assert (outcome.status, outcome.out, outcome.err) == (0, "", "Applying schema\nDone\n")
    assert run("defer", "cliapp.add").status == 0


def test_a_schema_that_is_there_can_not_be_applied(run: Run) -> None:
    outcome = run("schema", "--apply")

    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("Applying schema\n")
    assert "Done" not in outcome.err


def test_migrating_an_empty_database_applies_every_migration_once(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    first = run("schema", "--migrate")
    second = run("schema", "--migrate")

    assert (first.status, second.status) == (0, 0)
    assert first.out.splitlines()
    assert second.out == ""
    assert first.err == second.err == "Applying migrations\nDone\n"
    assert run("schema", "--check").status == 0


def test_a_database_that_differs_from_the_lock_is_an_error_that_names_the_object(
    run: Run, conn: psycopg.Connection
) -> None:
    conn.execute("drop view procrastinate_locks")

    outcome = run("schema", "--check")

    assert outcome.status == 1
    assert "procrastinate_locks" in outcome.out
    assert outcome.err == (
        "Checking schema\nThe database does not have the schema of this version.\n"
    )


def test_on_a_terminal_a_long_command_says_how_far_it_is(
    terminal: Terminal, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = terminal("schema", "--migrate")

    assert outcome.status == 0
    first, shown, last, end = outcome.out.split("\n")
    assert (first, last, end) == ("Applying migrations", "Done", "")
    # each update goes back to the start of the line and erases it, and so does the end
    *updates, after = shown.split("\r\x1b[K")
    assert updates[1].startswith("0 s")
    assert after == "04.00.00_01_pre_baseline"


def test_roles_are_created_once_under_the_names_that_are_given(
    run: Run, conn: psycopg.Connection
) -> None:
    name = f"procrastinate_made_{os.getpid()}"
    parts = ("worker", "operator", "auditor")
    args = [f"--role=producer={name}", *(f"--role={part}=" for part in parts)]
    try:
        first = run("schema", "--roles", *args)
        second = run("schema", "--roles", *args)
    finally:
        conn.execute(f"drop owned by {name}; drop role {name}".encode())

    assert (first.status, first.out) == (0, f"{name}: producer, created\n")
    assert (second.status, second.out) == (0, f"{name}: producer\n")


@pytest.mark.parametrize("role", ["producer", "owner=somebody"])
def test_a_role_of_no_part_is_a_usage_error(run: Run, role: str) -> None:
    outcome = run("schema", "--roles", f"--role={role}")

    assert (outcome.status, outcome.out) == (2, "")
    assert f"Invalid role: '{role}'. Expected producer, worker" in outcome.err


@pytest.mark.parametrize("command", ["--apply", "--migrate"])
async def test_what_is_done_just_now_is_shown_until_it_is_done(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from procrastinate import App, PsycopgConnector
    from procrastinate.cli import commands, progress

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    monkeypatch.setattr(progress, "TICK", 0)
    app = App(connector=PsycopgConnector(conninfo=empty_dsn, min_size=1))
    names = ["apply", "migrate", "plan", "check", "read", "migrations_path"]
    flags = {**dict.fromkeys(names, False), "revert": None}

    async with app.open_async():
        await commands.schema(app, **cast(Any, {**flags, command.removeprefix("--"): True}))

    shown = stream.getvalue()
    assert shown.endswith("\r\x1b[KDone\n")
    assert ("\r\x1b[K0 s: 04.00.00_01_pre_baseline" in shown) is (command == "--migrate")
    assert "\r\x1b[K0 s" in shown


def test_the_path_of_the_migrations_is_data_and_comes_first(run: Run) -> None:
    import pathlib

    outcome = run("schema", "--migrations-path", "--read", "--apply")

    assert (outcome.status, outcome.err) == (0, "")
    assert list(pathlib.Path(outcome.out.strip()).glob("*.sql"))


def test_a_reader_that_has_read_enough_is_no_reason_for_words(start: Start) -> None:
    process = start("schema", "--read")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "-- Procrastinate Schema\n"
    process.stdout.close()

    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 1


# healthchecks


def test_a_healthy_app_is_ok(run: Run) -> None:
    outcome = run("healthchecks")

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "App configuration: OK",
        "DB connection: OK",
        "Found procrastinate_jobs table: OK",
    ]


def test_a_database_without_our_tables_is_not_healthy(
    run: Run, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DSN", empty_dsn)

    outcome = run("healthchecks")

    assert outcome.status == 1
    assert outcome.out.splitlines() == ["App configuration: OK", "DB connection: OK"]
    assert outcome.err == (
        "Connection to the database works but the procrastinate_jobs table was not found. "
        "Have you applied database migrations (see `procrastinate schema -h`)?\n"
    )


def test_a_database_that_can_not_be_reached_is_an_error_that_says_so(
    run: Run, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "downapp.py").write_text(
        "import procrastinate\n"
        "app = procrastinate.App(connector=procrastinate.PsycopgConnector("
        "conninfo='host=127.0.0.1 port=1', timeout=0.2, min_size=1))\n"
    )

    outcome = run("healthchecks", app="downapp.app")

    assert (outcome.status, outcome.out) == (1, "")
    assert "pool initialization incomplete after 0.2 sec" in outcome.err.splitlines()


def test_another_program_can_check_what_it_likes(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse
    import asyncio

    from procrastinate import App, cli

    async def check(app: App) -> None:
        print("Mine:", json.dumps(await app.check_connection_async()))

    parser = argparse.ArgumentParser()
    cli.add_arguments(parser, include_app=False, custom_healthchecks=check)
    app = cli.load_app("cliapp.app")
    asyncio.run(cli.execute_command({**vars(parser.parse_args(["healthchecks"])), "app": app}))

    assert capsys.readouterr().out == "Mine: true\n"
