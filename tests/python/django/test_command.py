"""``manage.py procrastinate``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django import db
from django.core import management

from procrastinate.contrib.django import app, models
from tests.python.django.conftest import Manage
from tests.python.django.project.shop import tasks

ALL_WELL = """\
Database connection: OK
Migrations: OK
Default Django Procrastinate App: OK
Worker App: OK
"""
SEND = "tests.python.django.project.shop.tasks.send"


def call(*arguments: str) -> None:
    management.call_command("procrastinate", *arguments)


def test_a_worker_runs_what_was_deferred(shop: str, manage: Manage) -> None:
    done = manage(shop, "procrastinate", "defer", SEND, '{"order": "tea"}')
    assert "Launching a job" in done.stderr
    assert models.ProcrastinateJob.objects.get().status == "todo"

    manage(shop, "procrastinate", "worker", "--one-shot", settings={"LOGGING_CONFIG": None})

    assert models.ProcrastinateJob.objects.get().status == "succeeded"


def test_healthchecks_say_what_works(shop: str, capfd: pytest.CaptureFixture[str]) -> None:
    call("healthchecks")
    assert capfd.readouterr().out == ALL_WELL


def test_healthchecks_miss_a_migration(shop: str, capfd: pytest.CaptureFixture[str]) -> None:
    forget = "delete from django_migrations where app = 'procrastinate' and name like '0042%'"
    with db.connection.cursor() as cursor:
        cursor.execute(forget)
    with pytest.raises(management.CommandError) as raised:
        call("healthchecks")
    assert str(raised.value) == (
        "Missing procrastinate migrations. Run `python manage.py migrate procrastinate`."
    )
    assert capfd.readouterr().out == "Database connection: OK\n"

    management.call_command("migrate", "procrastinate", verbosity=0)
    call("healthchecks")


def test_the_shell_prints_the_lines_of_the_standalone_one(
    shop: str, capfd: pytest.CaptureFixture[str]
) -> None:
    job_id = tasks.send.defer(order="tea")
    call("shell", "list_jobs")
    assert capfd.readouterr().out == f"#{job_id} {SEND} on default - [todo]\n"


def test_an_error_is_a_command_error(shop: str) -> None:
    with pytest.raises(management.CommandError) as raised:
        call("defer", "nope")
    assert str(raised.value) == "'nope'\nTask cannot be imported."


def test_an_error_ends_the_program_with_one(shop: str, manage: Manage) -> None:
    done = manage(shop, "procrastinate", "defer", "nope", code=1)
    assert done.stderr == "CommandError: 'nope'\nTask cannot be imported.\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["schema"], "invalid choice: 'schema'"),
        (["--app", "a.b", "healthchecks"], "argument command: invalid choice: 'a.b'"),
        (["healthchecks", "--traceback"], "unrecognized arguments: --traceback"),
        (["--log-level", "info", "healthchecks"], "argument command: invalid choice: 'info'"),
    ],
)
def test_what_the_project_decides_is_no_option(
    arguments: list[str], complaint: str, shop: str
) -> None:
    with pytest.raises(management.CommandError, match=complaint):
        call(*arguments)


def test_the_help_shows_the_commands_and_hides_verbosity(
    shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = management.load_command_class("procrastinate.contrib.django", "procrastinate")
    command.print_help("manage.py", "procrastinate")

    out = capsys.readouterr().out
    assert "Access procrastinate commands" in out
    assert "{worker,defer,healthchecks,shell,retry,cancel}" in out
    assert "--verbosity" not in out.replace("--version", "")


def test_the_environment_names_no_other_app(
    shop: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROCRASTINATE_APP", "no.such.app")
    monkeypatch.setenv("PROCRASTINATE_DEFER_QUEUE", "named")
    call("defer", SEND, '{"order": "tea"}')
    assert models.ProcrastinateJob.objects.get().queue_name == "named"


def test_the_connector_is_replaced_only_for_the_command(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = app.connector
    used: list[Any] = []

    async def look(parsed: dict[str, Any]) -> None:
        used.append(parsed["app"].connector)

    command: Callable[..., Any] = look
    monkeypatch.setattr("procrastinate.cli.execute_command", command)
    call("healthchecks")

    assert type(used[0]).__name__ == "PsycopgConnector"
    assert app.connector is before
