"""What asks only is answered by a standby as well; what writes is refused, and waits."""

from __future__ import annotations

import asyncio
import datetime
import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector, exceptions
from procrastinate.cli import entry
from procrastinate.rpc import front

from .conftest import OpenApp, Pair, StartWorker, until, value


async def test_what_asks_is_answered_and_what_writes_is_refused(
    pair: Pair,
    open_app: OpenApp,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer: App = await open_app(pair.primary.dsn)
    reader: App = await open_app(
        psycopg.conninfo.make_conninfo(
            pair.dsn,
            host=f"{pair.standby.host},{pair.primary.host}",
            target_session_attrs="any",
        )
    )
    ran: list[int] = []
    for app in (writer, reader):

        @app.task(name="double", ttl=0)
        async def _(n: int) -> int:
            ran.append(n)
            return 2 * n

    done = await writer.configure_task("double", queue="q").defer_async(n=21)
    await writer.run_worker_async(wait=False, install_signal_handlers=False)
    with pair.primary.connect() as primary:
        holds = value(primary, "select procrastinate_defer_job('q', 'other', lock => 'l')")
        waits = value(primary, "select procrastinate_defer_job('q', 'other', lock => 'l')")
        gone = value(primary, "select procrastinate_register_worker_v2('gone')")
        primary.execute("select procrastinate_fetch_jobs_v1(%s, null, 1)", [gone])
        primary.execute("update procrastinate_workers set last_heartbeat = '2000-01-01'")
    pair.let_follow()

    with pair.standby.connect() as standby:
        assert value(standby, "select pg_is_in_recovery()")
        assert value(standby, "select sum(todo + doing) from procrastinate_overview") == 2
        assert value(standby, "select array_agg(job_id) from procrastinate_stalled") == [holds]
        assert value(standby, "select count(*) from procrastinate_locks") == 1
    assert await reader.handle(done).result() == 42
    gates = await reader.connector.call_async(front.explain_job(job_id=waits))
    assert {gate.gate for gate in gates if not gate.is_open} == {"lock", "workers"}
    assert await reader.connector.call_async(front.check()) == []
    jobs = reader.job_manager
    assert {job.id for job in await jobs.list_jobs_async()} == {done, holds, waits}
    assert [queue["name"] for queue in await jobs.list_queues_async()] == ["q"]
    assert {task["name"] for task in await jobs.list_tasks_async()} == {"double", "other"}
    assert [lock["name"] for lock in await jobs.list_locks_async()] == ["l"]
    assert [job.id for job in await jobs.get_stalled_jobs()] == [holds]
    assert (await jobs.get_job_status_async(done)).value == "succeeded"
    assert await reader.check_connection_async()
    assert await reader.schema_manager.check_async() == []
    assert await reader.schema_manager.explain_async() == []

    program = types.ModuleType("failover_program")
    program.app = App(  # type: ignore[attr-defined]  # as a user's module has it
        connector=PsycopgConnector(conninfo=pair.standby.dsn, min_size=1)
    )
    monkeypatch.setitem(sys.modules, "failover_program", program)
    for command in (["healthchecks"], ["schema", "--check"], ["shell", "list_jobs"]):
        await entry.cli(["--app", "failover_program.app", *command])
    assert f"#{waits}" in capsys.readouterr().out

    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: reader.configure_task("double").defer_async(n=1),
        lambda: jobs.cancel_job_by_id_async(waits),
        lambda: jobs.retry_job_by_id_async(done, retry_at=datetime.datetime.now(datetime.UTC)),
        jobs.register_worker,
        lambda: reader.connector.call_async(front.pause_queue(queue_name="q")),
    ]
    for write in writes:
        with pytest.raises(
            exceptions.DatabaseUnavailable, match="takes no writes: it is a standby"
        ):
            await write()

    # One that is sent here by mistake, or too early, waits for the day of the promotion.
    worker = start_worker(reader, queues=["later"])
    await until(
        lambda: any(
            getattr(record, "action", "") == "database_unavailable" for record in caplog.records
        ),
        worker.task,
    )
    late = await writer.configure_task("double", queue="later").defer_async(n=4)
    waiting = asyncio.create_task(reader.handle(late).result())
    assert ran == [21]
    pair.let_follow()
    await asyncio.to_thread(pair.fail_over)
    assert await waiting == 8
    await worker.stop()
    assert ran == [21, 4]
