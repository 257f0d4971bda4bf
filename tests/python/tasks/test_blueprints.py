"""Blueprints, namespaces, aliases and clashes."""

from __future__ import annotations

import logging
import runpy
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import app as app_module
from procrastinate import exceptions
from procrastinate.blueprints import Blueprint
from procrastinate.connector import BaseConnector

if TYPE_CHECKING:
    import pathlib

BUILTIN = [
    "builtin:procrastinate.builtin_tasks.remove_old_jobs",
    "procrastinate.builtin_tasks.remove_old_jobs",
]


@pytest.fixture
def app() -> app_module.App:
    """An app that never gets to a database."""
    return app_module.App(connector=BaseConnector())


def f() -> None: ...


def own_names(blueprint: Blueprint) -> list[str]:
    return [name for name in blueprint.tasks if name not in BUILTIN]


def test_the_namespace_is_named(app: app_module.App) -> None:
    add_tasks_from: Any = app.add_tasks_from

    with pytest.raises(TypeError, match="positional argument"):
        add_tasks_from(Blueprint(), "ns")


def test_a_task_is_known_by_its_name_and_each_alias(app: app_module.App) -> None:
    task = app.task(name="t", aliases=["a", "b"])(f)

    assert own_names(app) == ["t", "a", "b"]
    assert app.tasks["t"] is app.tasks["a"] is app.tasks["b"] is task


@pytest.mark.parametrize(
    ("name", "aliases", "taken"),
    [
        ("t", [], "t"),
        ("a", [], "a"),
        ("new", ["t"], "t"),
        ("new", ["a"], "a"),
    ],
)
def test_a_name_that_is_taken_leaves_nothing_behind(
    app: app_module.App, name: str, aliases: list[str], taken: str
) -> None:
    app.task(name="t", aliases=["a"])(f)

    with pytest.raises(
        exceptions.TaskAlreadyRegistered,
        match=rf"^A task named {taken} was already registered$",
    ):
        app.task(name=name, aliases=aliases)(f)

    assert own_names(app) == ["t", "a"]


@pytest.mark.parametrize("aliases", [["t"], ["a", "a"]])
def test_a_task_may_repeat_a_name_of_its_own(app: app_module.App, aliases: list[str]) -> None:
    task = app.task(name="t", aliases=aliases)(f)

    assert own_names(app) == list(dict.fromkeys(["t", *aliases]))
    assert all(app.tasks[name] is task for name in own_names(app))
    assert task.aliases == aliases


def test_an_alias_can_be_added_and_is_no_attribute_of_the_task(app: app_module.App) -> None:
    task = app.task(name="t")(f)

    app.add_task_alias(task, "alias")

    assert app.tasks["alias"] is task
    assert task.aliases == []


def test_an_alias_that_is_taken_is_refused(app: app_module.App) -> None:
    task = app.task(name="t")(f)

    with pytest.raises(exceptions.TaskAlreadyRegistered, match="A task named t was already"):
        app.add_task_alias(task, "t")


def test_tasks_of_a_blueprint_get_its_namespace_and_belong_to_the_app(
    app: app_module.App,
) -> None:
    blueprint = Blueprint()
    task = blueprint.task(name="c", aliases=["d"])(f)

    app.add_tasks_from(blueprint, namespace="ns")

    assert app.tasks["ns:c"] is app.tasks["ns:d"] is task
    assert (task.name, task.aliases) == ("ns:c", ["ns:d"])
    assert task.blueprint is app
    assert task.configure().job.task_name == "ns:c"


def test_blueprints_can_be_nested(app: app_module.App) -> None:
    a, b = Blueprint(), Blueprint()
    task = b.task(name="t")(f)
    a.add_tasks_from(b, namespace="b")
    with pytest.raises(exceptions.UnboundTaskError):
        task.configure()

    app.add_tasks_from(a, namespace="a")

    assert own_names(app) == ["a:b:t"]
    assert task.name == "a:b:t"


