"""The async connector on psycopg 3."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
import psycopg.rows
import psycopg.sql
import psycopg.types.json
import psycopg_pool

from procrastinate import connector, exceptions
from procrastinate.connectors import (
    psycopg_errors,
    psycopg_json,
    psycopg_keepalive,
    psycopg_lending,
    psycopg_line,
    psycopg_probe,
    psycopg_socket,
    psycopg_sync,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procrastinate.rpc.call import Call, Rows

T = TypeVar("T")

AsyncPool = psycopg_pool.AsyncConnectionPool[Any]


async def _say(
    connection: psycopg.AsyncConnection[Any], statement: LiteralString | psycopg.sql.Composed
) -> None:
    """Execute; raise if there is no answer within :data:`connector.LISTEN_PATIENCE`."""
    trial = asyncio.create_task(connection.execute(statement))
    is_answered = False
    try:
        is_answered = bool((await asyncio.wait([trial], timeout=connector.LISTEN_PATIENCE))[0])
    finally:
        if not is_answered:
            # First of all: psycopg would ask the server to cancel, and wait for its answer.
            await connection.close()
            trial.cancel()
            await asyncio.wait([trial])
    if not is_answered:
        raise psycopg.OperationalError("the connection that listens does not answer")
    await trial


class PsycopgConnector(connector.BaseAsyncConnector):
    """
    Create a PostgreSQL connector using psycopg. The connector uses an
    ``psycopg_pool.AsyncConnectionPool``, which is created internally, or set into the
    connector by calling `App.open_async`. You can also pass a custom callable which
    returns an ``psycopg_pool.AsyncConnectionPool`` instance as ``pool_factory``.

    All other arguments than ``pool_factory``, ``json_dumps`` and ``json_loads`` are
    passed to ``pool_factory``. Connections are in autocommit mode, so that a call is
    one round trip.

    Parameters
    ----------
    json_dumps :
        A function to serialize JSON objects to a string. If not provided, JSON objects
        will be serialized using ``json.dumps``.
    json_loads :
        A function to deserialize JSON objects from a string. If not provided, JSON
        objects will be deserialized using psycopg's default JSON deserializer.
    pool_factory :
        A callable which returns an ``psycopg_pool.AsyncConnectionPool`` instance. The
        other arguments are passed to it as keyword arguments. You can set this to
        ``psycopg_pool.AsyncNullConnectionPool`` to disable pooling.
    listen_conninfo :
        Where to connect to for LISTEN, if not where the pool does: past a pooler that
        lends another server for each transaction.
    """

    defers_together = True
    sends_pieces = True

    def __init__(
        self,
        *,
        json_dumps: Callable[..., Any] | None = None,
        json_loads: Callable[..., Any] | None = None,
        pool_factory: Callable[..., AsyncPool] = psycopg_pool.AsyncConnectionPool,
        listen_conninfo: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.json_dumps = json_dumps
        self.json_loads = json_loads
        self._pool_factory = pool_factory
        self._listen_conninfo = listen_conninfo
        self._cannot_listen = False
        """Whether a pooler was found to keep notifications from us."""
        self._given_args = kwargs
        self._user_configure: Callable[[Any], Any] | None = kwargs.get("configure")
        self._pool_args: dict[str, Any] = {
            "reconnect_timeout": psycopg_lending.RECONNECT_TIMEOUT,
            **kwargs,
            "kwargs": {
                "autocommit": True,
                **psycopg_keepalive.defaults_beside(kwargs.get("conninfo")),
                **(kwargs.get("kwargs") or {}),
            },
            "configure": self._configure,
            "open": False,
        }
        self._async_pool: AsyncPool | None = None
        self._pool_is_ours = False
        self._names: weakref.WeakKeyDictionary[Any, psycopg_socket.Names]
        self._names = weakref.WeakKeyDictionary()
        """What is prepared on each connection of the pool."""
        self._suspects: weakref.WeakSet[Any] = weakref.WeakSet()
        self._sync_connector: psycopg_sync.SyncPsycopgConnector | None = None

    async def _configure(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._names[connection] = {}
        if self.json_loads:
            psycopg.types.json.set_json_loads(self.json_loads, connection)
        if self.json_dumps:
            psycopg.types.json.set_json_dumps(self.json_dumps, connection)
        if self._user_configure:
            await self._user_configure(connection)

    def get_sync_connector(self) -> connector.BaseConnector:
        """
        Return the connector that sync code uses.

        This one, once it is open: its calls are done on its loop. Until then a sync connector
        with the same arguments.
        """
        if self._async_pool is not None:
            return self
        if self._sync_connector is None:
            self._sync_connector = psycopg_sync.SyncPsycopgConnector(
                json_dumps=self.json_dumps,
                json_loads=self.json_loads,
                # Callbacks for async connections are no use to sync ones.
                **{
                    name: value
                    for name, value in self._given_args.items()
                    if name not in {"configure", "check", "reset", "connection_class"}
                },
            )
        return self._sync_connector

    @property
    def pool(self) -> AsyncPool:
        """The pool; raises :class:`exceptions.AppNotOpen` if there is none yet."""
        if self._async_pool is None:
            raise exceptions.AppNotOpen
        return self._async_pool

    async def open_async(self, pool: AsyncPool | None = None) -> None:
        """Open, with a pool of the caller's if one is given. Open already, nothing happens."""
        if self._async_pool is not None:
            return
        if pool is None:
            psycopg_errors.check_conninfo(self._pool_args)
            pool = self._pool_factory(**self._pool_args)
            timeout = self._pool_args.get("timeout", psycopg_sync.OPEN_TIMEOUT)
            with psycopg_errors.translated():
                await pool.open(wait=True, timeout=timeout)
            self._pool_is_ours = True
        self._loop = asyncio.get_running_loop()
        self._async_pool = pool

    async def close_async(self) -> None:
        """Close the pool, if it is ours. Closed already, nothing happens."""
        pool, self._async_pool = self._async_pool, None
        self._loop = None
        if pool is not None and self._pool_is_ours:
            self._pool_is_ours = False
            await pool.close()

    def line(self) -> connector.Line:
        """Return a line: a connection of its own beside the pool, made with its first call."""

        async def connect() -> psycopg.AsyncConnection[Any]:
            connection = await self._connect_beside(self.pool)
            await self._configure(connection)
            psycopg_json.hasten(connection)
            if not psycopg_socket.speaks_utf8(connection):
                await connection.execute("set client_encoding to 'UTF8'")
            return connection

        return psycopg_line.PsycopgLine(connect, self.json_dumps, on_loss=self._distrust)

    def _distrust(self) -> None:
        """A connection died without a word: so may have those of the pool by now."""
        self._suspects.update(self._names)

    def _lent(self) -> contextlib.AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        return psycopg_lending.lent_async(self.pool, self._suspects)

    async def call_async(
        self, call: Call[T], *, connection: psycopg.AsyncConnection[Any] | None = None
    ) -> T:
        """Send a call and return its result; see :meth:`BaseConnector.call`."""
        if connection is not None:
            with psycopg_errors.translated():
                rows = await self._send(psycopg_sync.own_connection(connection), call)
            return call.decode(rows)
        with psycopg_errors.translated():
            args = psycopg_socket.encode(call, self.json_dumps)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._lent() as pooled:
                    rows = (
                        await self._send_plainly(pooled, call, args)
                        if psycopg_socket.is_plain(pooled)
                        else await self._send(pooled, call)
                    )
                break
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)
        return call.decode(rows)

    async def call_all_async(
        self,
        calls: Iterable[Call[T]],
        *,
        connection: psycopg.AsyncConnection[Any] | None = None,
    ) -> list[T]:
        """Send calls in one transaction; see :meth:`BaseConnector.call_all`."""
        if connection is not None:
            own = psycopg_sync.own_connection(connection)
            with psycopg_errors.translated():
                async with psycopg_lending.in_one_transaction_async(own):
                    return await self._send_all(own, calls)
        attempt = 0
        while True:
            attempt += 1
            try:
                async with (
                    self._lent() as pooled,
                    pooled.transaction(),
                ):
                    return await self._send_all(pooled, calls)
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)

    async def _send_all(
        self, connection: psycopg.AsyncConnection[Any], calls: Iterable[Call[T]]
    ) -> list[T]:
        return [call.decode(await self._send(connection, call)) for call in calls]

    async def _send(self, connection: psycopg.AsyncConnection[Any], call: Call[Any]) -> Rows:
        text: Any = call.function.text
        async with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            await cursor.execute(text, call.encode(self.json_dumps), prepare=True)
            return await cursor.fetchall()

    async def _send_plainly(
        self,
        connection: psycopg.AsyncConnection[Any],
        call: Call[Any],
        args: psycopg_socket.Args,
    ) -> Rows:
        names = self._names.setdefault(connection, {})
        socket = psycopg_socket.Socket(connection, names)
        try:
            return await socket.rows(call.function, args)
        finally:
            is_idle = socket.is_idle
            socket.let_go()
            if not is_idle:  # It was cancelled, or the server is gone.
                try:
                    if socket.is_asking:
                        with contextlib.suppress(psycopg.Error):
                            await connection.cancel_safe(timeout=psycopg_socket.CANCEL_PATIENCE)
                finally:
                    await connection.close()

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        with psycopg_errors.translated():
            async with self._lent() as connection:
                await connection.execute(
                    query, psycopg_json.wrap_all(arguments, self.json_dumps)
                )

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query and return its first row."""
        with psycopg_errors.translated():
            async with self._lent() as connection:
                return await self._one(connection, query, arguments)

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        with psycopg_errors.translated():
            async with self._lent() as connection:
                return await self._all(connection, query, arguments)

    async def execute_query_one_async_with_connection(
        self, connection: psycopg.AsyncConnection[Any], query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        with psycopg_errors.translated():
            return await self._one(psycopg_sync.own_connection(connection), query, arguments)

    async def execute_query_all_async_with_connection(
        self, connection: psycopg.AsyncConnection[Any], query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        with psycopg_errors.translated():
            return await self._all(psycopg_sync.own_connection(connection), query, arguments)

    async def _one(
        self, connection: psycopg.AsyncConnection[Any], query: LiteralString, arguments: Any
    ) -> dict[str, Any]:
        async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            await cursor.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))
            row = await cursor.fetchone()
        if row is None:
            raise exceptions.NoResult
        return row

    async def _all(
        self, connection: psycopg.AsyncConnection[Any], query: LiteralString, arguments: Any
    ) -> list[dict[str, Any]]:
        async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            await cursor.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))
            return await cursor.fetchall()

    async def listen_notify(
        self,
        on_notification: connector.Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """
        Listen on channels until cancelled; see :meth:`BaseConnector.listen_notify`.

        The connection is one of its own, beside the pool: waiting on it takes nothing from
        those who use the pool. Returns at once if a pooler keeps notifications from it.
        """
        pool = self.pool
        if self._cannot_listen:
            return
        with psycopg_errors.translated():
            connection = await self._connect_beside(pool, self._listen_conninfo)
            try:
                if not await psycopg_probe.is_told(connection, pool):
                    self._cannot_listen = True
                    return
                for channel in channels:
                    name = psycopg.sql.Identifier(channel)
                    await _say(connection, psycopg.sql.SQL("listen {}").format(name))
                if on_listening:
                    on_listening()
                while True:
                    async for notification in connection.notifies(
                        timeout=connector.LISTEN_TIMEOUT
                    ):
                        await on_notification(
                            channel=notification.channel, payload=notification.payload
                        )
                    # Nothing for long: a connection that died without a word is found out.
                    # What is announced meanwhile comes with the next ones (psycopg 3.2.4).
                    await _say(connection, "select 1")
            finally:
                await connection.close()

    async def _connect_beside(
        self, pool: AsyncPool, conninfo: Any = None
    ) -> psycopg.AsyncConnection[Any]:
        if conninfo is None:
            conninfo = pool.conninfo
        if callable(conninfo):
            conninfo = conninfo()
            if inspect.isawaitable(conninfo):
                conninfo = await conninfo
        kwargs: Any = pool.kwargs
        if callable(kwargs):
            kwargs = kwargs()
            if inspect.isawaitable(kwargs):
                kwargs = await kwargs
        connection_class: Any = pool.connection_class
        try:
            connection: psycopg.AsyncConnection[Any] = await connection_class.connect(
                conninfo, **{**(kwargs or {}), "autocommit": True}
            )
        except asyncio.CancelledError as exc:
            # psycopg's frames hold the socket: whoever kept the exception would keep it open.
            raise exc.with_traceback(None)  # noqa: B904 (it is the same one)
        return connection
