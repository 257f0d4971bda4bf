"""The app of a project: before Django is ready, when it becomes so, and what settings say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django import apps, db, test
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.connection import ConnectionDoesNotExist

import procrastinate
from procrastinate import app as app_module
from procrastinate import exceptions
from procrastinate.connectors import psycopg_async
from procrastinate.contrib import django
from procrastinate.contrib.django import (
    apps as django_apps,
)
from procrastinate.contrib.django import (
    db_cleanup,
    django_connector,
    procrastinate_app,
    settings,
    utils,
)
from procrastinate.contrib.django import exceptions as django_exceptions
from tests.python.django import conftest

FUTURE = """\
from procrastinate.contrib.django import app, exceptions
from procrastinate.contrib.django.procrastinate_app import FutureApp
from procrastinate import App, Blueprint

assert "FutureApp" in repr(app) and not isinstance(app, App)

@app.task(name="early")
def early(timestamp: int) -> None: ...

app.periodic(cron="* * * * *")(early)
other = Blueprint()

@other.task(name="other")
def from_other() -> None: ...

app.add_tasks_from(other, namespace="ns")
assert set(app.tasks) == {"early", "ns:other"}

for name in dir(FutureApp):
    refused = getattr(app, name)
    if type(refused).__name__ != "partial":
        continue
    try:
        refused()
    except exceptions.DjangoNotReady as exc:
        assert f"procrastinate.contrib.app.{name}() before the" in str(exc), exc
        assert "PROCRASTINATE_ON_APP_READY" in str(exc)
        print(name)
try:
    early.defer(timestamp=1)
except exceptions.DjangoNotReady:
    print("defer")
for name in ("connector", "job_manager"):
    try:
        getattr(app, name)
    except AttributeError:
        print("no", name)

import django
django.setup()

assert "DjangoApp" in repr(app)
assert app.tasks["early"] is early and early.blueprint is from_other.blueprint is not other
assert [task.task for task in app.periodic_registry.periodic_tasks.values()] == [early]
print(app.job_manager.check_connection())
"""


@pytest.fixture
def current_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[django_apps.ProcrastinateConfig]:
    """The Django app's configuration, before it is ready."""
    config = apps.apps.get_app_config("procrastinate")
    assert isinstance(config, django_apps.ProcrastinateConfig)
    monkeypatch.setattr(procrastinate_app, "current_app", procrastinate_app.FutureApp())
    yield config
    sys.modules.pop("tests.python.django.project.shop.late", None)


def new_app(**settings: Any) -> procrastinate.App:
    with test.override_settings(**settings):
        return django_apps.create_app(procrastinate.Blueprint())


def test_before_it_is_ready_tasks_are_taken_and_all_else_is_refused(shop_dsn: str) -> None:
    done = conftest.run_python(shop_dsn, "-c", FUTURE)

    refused = {
        "__enter__ __exit__ check_connection check_connection_async close close_async",
        "configure_task open open_async perform_import_paths replace_connector run_worker",
        "run_worker_async schema_manager will_configure_task with_connector",
    }
    expected = {*" ".join(refused).split(), "defer", "no connector", "no job_manager", "True"}
    assert set(done.stdout.splitlines()) == expected


def test_the_app_is_a_proxy_of_a_django_app() -> None:
    proxy: Any = django.app
    assert not isinstance(proxy, app_module.App)
    assert isinstance(procrastinate_app.current_app, django.DjangoApp)
    assert repr(django.app) == repr(procrastinate_app.current_app)
    assert isinstance(django.app.connector, django_connector.DjangoConnector)


def test_once_ready_tasks_are_found_and_the_project_is_told(
    current_app: django_apps.ProcrastinateConfig,
) -> None:
    path = "tests.python.django.project.shop.late"
    with test.override_settings(
        PROCRASTINATE_AUTODISCOVER_MODULE_NAME="late",
        PROCRASTINATE_ON_APP_READY=f"{path}.on_app_ready",
    ):
        current_app.ready()

    assert "late" in django.app.tasks
    assert [current_app.app] == sys.modules[path].SEEN
    assert current_app.app is procrastinate_app.current_app


def test_the_module_that_the_project_names_is_looked_for_in_each_app(
    current_app: django_apps.ProcrastinateConfig,
) -> None:
    with test.override_settings(PROCRASTINATE_AUTODISCOVER_MODULE_NAME="late"):
        current_app.ready()

    assert "late" in django.app.tasks


def test_nothing_is_discovered_where_the_project_says_so(
    current_app: django_apps.ProcrastinateConfig,
) -> None:
    with test.override_settings(PROCRASTINATE_AUTODISCOVER_MODULE_NAME=None):
        current_app.ready()

    assert all(name.startswith(("builtin:", "procrastinate.")) for name in django.app.tasks)


def test_import_paths_wait_until_tasks_are_needed(
    current_app: django_apps.ProcrastinateConfig,
) -> None:
    path = "tests.python.django.project.shop.late"
    with test.override_settings(PROCRASTINATE_IMPORT_PATHS=[path]):
        current_app.ready()
    assert django.app.import_paths == [path]
    assert path not in sys.modules

    django.app.perform_import_paths()

    assert "late" in django.app.tasks


