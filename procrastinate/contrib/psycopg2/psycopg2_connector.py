"""The sync connector on psycopg2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg2.extras
import psycopg2.pool

from procrastinate import connector, exceptions
from procrastinate.connectors import psycopg_keepalive, psycopg_lending
from procrastinate.contrib.psycopg2 import psycopg2_errors, psycopg2_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Psycopg2Connector(connector.BaseConnector):
    """
    Synchronous connector based on a ``psycopg2.pool.ThreadedConnectionPool``.

    This is used if you want your ``.defer()`` calls to be purely synchronous, not
    asynchronous with a sync wrapper. You may need this if your program is multi-threaded
    and doen't handle async loops well.

    All other arguments than ``json_dumps`` and ``json_loads`` are passed to
    ``psycopg2.pool.ThreadedConnectionPool``. Connections of a pool of ours are in
    autocommit mode, so that a call is one round trip.

    Parameters
    ----------
    json_dumps :
        The JSON dumps function to use for serializing job arguments. Defaults to
        ``json.dumps``.
    json_loads :
        The JSON loads function to use for deserializing job arguments. Defaults to
        psycopg2's own. Unused if the pool is externally created and set into the
        connector through the `App.open` method.
    minconn : int
        Connections that the pool opens at once. Default 1.
    maxconn : int
        Connections that it has at most; to ask for more raises. Default 10.
    dsn : str
        Default is ``""``: what libpq's variables say.
    cursor_factory : type
        Default is ``psycopg2.extras.RealDictCursor``; there is no use in changing it.
    keepalives_idle, keepalives_interval, keepalives_count, tcp_user_timeout, connect_timeout : int
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
        self._pool: psycopg2.pool.AbstractConnectionPool | None = None
        self._pool_is_ours = False
        self._pool_args: dict[str, Any] = {
            "minconn": 1,
            "maxconn": 10,
            "dsn": "",
            "cursor_factory": psycopg2.extras.RealDictCursor,
            **psycopg_keepalive.defaults_beside(kwargs.get("dsn")),
            **kwargs,
        }

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this connector: it is sync."""
        return self

    @property
    def pool(self) -> psycopg2.pool.AbstractConnectionPool:
        """The pool; raises :class:`exceptions.AppNotOpen` if there is none yet."""
        if self._pool is None:
            raise exceptions.AppNotOpen
        return self._pool

    def open(self, pool: psycopg2.pool.AbstractConnectionPool | None = None) -> None:
        """Open, with a pool of the caller's if one is given. Open already, nothing happens."""
        if self._pool is not None:
            return
        if pool is None:
            with psycopg2_errors.translated():
                pool = psycopg2.pool.ThreadedConnectionPool(**self._pool_args)
            self._pool_is_ours = True
        self._pool = pool

    def close(self) -> None:
        """Close the pool, if it is ours. Closed already, nothing happens."""
        pool, self._pool = self._pool, None
        if pool is not None and self._pool_is_ours:
            self._pool_is_ours = False
            if not pool.closed:
                pool.closeall()

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        with self._cursor() as cursor:
            cursor.execute(query, self._wrapped(arguments))

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        with self._cursor() as cursor:
            cursor.execute(query, self._wrapped(arguments))
            row: dict[str, Any] | None = cursor.fetchone()
        if row is None:
            raise exceptions.NoResult
        return row

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        with self._cursor() as cursor:
            cursor.execute(query, self._wrapped(arguments))
            rows: list[dict[str, Any]] = cursor.fetchall()
        return rows

    def _wrapped(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return psycopg2_json.wrap_all(arguments, self.json_dumps)

    @contextlib.contextmanager
    def _cursor(self) -> Generator[Any, None, None]:
        pool = self.pool
        with psycopg2_errors.translated():
            connection = self._connection_of(pool)
            try:
                with (
                    connection,  # commits, or rolls back
                    connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
                ):
                    yield cursor
            finally:
                pool.putconn(connection, close=bool(connection.closed))

    def _connection_of(self, pool: psycopg2.pool.AbstractConnectionPool) -> Any:
        """Take a connection of the pool that is not known to be broken."""
        while True:
            connection: Any = pool.getconn()
            if psycopg_lending.is_quiet(connection):
                break
            # The server has said goodbye to it. The pool has as many of these at the most.
            pool.putconn(connection, close=True)
        if self._pool_is_ours:
            if not connection.autocommit:
                connection.autocommit = True
            if self.json_loads:
                psycopg2_json.read_with(connection, self.json_loads)
        return connection
