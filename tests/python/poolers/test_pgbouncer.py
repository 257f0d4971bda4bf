"""All of it through PgBouncer, which lends another server for each transaction."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pathlib
import subprocess
import sys

import psycopg
import pytest

from procrastinate import (
    App,
    PsycopgConnector,
    RetryStrategy,
    SyncPsycopgConnector,
    exceptions,
)
from procrastinate.connectors import psycopg_probe, psycopg_socket
from procrastinate.rpc import front
from tests.python.django.conftest import run_python
from tests.python.poolers.conftest import Bounce


@pytest.fixture(autouse=True)
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said yet in this process, and what never comes is not waited for long."""
    psycopg_socket.say_unprepared.cache_clear()
    monkeypatch.setattr(psycopg_probe, "PATIENCE", 0.5)


async def _work(app: App) -> None:
    await app.run_worker_async(
        wait=False, concurrency=3, install_signal_handlers=False, listen_notify=False
    )


@pytest.mark.parametrize("statements", [0, 200])
async def test_jobs_are_deferred_and_done(
    bounce: Bounce, conn: psycopg.Connection, statements: int
) -> None:
    with bounce(statements=statements) as through:
        app = App(connector=PsycopgConnector(conninfo=through))
        other = App(connector=PsycopgConnector(conninfo=through))
        done: list[int] = []

        @app.task(name="add", lock="one")
        async def add(number: int) -> int:
            done.append(number)
            return number

        @app.task(name="flaky", retry=RetryStrategy(max_attempts=1))
        async def flaky() -> None:
            done.append(-1)
            raise ValueError

        async with app.open_async(), other.open_async():
            for number in range(10):
                source = (app, other)[number % 2]
                await source.configure_task("add", lock="one").defer_async(number=number)
            await add.batch_defer_async({"number": 10}, {"number": 11})
            await flaky.defer_async()
            await add.configure(queueing_lock="q", schedule_in={"hours": 1}).defer_async(
                number=12
            )
            with pytest.raises(exceptions.AlreadyEnqueued):
                await add.configure(queueing_lock="q").defer_async(number=13)
            await _work(app)

    assert sorted(done) == [-1, -1, *range(12)]
    assert conn.execute(
        "select status::text, count(*) from procrastinate_jobs group by 1 order by 1"
    ).fetchall() == [("failed", 1), ("succeeded", 12), ("todo", 1)]


def test_sync_code_defers(bounce: Bounce, conn: psycopg.Connection) -> None:
    with bounce(statements=0) as through:
        apps = [App(connector=SyncPsycopgConnector(conninfo=through)) for _ in range(2)]
        with apps[0].open(), apps[1].open():
            for number in range(12):
                apps[number % 2].configure_task("add").defer(number=number)

    assert conn.execute("select count(*) from procrastinate_jobs").fetchone() == (12,)


async def test_lost_statements_are_said_once_and_done_without(
    bounce: Bounce, caplog: pytest.LogCaptureFixture
) -> None:
    with bounce(statements=0) as through:
        app = App(connector=PsycopgConnector(conninfo=through, min_size=1))
        async with app.open_async():
            with caplog.at_level(logging.WARNING):
                # One more server is in others' hands each time: the next one is a new one.
                async with contextlib.AsyncExitStack() as held:
                    for number in range(4):
                        await app.configure_task("add").defer_async(number=number)
                        if number < 3:
                            other = await psycopg.AsyncConnection.connect(through)
                            await held.enter_async_context(other)
                            await other.execute("select 1")

    said = [record for record in caplog.records if "Prepared statements" in record.message]
    assert len(said) == 1


async def test_a_pooler_that_keeps_notifications_is_found_out(
    bounce: Bounce, caplog: pytest.LogCaptureFixture
) -> None:
    async def hear(*, channel: str, payload: str) -> None:
        pytest.fail(f"{channel} {payload}")

    with bounce() as through:
        app = App(connector=PsycopgConnector(conninfo=through))
        async with app.open_async():
            with caplog.at_level(logging.WARNING):
                await app.connector.listen_notify(hear, ["a"])
                await app.connector.listen_notify(hear, ["a"])

    said = [record for record in caplog.records if "listen_conninfo" in record.message]
    assert len(said) == 1


