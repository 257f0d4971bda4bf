"""The primary dies while replication is synchronous: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

from procrastinate import App, JobContext, SyncPsycopgConnector, exceptions

from .conftest import OpenApp, Pair, StartWorker, until, value

ENOUGH = 100  # jobs before the failover, and after it
HELD = 4
PRODUCERS = 4
NEVER = 1000.0  # seconds


class Producer:
    """Defers until it is told to stop, whatever happens to the server."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.acknowledged: list[int] = []
        self.is_done = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(self.produce())

    async def produce(self) -> None:
        task = self.app.configure_task("work", lock="one at a time")
        plain = self.app.configure_task("work")
        while not self.is_done:
            deferrer = task if len(self.acknowledged) % 10 == 0 else plain
            try:
                self.acknowledged.append(await deferrer.defer_async())
            except exceptions.DatabaseUnavailable:
                await asyncio.sleep(0.01)  # whether this job is there, nobody knows


class SyncProducer:
    """The same in a thread, with the sync connector."""

    def __init__(self, dsn: str) -> None:
        self.app = App(connector=SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1))
        self.acknowledged: list[int] = []
        self.is_done = threading.Event()

    def run(self) -> None:
        with self.app.open():
            while not self.is_done.wait(0.01):
                try:
                    self.acknowledged.append(self.app.configure_task("work").defer())
                except exceptions.DatabaseUnavailable:
                    continue


async def test_no_acknowledged_job_is_lost(
    pair: Pair, open_app: OpenApp, start_worker: StartWorker
) -> None:
    pair.wait_for_each_commit()
    apps: list[App] = [await open_app(pair.dsn) for _ in range(2)]
    ran: Counter[int] = Counter()
    gate = asyncio.Event()

    for app in apps:

        @app.task(name="work", pass_context=True)
        async def _(context: JobContext) -> None:
            assert context.job.id is not None
            ran[context.job.id] += 1

        @app.task(name="held", pass_context=True)
        async def _(context: JobContext) -> None:
            assert context.job.id is not None
            ran[context.job.id] += 1
            await gate.wait()

    # After the failover they look again only if somebody tells them.
    options: dict[str, Any] = {"concurrency": HELD, "fetch_job_polling_interval": NEVER}
    workers = [start_worker(app, **options) for app in apps]
    tasks = [run.task for run in workers]
    held = [await apps[0].configure_task("held").defer_async() for _ in range(HELD)]
    await until(lambda: all(ran[job_id] for job_id in held), *tasks)

    with pair.primary.connect() as primary, primary.transaction():
        # A worker that does not live through it: nobody else sees its job before it has it.
        left = value(primary, "select procrastinate_defer_job('left', 'work')")
        dead = value(primary, "select procrastinate_register_worker_v2('dead')")
        primary.execute("select procrastinate_fetch_jobs_v1(%s, '{left}', 1)", [dead])
        primary.execute(
            "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
            " where id = %s",
            [dead],
        )

    producer = Producer(await open_app(pair.dsn))
    producing = asyncio.create_task(producer.run())
    in_thread = SyncProducer(pair.dsn)
    thread = asyncio.create_task(asyncio.to_thread(in_thread.run))
    try:
        await until(
            lambda: len(producer.acknowledged) >= ENOUGH and in_thread.acknowledged,
            producing,
            thread,
            *tasks,
        )
        await asyncio.to_thread(pair.fail_over)
        before, in_thread_before = len(producer.acknowledged), len(in_thread.acknowledged)
        await until(
            lambda: (
                len(producer.acknowledged) >= before + ENOUGH
                and len(in_thread.acknowledged) > in_thread_before + 1
            ),
            producing,
            thread,
            *tasks,
        )
    finally:
        producer.is_done = True
        in_thread.is_done.set()
    await asyncio.gather(producing, thread)
    gate.set()

    with pair.standby.connect() as primary:
        unfinished = "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"
        await until(lambda: value(primary, unfinished) == 0, *tasks)
        statuses = dict(
            primary.execute("select id, status::text from procrastinate_jobs").fetchall()
        )
        attempts = {
            job_id: (started, ended, last)
            for job_id, started, ended, last in primary.execute(
                """
                select
                    job_id,
                    count(*) filter (where type = 'started'),
                    count(*) filter (where type = 'succeeded'),
                    max(attempt) filter (where type = 'succeeded')
                from procrastinate_events group by job_id
                """
            )
        }
        breaches = primary.execute("select * from procrastinate_check()").fetchall()
    for run in workers:
        await run.stop()

    acknowledged = {*held, left, *producer.acknowledged, *in_thread.acknowledged}
    assert acknowledged <= set(statuses)
    assert set(statuses.values()) == {"succeeded"}
    assert all(ran[job_id] >= 1 for job_id in statuses)
    assert [ran[job_id] for job_id in held] == [1] * HELD  # they lived through it
    for started, ended, attempt in attempts.values():
        assert ended == 1
        assert 1 <= attempt <= started
    assert attempts[left] == (2, 1, 2)
    assert breaches == []
