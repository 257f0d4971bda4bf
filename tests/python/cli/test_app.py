"""Finding the app, and doing without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procrastinate import cli, exceptions

if TYPE_CHECKING:
    import pathlib

    from .conftest import Run

# Not written out: Python 3.13 takes the indentation out of docstrings.
MISSING = f"{str(exceptions.MissingApp()).strip()}\n"


@pytest.mark.parametrize(
    "path", ["nope.app", "cliapp.nope", "cliapp", "cliapp:app", "cliapp.no_app", "cliapp.add"]
)
def test_a_path_that_leads_to_no_app_is_a_usage_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for outcome in (run("worker", app=path),):
        assert outcome.status == 2
        assert outcome.err.startswith("usage: procrastinate [-h]")
        assert outcome.err.endswith(f"procrastinate: error: Could not load app from {path}\n")

    monkeypatch.setenv("PROCRASTINATE_APP", path)
    assert run("worker", app=None).err.endswith(f"Could not load app from {path}\n")


def test_an_app_that_is_not_async_is_a_usage_error(run: Run) -> None:
    outcome = run("worker", app="cliapp.sync_app")

    assert outcome.status == 2
    assert outcome.err.endswith(
        "procrastinate: error: The connector provided by the app is not async. "
        "Please use an async connector for the procrastinate CLI.\n"
    )


def test_help_does_not_need_the_variable_to_be_right(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_APP", "nope.app")

    assert run("--help", app=None).status == 0


def test_the_option_comes_before_the_variable_which_is_not_even_imported(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_APP", "nope.app")

    assert run("schema", "--migrations-path").status == 0


def test_an_error_inside_of_the_module_of_the_app_shows_where_it_is(
    run: Run, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "brokenapp.py").write_text("1 / 0\n")

    with pytest.raises(ZeroDivisionError):
        run("worker", app="brokenapp.app")


@pytest.mark.parametrize(
    ("args", "before"),
    [
        (["worker"], "Launching a worker on all queues\n"),
        (["schema", "--apply"], "Applying schema\n"),
        (["schema", "--migrate"], "Applying migrations\n"),
        (["schema", "--check"], "Checking schema\n"),
        (["healthchecks"], ""),
        (["defer", "foo", "--unknown"], "Launching a job: foo()\n"),
    ],
)
@pytest.mark.parametrize("app", [None, ""])
def test_without_an_app_what_needs_a_database_says_what_is_missing(
    run: Run, args: list[str], before: str, app: str | None
) -> None:
    outcome = run(*args, app=app)

    assert (outcome.status, outcome.out, outcome.err) == (1, "", before + MISSING)


def test_without_an_app_no_task_is_known(run: Run) -> None:
    outcome = run("defer", "foo", app=None)

    assert (outcome.status, outcome.err) == (1, "'foo'\nTask cannot be imported.\n")


def test_without_an_app_the_schema_can_be_read(run: Run) -> None:
    outcome = run("schema", "--read", app=None)

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("-- Procrastinate Schema\n")


async def test_the_connector_that_stands_in_can_only_be_opened_and_closed() -> None:
    connector = cli.MissingAppConnector()
    connector.open()
    connector.close()
    await connector.open_async()
    await connector.close_async()

    assert connector.get_sync_connector() is connector
    with pytest.raises(exceptions.MissingApp):
        connector.execute_query_all("select 1")
    with pytest.raises(exceptions.MissingApp):
        await connector.execute_query_async("select 1")
