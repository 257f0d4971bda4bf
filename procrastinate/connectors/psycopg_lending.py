"""
Taking connections out of psycopg's pools: such as live, and soon after an outage.

The pool's own check waits for a second when it meets a connection that died, then for two, and
four: a pool whose connections have all died (the server was restarted) would be busy with that
for half a minute. And a pool that has given up reconnecting begins again when it is asked the
next time, not while it is being asked.
"""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Generator
    from typing import TypeAlias

    Suspects: TypeAlias = Collection[psycopg.AsyncConnection[Any]]

#: Seconds for which the pool itself tries to replace a connection. Its default of 300, with
#: pauses that are doubled, would not look again for two minutes after an outage of two.
RECONNECT_TIMEOUT = 1.0

#: Seconds after which the pool is asked again, as long as its own timeout lasts.
ASK_AGAIN = 1.0


def is_quiet(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """
    Whether an idle connection has nothing to say.

    A server that went away leaves its goodbye in the socket. To see whether there is anything
    costs no round trip, as a query would.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


class _Request:
    """How long somebody has been asking a pool for a connection."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._since = time.monotonic()

    def seconds(self) -> float:
        """
        Return the seconds to ask for once more.

        Raises
        ------
        psycopg_pool.PoolTimeout
            The pool's own timeout is over.
        """
        left = self._timeout - (time.monotonic() - self._since)
        if left <= 0:
            raise psycopg_pool.PoolTimeout(
                f"couldn't get a connection after {self._timeout:.2f} sec"
            )
        return min(left, ASK_AGAIN)


async def _take_async(
    pool: psycopg_pool.AsyncConnectionPool[Any], suspects: Suspects
) -> psycopg.AsyncConnection[Any]:
    request = _Request(pool.timeout)
    while True:
        try:
            connection: psycopg.AsyncConnection[Any] = await pool.getconn(
                timeout=request.seconds()
            )
        except psycopg_pool.PoolTimeout:
            request.seconds()
            continue
        if suspects and connection in suspects:
            await connection.close()
            await pool.putconn(connection)  # which makes another in its place
            continue
        if is_quiet(connection):
            return connection
        try:
            await psycopg_pool.AsyncConnectionPool.check_connection(connection)
        except BaseException as exc:
            await connection.close()
            await pool.putconn(connection)  # which makes another in its place
            if not isinstance(exc, psycopg.Error):
                raise
        else:
            return connection


@contextlib.asynccontextmanager
async def lent_async(
    pool: psycopg_pool.AsyncConnectionPool[Any], suspects: Suspects = ()
) -> AsyncGenerator[psycopg.AsyncConnection[Any], None]:
    """
    Take a connection that lives, and give it back, as ``pool.connection()`` does.

    One of the suspects is replaced: whether it lives would take a timeout to see.
    """
    connection = await _take_async(pool, suspects)
    try:
        async with connection:
            yield connection
    except psycopg.errors.ReadOnlySqlTransaction:
        await connection.close()  # its server is no primary any more: another one is
        raise
    finally:
        await pool.putconn(connection)


def _take(pool: psycopg_pool.ConnectionPool[Any]) -> psycopg.Connection[Any]:
    request = _Request(pool.timeout)
    while True:
        try:
            connection: psycopg.Connection[Any] = pool.getconn(timeout=request.seconds())
        except psycopg_pool.PoolTimeout:
            request.seconds()
            continue
        if is_quiet(connection):
            return connection
        try:
            psycopg_pool.ConnectionPool.check_connection(connection)
        except BaseException as exc:
            connection.close()
            pool.putconn(connection)  # which makes another in its place
            if not isinstance(exc, psycopg.Error):
                raise
        else:
            return connection


@contextlib.contextmanager
def lent(
    pool: psycopg_pool.ConnectionPool[Any],
) -> Generator[psycopg.Connection[Any], None, None]:
    """Take a connection that lives, and give it back, as ``pool.connection()`` does."""
    connection = _take(pool)
    try:
        with connection:
            yield connection
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.close()  # its server is no primary any more: another one is
        raise
    finally:
        pool.putconn(connection)


def _has_none_to_join(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> bool:
    # Without autocommit the first statement begins one, which is the caller's to commit.
    is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    return connection.autocommit and is_idle


@contextlib.asynccontextmanager
async def in_one_transaction_async(
    connection: psycopg.AsyncConnection[Any],
) -> AsyncGenerator[None, None]:
    """Join the transaction of a caller's connection, or begin and commit one of ours."""
    if _has_none_to_join(connection):
        async with connection.transaction():
            yield
    else:
        yield


@contextlib.contextmanager
def in_one_transaction(connection: psycopg.Connection[Any]) -> Generator[None, None, None]:
    """Join the transaction of a caller's connection, or begin and commit one of ours."""
    if _has_none_to_join(connection):
        with connection.transaction():
            yield
    else:
        yield
