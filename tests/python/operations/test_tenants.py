"""Several queues in one database, each in a schema of its own, and several databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from procrastinate import App

from .conftest import Run, StartApp, StartWorker, breaches, value

NEVER = 1000.0


def connected(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True)


def test_each_connection_finds_the_queue_of_its_path(schemas: Callable[[str], str]) -> None:
    with connected(schemas("red")) as red, connected(schemas("blue")) as blue:
        for connection, times in ((red, 3), (blue, 1)):
            connection.execute(
                "select procrastinate_defer_job('q', 't', lock => 'l', queueing_lock => n::text)"
                "from generate_series(1, %s) as n",
                [times],
            )
        jobs = "select array_agg(id order by id) from procrastinate_jobs"
        assert value(red, jobs) == [1, 2, 3]
        assert value(blue, jobs) == [1]
        # a function pins its own schema, whoever's path it is called with
        assert value(red, "select blue.procrastinate_defer_job('q', 'of red')") == 2
        assert value(blue, "select count(*) from procrastinate_jobs") == 2
        assert value(red, "select count(*) from procrastinate_jobs") == 3
        assert breaches(red) == breaches(blue) == []


@pytest.mark.parametrize("bulk", [False, True])
def test_a_lock_of_one_schema_does_not_hold_back_the_same_lock_of_another(
    schemas: Callable[[str], str], bulk: bool
) -> None:
    with connected(schemas("red")) as red, connected(schemas("blue")) as blue:
        for connection in (red, blue):
            connection.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
            connection.execute("select procrastinate_register_worker_v2('w')")
        fetch = "select count(*) from procrastinate_fetch_jobs_v1(1, null, 5) where job_id > 0"
        with red.transaction():
            if bulk:  # of so many that it takes the key for all locks
                red.execute(
                    "insert into procrastinate_jobs (queue_name, task_name, lock)"
                    "select 'q', 't', n::text from generate_series(1, 2000) as n"
                )
            assert value(red, fetch) >= 1  # holds red's advisory keys until it commits
            blue.execute("set statement_timeout = '5s'")
            blue.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
            assert value(blue, fetch) == 1
        assert breaches(red) == breaches(blue) == []


async def test_a_request_to_abort_is_not_taken_for_one_of_another_schema(
    schemas: Callable[[str], str], start_app: StartApp, start_worker: StartWorker
) -> None:
    app: App = await start_app(schemas("red"))

    @app.task(name="t")
    async def task() -> None:
        await asyncio.Event().wait()

    first, second = await task.defer_async(), await task.defer_async()
    run = start_worker(app, concurrency=2, abort_job_polling_interval=NEVER)
    await run.until(lambda: len(run.worker.running) == 2)
    with connected(schemas("blue")) as blue, connected(schemas("red")) as red:
        await run.until(
            lambda: value(red, "select count(*) from pg_stat_activity where query ~* '^listen'")
        )
        blue.execute("select procrastinate_register_worker_v2('w')")
        assert value(blue, "select procrastinate_defer_job('default', 't')") == first
        blue.execute("select procrastinate_fetch_jobs_v1(1, null, 1)")
        assert value(blue, f"select procrastinate_abort_job({first})") is True
        # told after the other: once it is heard, both have been
        assert value(red, f"select procrastinate_abort_job({second})") is True
        ended = f"select status = 'aborted' from procrastinate_jobs where id = {second}"
        await run.until(lambda: value(red, ended))

        (left,) = run.worker.running
        assert (left.job.id, left.abort_reason()) == (first, None)
        assert (
            value(red, f"select status from procrastinate_jobs where id = {first}") == "doing"
        )


async def test_who_waits_for_a_job_is_not_told_of_the_end_of_another_schemas(
    schemas: Callable[[str], str], start_app: StartApp
) -> None:
    app: App = await start_app(schemas("red"))

    @app.task(name="t", ttl=3600)
    async def task() -> None: ...

    job_id = await task.defer_async()
    wait = asyncio.create_task(app.wait_for([job_id], timeout=20))
    with connected(schemas("blue")) as blue, connected(schemas("red")) as red:
        listening = "select 1 from pg_stat_activity where query ~* '^listen.*ended'"
        while not blue.execute(listening.encode()).fetchone():  # noqa: ASYNC110 (nobody says so)
            await asyncio.sleep(0.002)
        finish = (
            "select procrastinate_register_worker_v2('w');"
            "select procrastinate_fetch_jobs_v1(1, null, 1);"
            "select procrastinate_finish_jobs_v1(1, '{1}', '{1}', '{failed}', '{}')"
        )
        blue.execute("select procrastinate_defer_job('q', 't', ttl => '1 day')")
        blue.execute(finish.encode())
        assert not wait.done()
        red.execute(finish.replace("failed", "succeeded").encode())
        (report,) = await wait
    assert report.status == "succeeded"


async def test_one_process_serves_two_databases(
    schemas: Callable[[str], str], dsn: str, start_app: StartApp, start_worker: StartWorker
) -> None:
    ran: list[str] = []
    runs: list[Run] = []
    for name, where in (("own", dsn), ("red", schemas("red")), ("blue", schemas("blue"))):
        app: App = await start_app(where)

        @app.task(name="t")
        async def task(name: str = name) -> None:
            ran.append(name)

        runs.append(start_worker(app))
        await task.defer_async()
    for run in runs:
        await run.until(lambda: len(ran) == 3)
        await run.stop()
    assert sorted(ran) == ["blue", "own", "red"]