def test_a_path_that_leads_nowhere_fails_the_start(
    current_app: django_apps.ProcrastinateConfig,
) -> None:
    with (
        test.override_settings(PROCRASTINATE_ON_APP_READY="nowhere.at.all"),
        pytest.raises(ModuleNotFoundError, match="nowhere"),
    ):
        current_app.ready()


def test_import_paths_that_are_one_string_are_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"not the string 'shop\.tasks'"):
        new_app(PROCRASTINATE_IMPORT_PATHS="shop.tasks")


def test_two_tasks_of_one_name_are_refused_and_not_lost() -> None:
    blueprint = procrastinate.Blueprint()
    name = "builtin:procrastinate.builtin_tasks.remove_old_jobs"
    blueprint.task(name=name)(test_two_tasks_of_one_name_are_refused_and_not_lost)

    with pytest.raises(exceptions.TaskAlreadyRegistered, match=name):
        django_apps.create_app(blueprint)


def test_defaults_are_those_of_the_settings() -> None:
    app = new_app(
        PROCRASTINATE_WORKER_DEFAULTS={"concurrency": 7},
        PROCRASTINATE_PERIODIC_DEFAULTS={"max_delay": 60},
        PROCRASTINATE_DATABASE_ALIAS="queue",
    )

    assert app.worker_defaults.get("concurrency") == 7
    assert app.periodic_defaults == {"max_delay": 60}
    assert isinstance(app.connector, django_connector.DjangoConnector)
    assert app.connector.alias == "queue"


def test_without_settings_there_are_defaults() -> None:
    app = new_app()

    assert list(app.worker_defaults) == ["task_middleware"]
    assert app.periodic_defaults == {}
    assert app.import_paths == []


def test_an_alias_that_is_no_database_is_named() -> None:
    with pytest.raises(ConnectionDoesNotExist, match="queue"):
        new_app(PROCRASTINATE_DATABASE_ALIAS="queue").check_connection()


def test_another_database_than_postgresql_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db.connections["default"], "vendor", "sqlite")
    with pytest.raises(ImproperlyConfigured, match=r"'default' is .* needs PostgreSQL"):
        django.app.check_connection()


def test_middlewares_of_the_project_stay_before_the_cleanup() -> None:
    def mine(call_next: Any, context: Any, worker: Any) -> Any:
        return call_next()

    app = new_app(PROCRASTINATE_WORKER_DEFAULTS={"task_middleware": [mine]})
    assert app.worker_defaults.get("task_middleware") == [
        mine,
        db_cleanup.close_db_connections,
        db_cleanup.close_db_connections_async,
    ]


def test_a_worker_with_middlewares_of_its_own_cleans_up_all_the_same() -> None:
    def mine(call_next: Any, context: Any, worker: Any) -> Any:
        return call_next()

    worker = django.DjangoApp(connector=django.app.connector)._worker(task_middleware=[mine])  # pyright: ignore[reportPrivateUsage] (what run_worker makes)
    assert worker.task_middleware == [
        mine,
        db_cleanup.close_db_connections,
        db_cleanup.close_db_connections_async,
    ]


def test_connector_params_are_what_psycopg_takes(shop_dsn: str) -> None:
    params = django.connector_params()

    assert params["prepare_threshold"] is None
    assert params["client_encoding"] == "UTF8"
    assert params["dbname"] == db.connections["default"].settings_dict["NAME"]
    assert {"dbname", "user", "host", "port"} >= set(params) - {
        "client_encoding",
        "prepare_threshold",
        "password",
    }


def test_the_worker_connector_is_psycopgs_to_the_same_database(shop_dsn: str) -> None:
    connector = django_connector.DjangoConnector().get_worker_connector()

    assert isinstance(connector, psycopg_async.PsycopgConnector)


def test_without_psycopg_3_the_worker_connector_is_aiopgs(
    monkeypatch: pytest.MonkeyPatch, shop_dsn: str
) -> None:
    class Aiopg:
        def __init__(self, **kwargs: Any) -> None:
            self.kwargs = kwargs

    module = type(sys)("procrastinate.contrib.aiopg")
    module.__dict__["AiopgConnector"] = Aiopg
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def no_version(name: str, major: int) -> bool:
        return False

    monkeypatch.setattr(utils, "package_is_version", no_version)

    connector: Any = django_connector.DjangoConnector().get_worker_connector()

    assert isinstance(connector, Aiopg)
    assert connector.kwargs == django.connector_params()


def test_packages_are_told_by_name_and_major_version() -> None:
    assert utils.package_is_installed("psycopg")
    assert not utils.package_is_installed("no_such_package")
    assert utils.package_is_version("psycopg", 3)
    assert not utils.package_is_version("psycopg", 2)


def test_exceptions_are_those_of_procrastinate() -> None:
    for kind in (django_exceptions.DjangoNotReady, django_exceptions.ReadOnlyModel):
        assert issubclass(kind, exceptions.ProcrastinateException)


@pytest.mark.usefixtures("shop")
def test_what_django_refuses_by_itself_is_told_in_its_words() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(exceptions.ConnectorException, match="in the current transaction"):
            django.app.job_manager.list_jobs()


def test_what_is_no_setting_is_what_it_is_on_any_object() -> None:
    assert settings.settings.__class__ is settings.Settings
