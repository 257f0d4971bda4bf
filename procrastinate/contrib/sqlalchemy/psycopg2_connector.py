"""The sync connector on SQLAlchemy and psycopg2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg2
import sqlalchemy
import sqlalchemy.exc

from procrastinate import connector, exceptions
from procrastinate.connectors import psycopg_keepalive
from procrastinate.contrib.psycopg2 import psycopg2_errors, psycopg2_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextlib.contextmanager
def translated() -> Generator[None, None, None]:
    """Raise SQLAlchemy's errors, and those of psycopg2 within them, as ours."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as exc:
        original = exc.orig
        if isinstance(original, psycopg2.Error):
            raise psycopg2_errors.translate(original) from exc
        raise exceptions.ConnectorException from exc
    except sqlalchemy.exc.SQLAlchemyError as exc:  # no connection to be had from the pool
        raise exceptions.DatabaseUnavailable from exc


class SQLAlchemyPsycopg2Connector(connector.BaseConnector):
    """
    Synchronous connector based on SQLAlchemy with Psycopg2.

    This is used if you want your ``.defer()`` calls to be purely synchronous, not
    asynchronous with a sync wrapper. You may need this if your program is multi-threaded
    and doen't handle async loops well.

    All other arguments than ``dsn``, ``json_dumps`` and ``json_loads`` are passed to
    ``sqlalchemy.create_engine``, with ``connect_args`` that notice within a minute that the
    peer went away without a word (libpq's ``keepalives_idle`` and others), where neither they
    nor ``dsn`` say something else.

    Parameters
    ----------
    dsn :
        The dsn string or URL object passed to SQLAlchemy's ``create_engine`` function; a
        ``postgresql://`` one is psycopg2's. Ignored if the engine is externally created
        and set into the connector through the `App.open` method.
    json_dumps :
        The JSON dumps function to use for serializing job arguments. Defaults to
        ``json.dumps``.
    json_loads :
        The JSON loads function to use for deserializing job arguments. Defaults to
        psycopg2's own. Unused if the engine is externally created.
    """

    def __init__(
        self,
        *,
        dsn: str = "postgresql://",
        json_dumps: Callable[..., Any] | None = None,
        json_loads: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.json_dumps = json_dumps
        self.json_loads = json_loads
        self._dsn = dsn
        self._engine_args: dict[str, Any] = {
            **kwargs,
            **({"json_deserializer": json_loads} if json_loads else {}),
        }
        self._engine: sqlalchemy.Engine | None = None
        self._engine_is_ours = False

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this connector: it is sync."""
        return self

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The engine; raises :class:`exceptions.AppNotOpen` if there is none yet."""
        if self._engine is None:
            raise exceptions.AppNotOpen
        return self._engine

    def open(self, engine: sqlalchemy.Engine | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # 3.10's name
        """Open, with an engine of the caller's if one is given. Open already: nothing."""
        if self._engine is not None:
            return
        if engine is None:
            url = sqlalchemy.make_url(self._dsn)
            if url.drivername == "postgresql":  # SQLAlchemy 2.1 would take psycopg 3
                url = url.set(drivername="postgresql+psycopg2")
            given: dict[str, Any] = self._engine_args.get("connect_args", {})
            keepalive = psycopg_keepalive.defaults_beside(given.get("dsn"))
            engine = sqlalchemy.create_engine(
                url,
                **{
                    **self._engine_args,
                    "connect_args": {
                        # what stands here would beat what the URL says
                        **{k: v for k, v in keepalive.items() if k not in url.query},
                        **given,
                    },
                },
            )
            self._engine_is_ours = True
        self._engine = engine

    def close(self) -> None:
        """Dispose of the engine, if it is ours. Closed already, nothing happens."""
        engine, self._engine = self._engine, None
        if engine is not None and self._engine_is_ours:
            self._engine_is_ours = False
            engine.dispose()

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        with self._connection() as connection:
            self._execute(connection, query, arguments)

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        with self._connection() as connection:
            return self._one(connection, query, arguments)

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        with self._connection() as connection:
            return self._all(connection, query, arguments)

    def execute_query_one_with_connection(
        self, connection: sqlalchemy.Connection, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        with translated():
            return self._one(connection, query, arguments)

    def execute_query_all_with_connection(
        self, connection: sqlalchemy.Connection, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        with translated():
            return self._all(connection, query, arguments)

    @contextlib.contextmanager
    def _connection(self) -> Generator[sqlalchemy.Connection, None, None]:
        engine = self.engine
        with (
            translated(),
            engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection

    def _execute(
        self, connection: sqlalchemy.Connection, query: str, arguments: dict[str, Any]
    ) -> sqlalchemy.CursorResult[Any]:
        wrapped = psycopg2_json.wrap_all(arguments, self.json_dumps)
        # psycopg2 reads the percent signs of a statement only if it has arguments
        return connection.exec_driver_sql(query, wrapped or None)

    def _one(
        self, connection: sqlalchemy.Connection, query: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        row = self._execute(connection, query, arguments).mappings().fetchone()
        if row is None:
            raise exceptions.NoResult
        return dict(row)

    def _all(
        self, connection: sqlalchemy.Connection, query: str, arguments: dict[str, Any]
    ) -> list[dict[str, Any]]:
        return [dict(row) for row in self._execute(connection, query, arguments).mappings()]