def test_tasks_added_to_the_blueprint_later_do_not_reach_the_app(app: app_module.App) -> None:
    blueprint = Blueprint()
    app.add_tasks_from(blueprint, namespace="ns")

    blueprint.task(name="late")(f)

    assert own_names(app) == []


def test_a_blueprint_added_twice_is_prefixed_twice(app: app_module.App) -> None:
    blueprint = Blueprint()
    blueprint.task(name="c")(f)
    app.add_tasks_from(blueprint, namespace="ns")

    app.add_tasks_from(blueprint, namespace="ns")

    assert own_names(app) == ["ns:c", "ns:ns:c"]


def test_two_blueprints_may_share_a_namespace(app: app_module.App) -> None:
    for name in ("a", "b"):
        blueprint = Blueprint()
        blueprint.task(name=name)(f)
        app.add_tasks_from(blueprint, namespace="ns")

    assert own_names(app) == ["ns:a", "ns:b"]


def test_a_clash_of_names_changes_nothing_on_either_side(app: app_module.App) -> None:
    app.task(name="w:two")(f)
    blueprint = Blueprint()
    tasks = [blueprint.task(name=name)(f) for name in ("one", "two")]

    with pytest.raises(
        exceptions.TaskAlreadyRegistered, match=r"^A namespace named w was already registered$"
    ):
        app.add_tasks_from(blueprint, namespace="w")

    assert own_names(app) == ["w:two"]
    assert [task.name for task in tasks] == list(blueprint.tasks) == ["one", "two"]


def test_adding_tasks_is_logged(app: app_module.App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.blueprints")
    blueprint = Blueprint()
    blueprint.task(name="c", aliases=["former"])(f)

    app.add_tasks_from(blueprint, namespace="ns")

    (record,) = caplog.records
    assert (record.levelname, record.message) == ("INFO", "Adding tasks from blueprint")
    assert {key: record.__dict__[key] for key in ("action", "namespace", "tasks")} == {
        "action": "loading_blueprint",
        "namespace": "ns",
        "tasks": ["ns:c", "ns:former"],
    }


def test_tasks_that_could_not_be_added_are_not_logged(
    app: app_module.App, caplog: pytest.LogCaptureFixture
) -> None:
    app.task(name="ns:c")(f)
    blueprint = Blueprint()
    blueprint.task(name="c")(f)
    caplog.set_level(logging.INFO, logger="procrastinate.blueprints")

    with pytest.raises(exceptions.TaskAlreadyRegistered):
        app.add_tasks_from(blueprint, namespace="ns")

    assert caplog.records == []


def test_periodic_tasks_come_along_under_their_new_names(app: app_module.App) -> None:
    blueprint = Blueprint()

    @blueprint.periodic(cron="* * * * *", periodic_id="z")
    @blueprint.task(name="p")
    def p(timestamp: int) -> None: ...  # pyright: ignore[reportUnusedFunction]  (registered)

    app.add_tasks_from(blueprint, namespace="k")

    assert list(app.periodic_registry.periodic_tasks) == [("k:p", "z")]


@pytest.mark.parametrize("kind", ["App", "Blueprint"])
def test_one_made_in_the_main_module_is_warned_of(
    kind: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "x.py"
    program.write_text(
        "from procrastinate.app import App\n"
        "from procrastinate.blueprints import Blueprint\n"
        "from procrastinate.connector import BaseConnector\n"
        f"{'App(connector=BaseConnector())' if kind == 'App' else 'Blueprint()'}\n"
    )

    runpy.run_path(str(program), run_name="__main__")

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("procrastinate.blueprints", "WARNING")
    assert record.__dict__["action"] == "app_defined_in___main__"
    assert record.message == (
        f"{kind} is instantiated in the main Python module ({program}). See "
        "https://procrastinate.readthedocs.io/en/stable/discussions.html#top-level-app"
    )


def test_one_made_in_any_other_module_is_not(caplog: pytest.LogCaptureFixture) -> None:
    app_module.App(connector=BaseConnector())
    Blueprint()

    assert caplog.records == []
