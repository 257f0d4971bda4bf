"""The tasks that every app has."""

from __future__ import annotations

import logging

import pytest

from procrastinate import app as app_module
from procrastinate import builtin_tasks
from procrastinate.connector import BaseConnector

NAME = "builtin:procrastinate.builtin_tasks.remove_old_jobs"
ALIAS = "procrastinate.builtin_tasks.remove_old_jobs"


def test_every_app_has_them_under_the_same_name_and_alias() -> None:
    apps = [app_module.App(connector=BaseConnector()) for _ in range(3)]

    for app in apps:
        task = app.tasks[NAME]
        assert app.tasks[ALIAS] is task
        assert (task.name, task.aliases, task.pass_context) == (NAME, [ALIAS], True)
        assert task.blueprint is app
        assert task.queue == "builtin"


def test_each_app_defers_its_own() -> None:
    first = app_module.App(connector=BaseConnector())
    app_module.App(connector=BaseConnector())

    assert first.tasks[NAME].configure().job_manager is first.job_manager


def test_the_one_of_the_module_defers_to_the_app_made_last() -> None:
    app_module.App(connector=BaseConnector())
    last = app_module.App(connector=BaseConnector())

    deferrer = builtin_tasks.remove_old_jobs.configure()

    assert deferrer.job_manager is last.job_manager
    assert deferrer.job.task_name == NAME


def test_jobs_of_the_builtin_tasks_go_to_a_queue_of_their_own() -> None:
    app = app_module.App(connector=BaseConnector())

    assert app.tasks[ALIAS].configure().job.queue == "builtin"


def test_that_they_are_added_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.blueprints")

    app_module.App(connector=BaseConnector())

    (record,) = caplog.records
    assert (record.levelname, record.message) == ("INFO", "Adding tasks from blueprint")
    assert {key: record.__dict__[key] for key in ("action", "namespace", "tasks")} == {
        "action": "loading_blueprint",
        "namespace": "builtin",
        "tasks": [NAME],
    }


def test_it_is_an_async_function_with_the_published_name() -> None:
    assert builtin_tasks.remove_old_jobs.full_path == ALIAS
