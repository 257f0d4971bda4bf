"""Tasks that count their runs, and a worker that does nothing unless it is told."""

from __future__ import annotations

import asyncio
from typing import Any

from procrastinate import App, RetryStrategy

from .conftest import PATIENCE, Database

NEVER = 1000.0


#: Options of a worker that finds nothing by polling, and does not beat by itself.
ALONE: dict[str, Any] = {
    "fetch_job_polling_interval": NEVER,
    "abort_job_polling_interval": NEVER,
    "update_heartbeat_interval": NEVER,
}


class Runs:
    """Tasks on an app that count their runs."""

    def __init__(self, app: App) -> None:
        self.ran: list[int] = []
        self.gate = asyncio.Event()

        @app.task(name="quick")
        async def _(n: int) -> None:
            self.ran.append(n)

        @app.task(name="slow")
        async def _(n: int) -> None:
            self.ran.append(n)
            await self.gate.wait()

        @app.task(name="flaky", retry=RetryStrategy(max_attempts=1))
        async def _(n: int) -> None:
            self.ran.append(n)
            if self.ran.count(n) == 1:
                raise ValueError


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)


async def listening(database: Database) -> None:
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")


def backends_of(database: Database, where: str) -> None:
    database.conn.execute(
        f"""
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {where}
        """.encode()
    )
