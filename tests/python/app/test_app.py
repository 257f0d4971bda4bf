"""The app: opening, closing, connectors, running a worker."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

import psycopg_pool
import pytest

import procrastinate
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector, exceptions, jobs, schema
from procrastinate.connector import BaseConnector

if TYPE_CHECKING:
    import psycopg


def test_the_package_publishes_what_its_predecessor_did() -> None:
    assert sorted(procrastinate.__all__) == [
        "App",
        "BaseConnector",
        "BaseRetryStrategy",
        "Blueprint",
        "JobContext",
        "PsycopgConnector",
        "RetryDecision",
        "RetryStrategy",
        "SyncPsycopgConnector",
    ]
    assert procrastinate.__version__.startswith("4.")
    assert procrastinate.metadata.extract_metadata()["version"] == procrastinate.__version__


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    package: Any = procrastinate

    with pytest.raises(AttributeError, match="module 'procrastinate' has no attribute 'nope'"):
        _ = package.nope


@pytest.mark.parametrize("name", ["AiopgConnector", "Psycopg2Connector"])
def test_connectors_that_moved_say_where(name: str) -> None:
    with pytest.raises(exceptions.MovedElsewhere, match=rf"procrastinate\.contrib\..*{name}$"):
        getattr(procrastinate, name)()


def test_a_distribution_that_is_not_installed_has_no_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(procrastinate.metadata, "DISTRIBUTION", "not-a-distribution-at-all")

    assert procrastinate.metadata.extract_metadata()["version"] == "0.0.0"


def test_the_connector_is_mandatory() -> None:
    no_arguments: dict[str, Any] = {}

    with pytest.raises(TypeError, match="connector"):
        App(**no_arguments)


def test_an_app_has_what_it_was_given_or_nothing() -> None:
    connector = BaseConnector()
    app = App(connector=connector)

    assert app.connector is app.job_manager.connector is connector
    assert (app.import_paths, app.worker_defaults, app.periodic_defaults) == ([], {}, {})

    full = App(
        connector=connector,
        import_paths=["json"],
        worker_defaults={"concurrency": 3},
        periodic_defaults={"max_delay": 5},
    )
    assert (full.import_paths, full.worker_defaults, full.periodic_defaults) == (
        ["json"],
        {"concurrency": 3},
        {"max_delay": 5},
    )


def test_the_schema_manager_uses_the_connector_of_the_app() -> None:
    app = App(connector=BaseConnector())

    assert isinstance(app.schema_manager, schema.SchemaManager)
    assert app.schema_manager.connector is app.connector


def test_an_app_is_found_by_its_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pathapp.py").write_text(
        "import procrastinate\n"
        "app = procrastinate.App(connector=procrastinate.PsycopgConnector())\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert App.from_path("pathapp.app") is sys.modules["pathapp"].app


def test_a_path_that_leads_to_something_else_is_refused() -> None:
    with pytest.raises(exceptions.LoadFromPathError, match="is not of type App but function"):
        App.from_path("json.dumps")


def test_import_paths_are_imported_and_that_is_logged(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.app")
    (tmp_path / "somewhere.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    app = App(connector=BaseConnector(), import_paths=["somewhere"])
    app.perform_import_paths()
    app.perform_import_paths()  # has nothing more to do

    assert "somewhere" in sys.modules
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("DEBUG", "All tasks imported")
    assert record.__dict__["action"] == "imported_tasks"


def test_a_task_of_an_import_path_is_configured_by_name_with_its_own_defaults(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(connector=BaseConnector(), import_paths=["module_of_tasks"])
    (tmp_path / "module_of_tasks.py").write_text(
        "import app_of_the_test\n"
        "app_of_the_test.app.task(name='late', queue='q')(lambda: None)\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = types.ModuleType("app_of_the_test")
    monkeypatch.setattr(module, "app", app, raising=False)
    monkeypatch.setitem(sys.modules, "app_of_the_test", module)

    assert app.configure_task("late", allow_unknown=False).job.queue == "q"


def test_an_import_path_that_is_missing_is_looked_for_each_time() -> None:
    app = App(connector=BaseConnector(), import_paths=["no.such.module"])

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            app.configure_task("late")


# opening


def test_an_app_that_is_not_open_says_so(async_app: App) -> None:
    with pytest.raises(exceptions.AppNotOpen):
        async_app.configure_task("t").defer()


async def test_an_app_that_is_not_open_says_so_in_async_code(async_app: App) -> None:
    with pytest.raises(exceptions.AppNotOpen):
        await async_app.configure_task("t").defer_async()
    with pytest.raises(exceptions.AppNotOpen):
        await async_app.run_worker_async(wait=False)


def test_opening_returns_the_app_and_leaving_the_block_closes_it(async_app: App) -> None:
    assert async_app.open() is async_app
    with async_app as entered:
        assert entered is async_app
        assert async_app.check_connection()

    with pytest.raises(exceptions.AppNotOpen):
        async_app.check_connection()


async def test_opening_in_async_code_returns_the_app_and_leaving_the_block_closes_it(
    async_app: App,
) -> None:
    async with async_app.open_async() as entered:
        assert entered is async_app
        assert await async_app.check_connection_async()
    with pytest.raises(exceptions.AppNotOpen):
        await async_app.check_connection_async()

    assert await async_app.open_async() is async_app
    assert await async_app.check_connection_async()
    await async_app.close_async()
    with pytest.raises(exceptions.AppNotOpen):
        await async_app.check_connection_async()


async def test_opening_and_closing_twice_is_harmless(async_app: App) -> None:
    await async_app.open_async()
    await async_app.open_async()
    assert await async_app.check_connection_async()

    await async_app.close_async()
    await async_app.close_async()


def test_opening_and_closing_twice_in_sync_code_is_harmless(async_app: App) -> None:
    async_app.open()
    async_app.open()
    assert async_app.check_connection()

    async_app.close()
    async_app.close()


async def test_an_app_may_be_opened_for_sync_code_and_then_for_async_code(
    async_app: App,
) -> None:
    deferrer = async_app.configure_task("t")
    async_app.open()
    assert deferrer.defer() == 1
    with pytest.raises(exceptions.AppNotOpen):
        await deferrer.defer_async()

    async with async_app.open_async():
        assert await deferrer.defer_async() == 2
        assert await asyncio.to_thread(deferrer.defer) == 3
        with pytest.raises(RuntimeError, match="just await the async function directly"):
            deferrer.defer()
    async_app.close()


def test_the_connection_is_checked_for_our_table(empty_dsn: str) -> None:
    with App(connector=SyncPsycopgConnector(conninfo=empty_dsn, min_size=1)).open() as app:
        assert not app.check_connection()


async def test_a_pool_of_the_callers_is_used_and_left_open(async_app: App, dsn: str) -> None:
    async with psycopg_pool.AsyncConnectionPool(dsn, min_size=1, open=False) as pool:
        async with async_app.open_async(pool):
            assert await async_app.configure_task("t").defer_async() == 1

        async with pool.connection() as connection:
            cursor = await connection.execute("select count(*) from procrastinate_jobs")
            assert await cursor.fetchone() == (1,)


def test_a_pool_of_the_callers_is_used_in_sync_code_and_left_open(dsn: str) -> None:
    app = App(connector=SyncPsycopgConnector())
    with psycopg_pool.ConnectionPool(dsn, min_size=1, open=False) as pool:
        with app.open(pool):
            assert app.configure_task("t").defer() == 1

        with pool.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)


async def test_a_sync_connector_can_not_be_used_in_async_code(sync_app: App) -> None:
    for use in (
        sync_app.configure_task("t").defer_async,
        sync_app.check_connection_async,
        sync_app.run_worker_async,
        sync_app.close_async,
    ):
        with pytest.raises(exceptions.SyncConnectorConfigurationError):
            await use()
    with pytest.raises(exceptions.SyncConnectorConfigurationError):
        await sync_app.open_async()


# replacing the connector


async def test_the_connector_can_be_replaced_for_a_while(open_app: App, dsn: str) -> None:
    other = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    before = open_app.connector
    task = open_app.task(name="t")(print)

    with open_app.replace_connector(other) as app:
        assert app is open_app
        assert app.connector is app.job_manager.connector is other
        with app.open():
            assert await asyncio.to_thread(task.defer) == 1

    assert open_app.connector is open_app.job_manager.connector is before


def test_the_connector_is_put_back_after_an_error() -> None:
    before = BaseConnector()
    app = App(connector=before)

    with pytest.raises(ZeroDivisionError), app.replace_connector(BaseConnector()):
        raise ZeroDivisionError

    assert app.connector is app.job_manager.connector is before


def test_another_app_can_share_the_tasks(sync_app: App) -> None:
    connector = BaseConnector()

    other = sync_app.with_connector(connector)

    assert other is not sync_app
    assert other.connector is connector
    assert other.tasks is sync_app.tasks
    assert other.periodic_registry is sync_app.periodic_registry


# sync code beside a loop


async def test_sync_code_in_a_thread_shares_the_open_connector(open_app: App) -> None:
    assert await asyncio.to_thread(open_app.configure_task("t").defer) == 1


async def test_sync_code_in_the_thread_of_the_loop_is_told_to_await(open_app: App) -> None:
    with pytest.raises(RuntimeError, match="just await the async function directly"):
        open_app.configure_task("t").defer()


# running a worker


def statuses(conn: psycopg.Connection) -> list[str]:
    return [row[0] for row in conn.execute("select status from procrastinate_jobs order by id")]


def test_a_sync_program_runs_a_worker_on_an_app_that_it_did_not_open(
    async_app: App, conn: psycopg.Connection
) -> None:
    ran: list[int] = []

    @async_app.task(name="t")
    def remember(value: int) -> None:  # pyright: ignore[reportUnusedFunction]  (registered)
        ran.append(value)

    with async_app.open():
        async_app.configure_task("t").defer(value=1)

    async_app.run_worker(wait=False)

    assert (ran, statuses(conn)) == ([1], ["succeeded"])


def test_a_sync_program_runs_a_worker_on_an_app_that_it_opened(
    async_app: App, conn: psycopg.Connection
) -> None:
    ran: list[int] = []

    @async_app.task(name="t")
    def remember(value: int) -> None:  # pyright: ignore[reportUnusedFunction]  (registered)
        ran.append(value)

    with async_app.open():
        async_app.configure_task("t").defer(value=1)
        async_app.run_worker(wait=False)
        async_app.configure_task("t").defer(value=2)

    assert (ran, statuses(conn)) == ([1], ["succeeded", "todo"])


@pytest.mark.parametrize("is_open", [True, False])
def test_a_worker_runs_on_an_app_with_a_sync_connector(
    dsn: str, conn: psycopg.Connection, is_open: bool
) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=4)
    app = App(connector=connector)
    ran: list[tuple[str, bool]] = []

    @app.task(name="first")
    def first() -> None:
        ran.append(("first", isinstance(app.connector, PsycopgConnector)))
        # In a worker's thread sync code defers like anywhere else.
        second.defer()

    @app.task(name="second")
    async def second() -> None:
        ran.append(("second", threading.current_thread() is threading.main_thread()))

    with app.open():
        first.defer()
        if is_open:
            app.run_worker(wait=False)
    if not is_open:
        app.run_worker(wait=False)

    assert ran == [("first", True), ("second", True)]
    assert statuses(conn) == ["succeeded", "succeeded"]
    assert app.connector is app.job_manager.connector is connector


def test_a_worker_can_not_run_on_a_connector_without_an_async_twin() -> None:
    with pytest.raises(exceptions.SyncConnectorConfigurationError):
        App(connector=BaseConnector()).run_worker(wait=False)


async def test_options_of_a_call_come_before_the_defaults_of_the_app(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="procrastinate.worker")
    app = App(
        connector=PsycopgConnector(conninfo=dsn, min_size=1),
        worker_defaults={"name": "default", "queues": ["a", "b"], "wait": False},
    )

    async with app.open_async():
        await app.run_worker_async(name="call")

    assert (caplog.records[0].name, caplog.records[0].message) == (
        "procrastinate.worker.call",
        "Starting worker on queues a, b",
    )


async def test_an_unknown_option_of_the_worker_is_refused(open_app: App) -> None:
    option: dict[str, Any] = {"foo": 1}

    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        await open_app.run_worker_async(**option)


async def test_a_wrong_delete_condition_is_refused(open_app: App) -> None:
    with pytest.raises(ValueError, match="'bogus' is not a valid DeleteJobCondition"):
        await open_app.run_worker_async(delete_jobs="bogus")


async def test_cancelling_a_worker_lets_its_jobs_end(
    open_app: App, conn: psycopg.Connection
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    @open_app.task
    async def slow() -> None:
        started.set()
        await go_on.wait()

    await slow.defer_async()
    worker = asyncio.create_task(open_app.run_worker_async())
    await asyncio.wait_for(started.wait(), timeout=10)

    worker.cancel()
    await asyncio.wait([worker], timeout=0.1)
    assert not worker.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(worker, timeout=10)

    assert statuses(conn) == ["succeeded"]


async def test_old_jobs_are_removed_by_the_builtin_task(
    open_app: App, conn: psycopg.Connection
) -> None:
    open_app.task(name="t")(lambda: None)
    await open_app.configure_task("t").defer_async()
    await open_app.run_worker_async(wait=False)
    conn.execute("update procrastinate_events set at = at - interval '3 days'")

    builtin = "builtin:procrastinate.builtin_tasks.remove_old_jobs"
    await open_app.configure_task(builtin).defer_async(max_hours=72)
    await open_app.run_worker_async(wait=False)

    remaining = await open_app.job_manager.list_jobs_async()
    assert [job.task_name for job in remaining] == [
        "builtin:procrastinate.builtin_tasks.remove_old_jobs"
    ]
    assert [job.status for job in remaining] == [jobs.Status.SUCCEEDED.value]


async def test_a_finished_job_shows_no_worker_once_that_has_gone(
    open_app: App, conn: psycopg.Connection
) -> None:
    open_app.task(name="t")(lambda: None)
    await open_app.configure_task("t").defer_async()
    await open_app.run_worker_async(wait=False)

    (job,) = await open_app.job_manager.list_jobs_async()

    assert (job.status, job.worker_id) == ("succeeded", None)
    assert conn.execute("select count(*) from procrastinate_workers").fetchone() == (0,)


def test_the_package_says_that_it_is_typed() -> None:
    package = pathlib.Path(procrastinate.__file__).parent

    assert (package / "py.typed").exists()
