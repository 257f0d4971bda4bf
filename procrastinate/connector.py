"""
What a connector is: the one thing between the rest of the package and a driver.

A connector sends :class:`~procrastinate.rpc.call.Call` values, runs the queries that 3.x
published, and listens. It alone knows a driver, and turns all of the driver's errors into
:class:`~procrastinate.exceptions.ConnectorException`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString, Protocol, TypeVar

from procrastinate import exceptions, utils
from procrastinate.rpc import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from procrastinate.rpc.call import Call

T = TypeVar("T")

#: Seconds without a notification after which a listening connection is tried out.
LISTEN_TIMEOUT = 30.0

#: Seconds for the answer then. A connection that gives none is dead.
LISTEN_PATIENCE = 10.0

Pool = Any
Engine = Any


class Notify(Protocol):
    """What is called for each notification."""

    def __call__(self, *, channel: str, payload: str) -> Awaitable[None]:
        """Take a notification."""
        ...


class BaseConnector:
    """
    The contract, and what a sync connector says to everything async.

    A subclass that runs the published queries (``execute_query*``) can send calls, too: they
    are queries like others, unless the subclass knows a faster way.
    """

    json_dumps: Callable[..., Any] | None = None
    json_loads: Callable[..., Any] | None = None

    #: Whether async defers that are made at once may go in one statement. Not where each call
    #: belongs to a transaction of its caller's.
    defers_together: ClassVar[bool] = False

    #: Whether it has :meth:`call_all`. Who has not gets a batch as one statement.
    sends_pieces: ClassVar[bool] = False

    def get_sync_connector(self) -> BaseConnector:
        """Return the connector that sync code uses in this one's place."""
        raise NotImplementedError

    def get_async_twin(self) -> BaseAsyncConnector:
        """
        Return an async connector, not open yet, that was given the same arguments.

        Raises
        ------
        exceptions.SyncConnectorConfigurationError
            This kind of connector has none.
        """
        raise exceptions.SyncConnectorConfigurationError

    def open(self, pool: Pool | None = None) -> None:
        """Open, with a pool of the caller's if one is given."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what :meth:`open` opened; a pool of the caller's stays open."""
        raise NotImplementedError

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        raise NotImplementedError

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        raise NotImplementedError

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        raise NotImplementedError

    def execute_query_one_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        raise self._no_external_connections()

    def execute_query_all_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        raise self._no_external_connections()

    def call(self, call: Call[T], *, connection: Any | None = None) -> T:
        """
        Send a call and return its result.

        Parameters
        ----------
        call
            What to send.
        connection
            A connection of the caller's: the call becomes part of its transaction, which
            nobody but the caller commits.
        """
        text: Any = call.function.text
        encoded = call.encode(self.json_dumps)
        if connection is not None:
            rows = self.execute_query_all_with_connection(connection, text, **encoded)
            return call.decode([tuple(row.values()) for row in rows])
        attempt = 0
        while True:
            attempt += 1
            try:
                rows = self.execute_query_all(text, **encoded)
                break
            except exceptions.ConnectorException as exc:
                if attempt == errors.MAX_TRIES or not errors.is_to_be_repeated(exc):
                    raise
        return call.decode([tuple(row.values()) for row in rows])

    def call_all(self, calls: Iterable[Call[T]], *, connection: Any | None = None) -> list[T]:
        """
        Send calls one after the other, in one transaction, and return their results.

        Parameters
        ----------
        calls
            What to send. They are asked for again if the transaction has to be repeated.
        connection
            A connection of the caller's: the calls become part of its transaction, or are one
            if it has none.
        """
        raise NotImplementedError

    async def open_async(self, pool: Pool | None = None) -> None:
        """Open, with a pool of the caller's if one is given."""
        raise exceptions.SyncConnectorConfigurationError

    async def close_async(self) -> None:
        """Close what :meth:`open_async` opened; a pool of the caller's stays open."""
        raise exceptions.SyncConnectorConfigurationError

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        raise exceptions.SyncConnectorConfigurationError

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query and return its first row."""
        raise exceptions.SyncConnectorConfigurationError

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        raise exceptions.SyncConnectorConfigurationError

    async def execute_query_one_async_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        raise self._no_external_connections()

    async def execute_query_all_async_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        raise self._no_external_connections()

    def line(self) -> Line:
        """Return a line, for one caller who makes one call after another."""
        return Line(self)

    async def call_async(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Send a call and return its result; see :meth:`call`."""
        text: Any = call.function.text
        encoded = call.encode(self.json_dumps)
        if connection is not None:
            rows = await self.execute_query_all_async_with_connection(
                connection, text, **encoded
            )
            return call.decode([tuple(row.values()) for row in rows])
        attempt = 0
        while True:
            attempt += 1
            try:
                rows = await self.execute_query_all_async(text, **encoded)
                break
            except exceptions.ConnectorException as exc:
                if attempt == errors.MAX_TRIES or not errors.is_to_be_repeated(exc):
                    raise
        return call.decode([tuple(row.values()) for row in rows])

    async def call_all_async(
        self, calls: Iterable[Call[T]], *, connection: Any | None = None
    ) -> list[T]:
        """Send calls in one transaction and return their results; see :meth:`call_all`."""
        raise NotImplementedError

    async def listen_notify(
        self,
        on_notification: Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """
        Listen on channels, and call ``on_notification`` for what arrives, until cancelled.

        Parameters
        ----------
        on_notification
            Awaited for each notification.
        channels
            What to listen on.
        on_listening
            Called once nothing can be missed any more: what was announced before must be
            looked for.

        Raises
        ------
        exceptions.DatabaseUnavailable
            The connection was lost, or could not be made. Notifications were missed.
        """
        raise exceptions.SyncConnectorConfigurationError

    def _no_external_connections(self) -> exceptions.ConnectorException:
        return exceptions.ConnectorException(
            f"{type(self).__name__} does not support external connections"
        )


class Line:
    """
    What one caller sends one call after another over.

    A connector that can do better than by single calls has a subclass that does.

    Parameters
    ----------
    connector
        Sends the calls.
    """

    #: Makes what is said first to whichever server a new connection reaches: it may be another
    #: than the last one, and refuse. Of use to subclasses that know what is new.
    greeting: Callable[[], Call[Any]] | None = None

    def __init__(self, connector: BaseConnector) -> None:
        self._connector = connector

    async def call_async(self, call: Call[T]) -> T:
        """Send a call and return its result; see :meth:`BaseConnector.call`."""
        return await self._connector.call_async(call)

    async def is_lost(self) -> bool:
        """Whether the call under way is known to get no answer; others can be asked meanwhile."""
        return False

    async def close(self) -> None:
        """Let go of what the line holds. The next call takes it anew."""


class BaseAsyncConnector(BaseConnector):
    """
    An async connector. What is sync it does on the event loop that it was opened in.

    So sync code of the same program, in another thread, shares the async pool.
    """

    _loop: asyncio.AbstractEventLoop | None = None

    #: What :meth:`_in_loop` says where it would wait for itself; 3.x's words.
    _IN_LOOP_MESSAGE: ClassVar[str] = (
        "You cannot use AsyncToSync in the same thread as an async event loop - "
        "just await the async function directly."
    )

    async def open_async(self, pool: Pool | None = None) -> None:
        """Open, with a pool of the caller's if one is given."""
        raise NotImplementedError

    async def close_async(self) -> None:
        """Close what :meth:`open_async` opened; a pool of the caller's stays open."""
        raise NotImplementedError

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        raise NotImplementedError

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query and return its first row."""
        raise NotImplementedError

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        raise NotImplementedError

    async def listen_notify(
        self,
        on_notification: Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Listen on channels until cancelled; see :meth:`BaseConnector.listen_notify`."""
        raise NotImplementedError

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Run a query for its effect."""
        return self._in_loop(self.execute_query_async, query, **arguments)

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Run a query and return its first row."""
        return self._in_loop(self.execute_query_one_async, query, **arguments)

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows."""
        return self._in_loop(self.execute_query_all_async, query, **arguments)

    def execute_query_one_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Run a query in the caller's transaction and return its first row."""
        return self._in_loop(
            self.execute_query_one_async_with_connection, connection, query, **arguments
        )

    def execute_query_all_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Run a query in the caller's transaction and return its rows."""
        return self._in_loop(
            self.execute_query_all_async_with_connection, connection, query, **arguments
        )

    def call(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Send a call and return its result; see :meth:`BaseConnector.call`."""

        async def send() -> T:
            return await self.call_async(call, connection=connection)

        return self._in_loop(send)

    def call_all(self, calls: Iterable[Call[T]], *, connection: Any | None = None) -> list[T]:
        """Send calls in one transaction; see :meth:`BaseConnector.call_all`."""

        async def send() -> list[T]:
            return await self.call_all_async(calls, connection=connection)

        return self._in_loop(send)

    def _in_loop(self, func: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Call an async function of ours from sync code, on the loop that owns the pool."""
        loop = self._loop
        if loop is None or not loop.is_running():
            return utils.async_to_sync(func, *args, **kwargs)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise RuntimeError(self._IN_LOOP_MESSAGE)

        async def run() -> T:
            return await func(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()
