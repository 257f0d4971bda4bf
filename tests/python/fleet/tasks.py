"""
The tasks of a mixed fleet: the same module for 3.10's worker, in its process, and for ours.

Each run leaves a row in fleet_runs, with the version of the package that ran it.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import procrastinate
from procrastinate import exceptions, jobs

TABLE = """
create table fleet_runs (
    job_id bigint,
    attempt integer,
    lock text,
    version text,
    began timestamptz not null default clock_timestamp(),
    ended timestamptz,
    primary key (job_id, attempt)
)
"""
BEGIN = """
insert into fleet_runs (job_id, attempt, lock, version)
values (%(job)s, %(attempt)s, %(lock)s, %(version)s)
"""
END = """
update fleet_runs set ended = clock_timestamp()
where job_id = %(job)s and attempt = %(attempt)s
"""


async def run(context: procrastinate.JobContext, seconds: float = 0.002) -> None:
    """Say that a run began, and that it ended: a second run of an attempt would fail."""
    job: jobs.Job = context.job
    connector: Any = context.app.connector
    key: dict[str, Any] = {"job": job.id, "attempt": job.attempts}
    version = procrastinate.__version__
    await connector.execute_query_async(BEGIN, **key, lock=job.lock, version=version)
    await asyncio.sleep(seconds)
    await connector.execute_query_async(END, **key)


def make_app(dsn: str, *, periodic: bool) -> procrastinate.App:
    """Make the app, on a database."""
    connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=8)
    app = procrastinate.App(connector=connector)

    @app.task(name="work", queue="both", pass_context=True)
    async def work(context: procrastinate.JobContext) -> None:
        await run(context)

    @app.task(name="stumble", queue="both", retry=2, pass_context=True)
    async def stumble(context: procrastinate.JobContext) -> None:
        await run(context)
        if context.job.attempts < 2:
            raise ValueError

    @app.task(name="fail", queue="both", retry=1, pass_context=True)
    async def fail(context: procrastinate.JobContext) -> None:
        await run(context)
        raise ValueError

    @app.task(name="sleep", queue="both", pass_context=True)
    async def sleep(context: procrastinate.JobContext, seconds: float = 60) -> None:
        await run(context, seconds)

    @app.task(name="poll", queue="both", pass_context=True)
    def poll(context: procrastinate.JobContext) -> None:
        while not context.should_abort():
            time.sleep(0.01)
        raise exceptions.JobAborted

    if periodic:

        @app.periodic(cron="* * * * * *")
        @app.task(name="tick", queue="both", pass_context=True)
        async def tick(context: procrastinate.JobContext, timestamp: int) -> None:
            assert timestamp
            await run(context)

    return app


app = make_app(os.environ.get("FLEET_DSN", ""), periodic=bool(os.environ.get("FLEET_PERIODIC")))
