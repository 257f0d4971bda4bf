"""The sync connector on psycopg 3."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
import psycopg.rows
import psycopg.types.json
import psycopg_pool

from procrastinate import connector, exceptions
from procrastinate.connectors import (
    psycopg_errors,
    psycopg_json,
    psycopg_keepalive,
    psycopg_lending,
    psycopg_socket,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from procrastinate.rpc.call import Call, Rows

T = TypeVar("T")

#: Seconds that opening waits for a first connection, unless the pool was given a timeout.
OPEN_TIMEOUT = 30.0


def own_connection(connection: Any) -> Any:
    """
    Return psycopg's own connection of one that SQLAlchemy hands out; others as they are.

    SQLAlchemy 2 has it, of its sync connections and within its async ones. Nothing of it is
    imported for that.
    """
    own: Any = connection
    if isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        return own
    sync = getattr(connection, "sync_connection", connection)
    return getattr(getattr(sync, "connection", None), "driver_connection", connection)


class SyncPsycopgConnector(connector.BaseConnector):
    """
    Create a PostgreSQL connector using psycopg. The connector uses a
    ``psycopg_pool.ConnectionPool``, which is created internally, or set into the
    connector by calling `App.open`.

    Note that if you want to use a ``psycopg_pool.NullConnectionPool``, you will need
    to initialize it yourself and pass it to the connector through the `App.open`
    method.

    All other arguments than ``json_dumps`` and ``json_loads`` are passed to
    ``psycopg_pool.ConnectionPool``. Connections are in autocommit mode, so that a call
    is one round trip.

    Parameters
    ----------
    json_dumps :
        A function to serialize JSON objects to a string. If not provided, JSON objects
        will be serialized using ``json.dumps``.
    json_loads :
        A function to deserialize JSON objects from a string. If not provided, JSON
        objects will be deserialized using psycopg's default JSON deserializer.
    """

    sends_pieces = True

    def __init__(
        self,
        *,
        json_dumps: Callable[..., Any] | None = None,
        json_loads: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.json_dumps = json_dumps
        self.json_loads = json_loads
        self._pool: psycopg_pool.ConnectionPool[Any] | None = None
        self._pool_is_ours = False
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
        self._user_configure: Callable[[Any], None] | None = kwargs.get("configure")
        self._given_args = kwargs
        self._names: weakref.WeakKeyDictionary[Any, psycopg_socket.Names]
        self._names = weakref.WeakKeyDictionary()
        """What is prepared on each connection of the pool."""

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        if self.json_loads:
            psycopg.types.json.set_json_loads(self.json_loads, connection)
        if self.json_dumps:
            psycopg.types.json.set_json_dumps(self.json_dumps, connection)
        if self._user_configure:
            self._user_configure(connection)

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this connector: it is sync."""
        return self

    def get_async_twin(self) -> connector.BaseAsyncConnector:
        """Return a :class:`PsycopgConnector`, not open yet, with the same arguments."""
        # Here and not at the top: that module imports this one.
        from procrastinate.connectors import psycopg_async  # noqa: PLC0415

        return psycopg_async.PsycopgConnector(
            json_dumps=self.json_dumps,
            json_loads=self.json_loads,
            # Callbacks for sync connections are no use to async ones.
            **{
                name: value
                for name, value in self._given_args.items()
                if name not in {"configure", "check", "reset", "connection_class"}
            },
        )

    @property
    def pool(self) -> psycopg_pool.ConnectionPool[Any]:
        """The pool; raises :class:`exceptions.AppNotOpen` if there is none yet."""
        if self._pool is None:
            raise exceptions.AppNotOpen
        return self._pool

    def open(self, pool: psycopg_pool.ConnectionPool[Any] | None = None) -> None:
        """Open, with a pool of the caller's if one is given. Open already, nothing happens."""
        if self._pool is not None:
            return
        if pool is not None:
            self._pool = pool
            return
        psycopg_errors.check_conninfo(self._pool_args)
        pool = psycopg_pool.ConnectionPool(**self._pool_args)
        with psycopg_errors.translated():
            pool.open(wait=True, timeout=self._pool_args.get("timeout", OPEN_TIMEOUT))
        self._pool, self._pool_is_ours = pool, True

    def close(self) -> None:
        """Close the pool, if it is ours. Closed already, nothing happens."""
        pool, self._pool = self._pool, None
        if pool is not None and self._pool_is_ours:
            self._pool_is_ours = False
            pool.close()

    def call(self, call: Call[T], *, connection: psycopg.Connection[Any] | None = None) -> T:
        """Send a call and return its result; see :meth:`BaseConnector.call`."""
        if connection is not None:
            with psycopg_errors.translated():
                rows = self._send(own_connection(connection), call)
            return call.decode(rows)
        with psycopg_errors.translated():
            args = psycopg_socket.encode(call, self.json_dumps)
        attempt = 0
        while True:
            attempt += 1
            try:
                with psycopg_lending.lent(self.pool) as pooled:
                    rows = (
                        self._send_plainly(pooled, call, args)
                        if psycopg_socket.is_plain(pooled)
                        else self._send(pooled, call)
                    )
                break
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)
        return call.decode(rows)

    def call_all(
        self, calls: Iterable[Call[T]], *, connection: psycopg.Connection[Any] | None = None
    ) -> list[T]:
        """Send calls in one transaction; see :meth:`BaseConnector.call_all`."""
        if connection is not None:
            own = own_connection(connection)
            with psycopg_errors.translated(), psycopg_lending.in_one_transaction(own):
                return self._send_all(own, calls)
        attempt = 0
        while True:
            attempt += 1
            try:
                with psycopg_lending.lent(self.pool) as pooled, pooled.transaction():
                    return self._send_all(pooled, calls)
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)

    def _send_all(
        self, connection: psycopg.Connection[Any], calls: Iterable[Call[T]]
    ) -> list[T]:
        return [call.decode(self._send(connection, call)) for call in calls]

    def _send(self, connection: psycopg.Connection[Any], call: Call[Any]) -> Rows:
        text: Any = call.function.text
        with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(text, call.encode(self.json_dumps), prepare=True)
            return cursor.fetchall()

    def _send_plainly(
        self, connection: psycopg.Connection[Any], call: Call[Any], args: psycopg_socket.Args
    ) -> Rows:
        names = self._names.setdefault(connection, {})
        socket = psycopg_socket.SyncSocket(connection, names)
        try:
            return socket.rows(call.function, args)
        finally:
            if not socket.is_idle:  # It was interrupted, or the server is gone.
                if socket.is_asking:
                    with contextlib.suppress(psycopg.Error):
                        connection.cancel_safe(timeout=psycopg_socket.CANCEL_PATIENCE)
                connection.close()

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        with psycopg_errors.translated(), psycopg_lending.lent(self.pool) as connection:
            connection.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        with psycopg_errors.translated(), psycopg_lending.lent(self.pool) as connection:
            return self._one(connection, query, arguments)

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        with psycopg_errors.translated(), psycopg_lending.lent(self.pool) as connection:
            return self._all(connection, query, arguments)

    def execute_query_one_with_connection(
        self, connection: psycopg.Connection[Any], query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        with psycopg_errors.translated():
            return self._one(own_connection(connection), query, arguments)

    def execute_query_all_with_connection(
        self, connection: psycopg.Connection[Any], query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        with psycopg_errors.translated():
            return self._all(own_connection(connection), query, arguments)

    def _one(
        self, connection: psycopg.Connection[Any], query: LiteralString, arguments: Any
    ) -> dict[str, Any]:
        with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            cursor.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))
            row = cursor.fetchone()
        if row is None:
            raise exceptions.NoResult
        return row

    def _all(
        self, connection: psycopg.Connection[Any], query: LiteralString, arguments: Any
    ) -> list[dict[str, Any]]:
        with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            cursor.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))
            return cursor.fetchall()
