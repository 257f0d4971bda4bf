"""The connector on Django's own connections: a job joins the transaction of the view."""

from __future__ import annotations

import contextlib
import json
import zoneinfo
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from asgiref.sync import sync_to_async
from django import db

from procrastinate import connector, exceptions
from procrastinate.connectors import psycopg_json
from procrastinate.contrib.django import utils
from procrastinate.rpc import errors

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Generator, Iterable, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

    from procrastinate.rpc.call import Call

T = TypeVar("T")

# Types whose values Django leaves, or makes, other than every other connector does.
_JSONB = 3802
_TIMESTAMPTZ = 1184


def _sqlstate(exc: BaseException) -> str | None:
    return getattr(exc.__cause__, "sqlstate", None)


def _translate(exc: db.Error) -> exceptions.ConnectorException:
    driver_error = exc.__cause__
    if driver_error is None:  # Django refused by itself, and says why.
        return exceptions.ConnectorException(str(exc))
    diagnosis: Any = getattr(driver_error, "diag", None)
    message = getattr(diagnosis, "message_primary", None)
    for error in (exc, driver_error):
        errors.keep_data(error, sqlstate=_sqlstate(exc), message=message)
    return errors.exception_for(
        sqlstate=_sqlstate(exc),
        message=message,
        detail=getattr(diagnosis, "message_detail", None),
        constraint_name=getattr(diagnosis, "constraint_name", None),
        connection_lost=isinstance(exc, (db.OperationalError, db.InterfaceError)),
    )


@contextlib.contextmanager
def wrap_exceptions() -> Generator[None, None, None]:
    """Raise Django's errors of the database as ours."""
    try:
        yield
    except db.Error as exc:
        raise _translate(exc) from exc


class DjangoConnector(connector.BaseAsyncConnector):
    """
    A connector that uses Django's connections, the one of the thread that calls.

    What it does is part of the transaction that the thread has under way, so a job that is
    deferred in ``transaction.atomic()`` is there when the block commits, and never was if it
    rolls back. It needs no opening. Async methods go to the thread in which Django's async
    views use the database.

    Parameters
    ----------
    alias :
        The database, as ``settings.DATABASES`` names it.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection, of this thread."""
        return utils.postgresql_connection(self.alias)

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this connector: it is both."""
        return self

    def get_worker_connector(self) -> connector.BaseAsyncConnector:
        """
        Return a connector, not open yet, to the same database, that a worker can use.

        A worker needs connections of its own, and one that listens.
        """
        parameters = utils.connector_params(self.alias)
        if utils.package_is_installed("psycopg") and utils.package_is_version("psycopg", 3):
            from procrastinate import psycopg_connector  # noqa: PLC0415  (one of two)

            return psycopg_connector.PsycopgConnector(kwargs=parameters)
        import importlib  # noqa: PLC0415  (the other driver may not be there)

        aiopg: Any = importlib.import_module("procrastinate.contrib.aiopg")
        other: connector.BaseAsyncConnector = aiopg.AiopgConnector(**parameters)
        return other

    def open(self, pool: None = None) -> None:
        """Do nothing: Django opens its connections."""

    def close(self) -> None:
        """Do nothing: Django closes its connections."""

    async def open_async(self, pool: None = None) -> None:
        """Do nothing: Django opens its connections."""

    async def close_async(self) -> None:
        """Do nothing: Django closes its connections."""

    def call(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Send a call in the thread's transaction; see :meth:`BaseConnector.call`."""
        if connection is not None:
            raise self._no_external_connections()
        encoded = call.encode(self.json_dumps)
        attempt = 0
        while True:
            attempt += 1
            try:
                _, rows = self._fetch(call.function.text, encoded)
                break
            except db.Error as exc:
                repeatable = _sqlstate(exc) in errors.TO_BE_REPEATED and self._owns_statement
                if repeatable and attempt < errors.MAX_TRIES:
                    continue
                raise _translate(exc) from exc
        return call.decode(rows)

    async def call_async(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Send a call and return its result; see :meth:`call`."""
        return await sync_to_async(self.call)(call, connection=connection)

    @property
    def _owns_statement(self) -> bool:
        # In a transaction of the caller's nothing but a rollback can follow.
        connection = self.connection
        return connection.get_autocommit() and not connection.in_atomic_block

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        with wrap_exceptions(), self.connection.cursor() as cursor:
            cursor.execute(query, psycopg_json.wrap_all(arguments, self.json_dumps))

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        rows = self.execute_query_all(query, **arguments)
        if not rows:
            raise exceptions.NoResult
        return rows[0]

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        with wrap_exceptions():
            wrapped = psycopg_json.wrap_all(arguments, self.json_dumps)
            names, rows = self._fetch(query, wrapped)
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        await sync_to_async(self.execute_query)(query, **arguments)

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query and return its first row."""
        return await sync_to_async(self.execute_query_one)(query, **arguments)

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        return await sync_to_async(self.execute_query_all)(query, **arguments)

    def execute_query_one_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Refuse: the connection is Django's."""
        raise self._no_external_connections()

    def execute_query_all_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Refuse: the connection is Django's."""
        raise self._no_external_connections()

    async def listen_notify(
        self,
        on_notification: connector.Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Refuse: a connection that listens can do nothing else."""
        raise NotImplementedError("listen/notify is not supported with Django connector")

    def _fetch(
        self, query: str, arguments: Mapping[str, Any]
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        connection = self.connection
        with connection.cursor() as cursor:
            cursor.execute(query, dict(arguments))
            description = cursor.description or ()
            rows = cursor.fetchall()
        convert = {
            index: converter
            for index, column in enumerate(description)
            if (converter := self._converter(column[1], connection))
        }
        if convert:
            rows = [
                tuple(
                    convert[index](value) if index in convert else value
                    for index, value in enumerate(row)
                )
                for row in rows
            ]
        return [str(column[0]) for column in description], rows

    def _converter(
        self, type_code: int, connection: BaseDatabaseWrapper
    ) -> Callable[[Any], Any] | None:
        if type_code == _JSONB:
            loads = self.json_loads or json.loads

            # Django leaves jsonb as text, for its JSONField to read.
            def read(value: Any) -> Any:
                return loads(value) if isinstance(value, str) else value

            return read
        if type_code == _TIMESTAMPTZ and connection.timezone is None:
            # USE_TZ = False: Django takes the timezone away, which is that of the connection.
            zone = zoneinfo.ZoneInfo(connection.timezone_name)

            def localize(value: datetime.datetime | None) -> datetime.datetime | None:
                return value if value is None else value.replace(tzinfo=zone)

            return localize
        return None
