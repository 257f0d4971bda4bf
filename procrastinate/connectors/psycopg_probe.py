"""Whether a connection that listens is told: a pooler may take LISTEN and tell nobody."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.rows
import psycopg.sql

if TYPE_CHECKING:
    import psycopg_pool

logger: logging.Logger = logging.getLogger(__name__)

#: Seconds that a notification may take through a pooler.
PATIENCE = 5.0


async def is_told(
    connection: psycopg.AsyncConnection[Any],
    pool: psycopg_pool.AsyncConnectionPool[Any],
) -> bool:
    """
    Whether notifications reach a connection; warn if they don't.

    Without a pooler the server's process is the one that it named when it was connected to, and
    there is nothing to try. A pooler that keeps sessions names another, and tells all the same:
    so one notification is sent over the pool.
    """
    async with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        await cursor.execute("select pg_backend_pid()")
        row: Any = await cursor.fetchone()
    if row[0] == connection.info.backend_pid:
        return True
    channel = f"procrastinate_probe_{os.urandom(8).hex()}"
    name = psycopg.sql.Identifier(channel)
    await connection.execute(psycopg.sql.SQL("listen {}").format(name))
    try:
        async with asyncio.timeout(PATIENCE), pool.connection() as other:
            await other.execute("select pg_notify(%s, '')", [channel])
    except TimeoutError as exc:
        raise psycopg.OperationalError("the pool has no connection to try LISTEN with") from exc
    if [each async for each in connection.notifies(timeout=PATIENCE, stop_after=1)]:
        await connection.execute(psycopg.sql.SQL("unlisten {}").format(name))
        return True
    logger.warning(
        "A pooler keeps notifications from this process: jobs, aborts and ends are found by "
        "polling. PsycopgConnector(listen_conninfo=...) can name a server to LISTEN on directly"
    )
    return False