async def test_what_the_server_does_is_not_known_through_a_pooler(bounce: Bounce) -> None:
    with bounce() as through:
        app = App(connector=PsycopgConnector(conninfo=through))
        async with app.open_async():
            line = app.connector.line()
            await line.call_async(front.check())
            assert not await line.is_lost()
            await line.close()


@pytest.mark.parametrize("way", ["direct", "session"])
async def test_it_hears_past_the_pooler_or_through_one_that_keeps_sessions(
    bounce: Bounce, dsn: str, conn: psycopg.Connection, way: str
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.Event()

    async def hear(*, channel: str, payload: str) -> None:
        await heard.put(payload)

    with bounce(pool_mode="session" if way == "session" else "transaction") as through:
        connector = PsycopgConnector(
            conninfo=through,
            min_size=1,
            listen_conninfo=dsn if way == "direct" else None,
        )
        await connector.open_async()
        task = asyncio.create_task(connector.listen_notify(hear, ["a"], listening.set))
        async with asyncio.timeout(10):
            await listening.wait()
            conn.execute("select pg_notify('a', 'news')")
            assert await heard.get() == "news"
        task.cancel()
        await asyncio.wait([task])
        await connector.close_async()


async def test_a_worker_without_notifications_polls_and_results_are_waited_for(
    bounce: Bounce,
) -> None:
    with bounce() as through:
        app = App(connector=PsycopgConnector(conninfo=through))

        @app.task(name="add", store_result=True)
        async def add(number: int) -> int:
            return number + 1

        async with app.open_async():
            worker = asyncio.create_task(
                app.run_worker_async(
                    fetch_job_polling_interval=0.1, install_signal_handlers=False
                )
            )
            job_id = await add.defer_async(number=1)
            (report,) = await app.job_manager.wait_for_async([job_id], timeout=10)
            worker.cancel()
            await asyncio.wait([worker])

    assert (report.status, report.result) == ("succeeded", 2)


def test_the_schema_is_installed_through_it(bounce: Bounce, conn: psycopg.Connection) -> None:
    conn.execute("drop schema public cascade; create schema public")
    with bounce() as through:
        app = App(connector=SyncPsycopgConnector(conninfo=through))
        with app.open():
            app.schema_manager.apply_schema()
            assert app.check_connection()


PROGRAM = """
import os
import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["THROUGH"], min_size=1)
)


@app.task(name="say", queue="q")
def say(word):
    print(word, flush=True)


@app.task(name="fail", queue="q")
def fail():
    raise ValueError("no")
"""


def test_the_command_line_works_through_it(
    bounce: Bounce, conn: psycopg.Connection, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "pooled.py").write_text(PROGRAM)
    conn.execute("drop schema public cascade; create schema public")

    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "procrastinate", "--app=pooled.app", *words],
            cwd=tmp_path,
            env={**os.environ, "THROUGH": through},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    with bounce() as through:
        command("schema", "--migrate")
        command("schema", "--check")
        command("defer", "say", '{"word": "hello"}')
        command("defer", "fail")
        command("defer", "say", '{"word": "never"}', "--in=1000")
        assert command("worker", "--one-shot") == "hello\n"
        command("retry", "2")
        command("cancel", "3")
        assert command("shell", "list_jobs").splitlines() == [
            "#1 say on q - [succeeded]",
            "#2 fail on q - [todo]",
            "#3 say on q - [cancelled]",
        ]
    assert conn.execute("select * from procrastinate_check()").fetchall() == []


def test_django_migrates_and_works_through_it(bounce: Bounce, conn: psycopg.Connection) -> None:
    conn.execute("drop schema public cascade; create schema public")
    task = "tests.python.django.project.shop.tasks.send"
    with bounce() as through:
        django = functools.partial(run_python, through, "-m", "django")
        django("migrate", "--verbosity=0")
        django("procrastinate", "defer", task, '{"order": "tea"}')
        django("procrastinate", "worker", "--one-shot")
        django("procrastinate", "healthchecks")
    found = conn.execute("select task_name, status::text from procrastinate_jobs").fetchall()
    assert found == [(task, "succeeded")]
