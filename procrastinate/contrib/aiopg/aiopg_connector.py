"""The async connector on aiopg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, LiteralString

import aiopg
import psycopg2.extensions
import psycopg2.extras
import psycopg2.sql

from procrastinate import connector, exceptions
from procrastinate.connectors import psycopg_keepalive
from procrastinate.contrib.psycopg2 import (
    psycopg2_connector,
    psycopg2_errors,
    psycopg2_json,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable


# Those of aiopg's arguments that psycopg2's pool has another name for, or none.
_POOL_SIZES = {"minsize": "minconn", "maxsize": "maxconn"}
_ONLY_AIOPG = {
    "enable_json",
    "enable_hstore",
    "enable_uuid",
    "on_connect",
    "timeout",
    "pool_recycle",
    "echo",
}


@contextlib.contextmanager
def told_apart() -> Generator[None, None, None]:
    """Raise the server's cancellation of a statement, which aiopg makes a CancelledError."""
    try:
        yield
    except asyncio.CancelledError as exc:
        cause = exc.__cause__ or exc.__context__
        if isinstance(cause, psycopg2.extensions.QueryCanceledError):
            raise cause from None
        raise


class AiopgConnector(connector.BaseAsyncConnector):
    """
    Create a PostgreSQL connector using aiopg. The connector uses an ``aiopg.Pool``, which
    is created internally, or set into the connector by calling
    ``AiopgConnector.open_async``.

    All other arguments than ``json_dumps`` and ``json_loads`` are passed to
    ``aiopg.create_pool``, with default values that may differ from those of ``aiopg``.

    Parameters
    ----------
    json_dumps :
        The JSON dumps function to use for serializing job arguments. Defaults to
        ``json.dumps``.
    json_loads :
        The JSON loads function to use for deserializing job arguments. Defaults to
        psycopg2's own. Unused if the pool is externally created and set into the
        connector through the `App.open_async` method.
    dsn : str
        Default is ``""``: what libpq's variables say.
    enable_json, enable_hstore, enable_uuid : bool
        Default is False, so that nothing global is changed.
    cursor_factory : type
        Default is ``psycopg2.extras.RealDictCursor``; there is no use in changing it.
    minsize, maxsize : int
        Connections of the pool; 1 and 10. A worker that listens keeps one of them for
        itself: with a ``maxsize`` of 1 it does not listen, and polls.
    keepalives_idle, keepalives_interval, keepalives_count, tcp_user_timeout : int
        Of libpq. The defaults notice within a minute that the peer went away without a word.
    """

    def __init__(
        self,
        *,
        json_dumps: Callable[..., Any] | None = None,
        json_loads: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.json_dumps = json_dumps
        self.json_loads = json_loads
        self._given_args = kwargs
        self._user_on_connect: Callable[[Any], Any] | None = kwargs.get("on_connect")
        self._pool_args: dict[str, Any] = {
            "dsn": "",
            "enable_json": False,
            "enable_hstore": False,
            "enable_uuid": False,
            "cursor_factory": psycopg2.extras.RealDictCursor,
            "maxsize": 10,
            "minsize": 1,
            **psycopg_keepalive.defaults_beside(kwargs.get("dsn")),
            **kwargs,
            "on_connect": self._on_connect,
        }
        self._pool: aiopg.Pool | None = None
        self._pool_is_ours = False
        self._sync_connector: connector.BaseConnector | None = None

    async def _on_connect(self, connection: Any) -> None:
        if self.json_loads:
            psycopg2_json.read_with(connection.raw, self.json_loads)
        if self._user_on_connect:
            await self._user_on_connect(connection)

    def get_sync_connector(self) -> connector.BaseConnector:
        """
        Return the connector that sync code uses.

        This one, once it is open: its calls are done on its loop. Until then a
        :class:`~procrastinate.contrib.psycopg2.Psycopg2Connector` with the same arguments.
        """
        if self._pool is not None:
            return self
        if self._sync_connector is None:
            self._sync_connector = psycopg2_connector.Psycopg2Connector(
                json_dumps=self.json_dumps,
                json_loads=self.json_loads,
                **{
                    _POOL_SIZES.get(name, name): value
                    for name, value in self._given_args.items()
                    if name not in _ONLY_AIOPG
                },
            )
        return self._sync_connector

    @property
    def pool(self) -> aiopg.Pool:
        """The pool; raises :class:`exceptions.AppNotOpen` if there is none yet."""
        if self._pool is None:
            raise exceptions.AppNotOpen
        return self._pool

    async def open_async(self, pool: aiopg.Pool | None = None) -> None:
        """Open, with a pool of the caller's if one is given. Open already, nothing happens."""
        if self._pool is not None:
            return
        if pool is None:
            with psycopg2_errors.translated():
                pool = await aiopg.create_pool(**self._pool_args)
            self._pool_is_ours = True
        self._loop = asyncio.get_running_loop()
        self._pool = pool

    async def close_async(self) -> None:
        """Close the pool, if it is ours. Closed already, nothing happens."""
        pool, self._pool = self._pool, None
        self._loop = None
        if pool is not None and self._pool_is_ours:
            self._pool_is_ours = False
            pool.close()
            await pool.wait_closed()

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        async with self._cursor() as cursor:
            await cursor.execute(query, self._wrapped(arguments))

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query and return its first row."""
        async with self._cursor() as cursor:
            await cursor.execute(query, self._wrapped(arguments))
            row: dict[str, Any] | None = await cursor.fetchone()
        if row is None:
            raise exceptions.NoResult
        return row

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        async with self._cursor() as cursor:
            await cursor.execute(query, self._wrapped(arguments))
            rows: list[dict[str, Any]] = await cursor.fetchall()
        return rows

    def _wrapped(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return psycopg2_json.wrap_all(arguments, self.json_dumps)

    @contextlib.asynccontextmanager
    async def _cursor(self) -> AsyncGenerator[Any, None]:
        pool = self.pool
        with psycopg2_errors.translated(), told_apart():
            async with (
                pool.acquire() as connection,
                connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
            ):
                yield cursor

    async def listen_notify(
        self,
        on_notification: connector.Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """
        Listen on channels until cancelled; see :meth:`BaseConnector.listen_notify`.

        The connection is one of the pool's; a pool of one has none to spare, and nothing is
        listened to.
        """
        pool = self.pool
        if pool.maxsize == 1:
            return
        with psycopg2_errors.translated():
            async with pool.acquire() as connection:
                try:
                    async with connection.cursor() as cursor:
                        for channel in channels:
                            statement: Any = psycopg2.sql.SQL("listen {}").format(
                                psycopg2.sql.Identifier(channel)
                            )
                            await cursor.execute(statement)
                        await self._take_notifications(
                            connection, cursor, on_notification, on_listening
                        )
                finally:
                    # what it listens to must not reach whoever would have it next
                    connection.close()

    async def _take_notifications(
        self,
        connection: Any,
        cursor: Any,
        on_notification: connector.Notify,
        on_listening: Callable[[], None] | None,
    ) -> None:
        if on_listening:
            on_listening()
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                while True:
                    async with asyncio.timeout(connector.LISTEN_TIMEOUT):
                        notification = await connection.notifies.get()
                    await on_notification(
                        channel=notification.channel, payload=notification.payload
                    )
            # Nothing for long: a connection that died without a word is found out.
            await cursor.execute("select 1")
