"""An app whose login has one role does what its part is, and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import procrastinate
from procrastinate import exceptions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.conftest import Logins


#: Seconds after which a test that waits for the worker has failed. No test takes so long.
PATIENCE = 20.0


def tasks_of(app: procrastinate.App) -> procrastinate.App:
    """The tasks of a shop: one of each kind of end."""

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="fail_twice", retry=2)
    def fail_twice() -> None:
        raise ValueError("not yet")

    @app.task(name="endless", pass_context=True)
    async def endless(context: procrastinate.JobContext) -> None:
        await asyncio.Event().wait()  # until it is cancelled

    return app


async def until(app: procrastinate.App, job_id: int, status: str) -> None:
    """Wait until a job has that status: nobody announces it."""
    while (await app.job_manager.get_job_status_async(job_id)).value != status:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def statuses(owner: str) -> dict[str, list[str]]:
    with psycopg.connect(owner) as connection:
        rows = connection.execute(
            "select task_name, array_agg(status::text order by id)"
            " from procrastinate_jobs group by 1"
        ).fetchall()
        breaches = connection.execute("select * from procrastinate_check()").fetchall()
    assert breaches == []
    return {row[0]: row[1] for row in rows}


async def test_a_producer_defers_in_each_way_and_does_nothing_else(logins: Logins) -> None:
    app = tasks_of(logins.app("producer"))
    task = app.tasks["add"]
    async with app.open_async():
        await task.defer_async(a=1, b=2)
        await app.configure_task(
            "add", lock="l", queueing_lock="ql", priority=3, schedule_in={"hours": 1}
        ).defer_async(a=1, b=2)
        with pytest.raises(exceptions.AlreadyEnqueued):
            await app.configure_task("add", queueing_lock="ql").defer_async(a=1, b=2)
        sums: Any = [{"a": 1, "b": 2}] * 2000
        await task.batch_defer_async(*sums)
        with pytest.raises(exceptions.InvalidArgument):
            await app.configure_task("add", queue="q" * 129).defer_async(a=1, b=2)
        for refused in (
            app.job_manager.list_jobs_async(),
            app.job_manager.cancel_job_by_id_async(1),
            app.job_manager.register_worker(),
            app.job_manager.get_job_status_async(1),
            app.job_manager.delete_old_jobs(nb_hours=0),
        ):
            with pytest.raises(exceptions.ConnectorException):
                await refused
    sync = tasks_of(
        procrastinate.App(
            connector=procrastinate.SyncPsycopgConnector(conninfo=logins.producer)
        )
    )
    with sync.open():
        sync.tasks["add"].defer(a=1, b=2)
        sync.tasks["add"].batch_defer({"a": 1, "b": 2}, {"a": 3, "b": 4})
    assert statuses(logins.owner) == {"add": ["todo"] * 2005}


async def test_a_worker_runs_retries_aborts_and_defers_ticks(logins: Logins) -> None:
    owner = tasks_of(
        procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=logins.owner))
    )
    app = tasks_of(logins.app("worker"))
    ticked = asyncio.Event()

    @app.periodic(cron="* * * * * *")
    @app.task(name="tick")
    async def tick(timestamp: int) -> None:
        ticked.set()

    async with owner.open_async(), app.open_async():
        await owner.tasks["add"].defer_async(a=1, b=2)
        failing = await owner.tasks["fail_twice"].defer_async()
        endless = await owner.tasks["endless"].defer_async()
        worker = asyncio.create_task(
            app.run_worker_async(
                install_signal_handlers=False,
                concurrency=4,
                update_heartbeat_interval=0.05,
                fetch_job_polling_interval=0.05,
                delete_jobs="never",
            )
        )
        async with asyncio.timeout(PATIENCE):
            await ticked.wait()
            await until(owner, endless, "doing")
            assert await owner.job_manager.cancel_job_by_id_async(endless, abort=True)
            await until(owner, endless, "aborted")
            await until(owner, failing, "failed")
        assert not worker.done()
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        # what a task of 3.x asks of its job manager
        assert list(await app.job_manager.get_stalled_jobs()) == []
        with pytest.raises(exceptions.ConnectorException):
            await app.job_manager.delete_old_jobs(nb_hours=0)
    found = statuses(logins.owner)
    assert (found["add"], found["fail_twice"], found["endless"]) == (
        ["succeeded"],
        ["failed"],
        ["aborted"],
    )
    assert "succeeded" in found["tick"]


async def test_a_worker_waits_for_results_and_deletes_what_is_old(logins: Logins) -> None:
    owner = tasks_of(
        procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=logins.owner))
    )
    app = tasks_of(logins.app("worker"))
    async with owner.open_async(), app.open_async():
        with psycopg.connect(logins.owner, autocommit=True) as connection:
            connection.execute("set procrastinate.now = '2020-01-01'")
            connection.execute(
                "select procrastinate_cancel_job(procrastinate_defer_job('q', 'old'))"
            )
        worker = asyncio.create_task(
            app.run_worker_async(install_signal_handlers=False, retention=60.0)
        )
        async with asyncio.timeout(PATIENCE):
            job_id = await app.configure_task("add", ttl=600).defer_async(a=1, b=2)
            await app.job_manager.wait_for_async([job_id])
            assert await app.job_manager.get_result_async(job_id) == 3
            while "old" in statuses(logins.owner):  # noqa: ASYNC110 (nobody announces it)
                await asyncio.sleep(0.01)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
    assert statuses(logins.owner) == {"add": ["succeeded"]}


async def test_an_operator_looks_pauses_cancels_and_retries(logins: Logins) -> None:
    owner = tasks_of(
        procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=logins.owner))
    )
    app = tasks_of(logins.app("operator"))
    async with owner.open_async(), app.open_async():
        job = await owner.tasks["add"].defer_async(a=1, b=2)
        manager = app.job_manager
        assert [found.id for found in await manager.list_jobs_async()] == [job]
        assert [found["name"] for found in await manager.list_queues_async()] == ["default"]
        assert await manager.cancel_job_by_id_async(job)

        with pytest.raises(exceptions.ConnectorException):
            await app.tasks["add"].defer_async(a=1, b=2)
    assert statuses(logins.owner) == {"add": ["cancelled"]}


def test_an_auditor_reads_the_history_and_no_arguments(logins: Logins) -> None:
    owner = tasks_of(
        procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=logins.owner))
    )
    with owner.open():
        owner.tasks["add"].defer(a=1, b=2)
    with psycopg.connect(logins.auditor, autocommit=True) as connection:
        for statement, answer in (
            ("select task_name, status::text from procrastinate_jobs", ("add", "todo")),
            ("select type::text from procrastinate_events", ("deferred",)),
            ("select todo from procrastinate_overview", (1,)),
        ):
            assert connection.execute(statement.encode()).fetchall() == [answer]
        for statement in (
            "select args from procrastinate_jobs",
            "select * from procrastinate_jobs",
            "select details from procrastinate_events",
            "select result from procrastinate_results",
            "select procrastinate_pause_queue('default')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_script_for_psql_makes_them_too(
    logins: Logins, psql: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    arguments = [f"--set={part}={name}" for part, name in logins.roles.items()]
    done = psql(logins.owner, "-A", "-t", *arguments, "-f", "procrastinate/sql/roles.sql")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"{name}|{part}|f" for part, name in logins.roles.items()
    ]
