"""
A connection for one caller who makes one call after another.

A pooled connection is lent and taken back for each call. Here the connection stays, and its
socket is watched for as long as it lives.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg

from procrastinate import connector
from procrastinate.connectors import psycopg_errors, psycopg_socket
from procrastinate.rpc import schema_free

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from procrastinate.rpc.call import Call, Function, Rows

    Connection: TypeAlias = psycopg.AsyncConnection[Any]

T = TypeVar("T")


class PsycopgLine(connector.Line):
    """
    A connection beside the pool.

    Parameters
    ----------
    connect
        Makes a connection like those of the pool, in autocommit mode.
    json_dumps
        How ``jsonb`` is written, instead of with :func:`json.dumps`.
    on_loss
        Told when the connection is found to have died without a word.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        json_dumps: Callable[..., Any] | None,
        on_loss: Callable[[], None],
    ) -> None:
        # Not the connector itself: of that, all it needs is in these three.
        self._connect = connect
        self._json_dumps = json_dumps
        self._on_loss = on_loss
        self._socket: _Socket | None = None

    async def call_async(self, call: Call[T]) -> T:
        """
        Send a call and return its result. One at a time.

        Cancelled before the answer is there, it closes the connection: what was asked for may
        have been done.
        """
        with psycopg_errors.translated():
            args = psycopg_socket.encode(call, self._json_dumps)
        attempt = 0
        while True:
            attempt += 1
            try:
                rows = await self._rows(call.function, args)
                break
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)
        return call.decode(rows)

    async def is_lost(self) -> bool:
        """
        Whether the call under way gets no answer: a new connection asks who works on it.

        A network that lost a connection says nothing. If the server's process waits to hear
        something, or is gone, nothing is to be waited for; False if that can't be seen.
        """
        socket = self._socket
        if socket is None:
            return False  # It is being connected.
        with psycopg_errors.translated():
            other = _Socket(await self._connect())
            try:
                call = schema_free.is_process_at_rest(
                    socket.server_process, asking=other.server_process
                )
                is_lost = call.decode(await other.say(call, self._json_dumps))
            finally:
                await other.close()
        if is_lost:
            self._on_loss()
        return is_lost

    async def close(self) -> None:
        """Close the connection, if there is one. The next call makes another."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _rows(self, function: Function, args: psycopg_socket.Args) -> Rows:
        socket = self._socket
        if socket is None or not socket.hears_nothing():
            await self.close()
            socket = await self._greeted()
        try:
            return await socket.rows(function, args)
        except BaseException as exc:
            # A server that is no primary any more is not asked again: another one is.
            if not socket.is_idle or isinstance(exc, psycopg.errors.ReadOnlySqlTransaction):
                await self.close()
            raise

    async def _greeted(self) -> _Socket:
        socket = _Socket(await self._connect())
        try:
            if self.greeting is not None:
                await socket.say(self.greeting(), self._json_dumps)
        except BaseException:
            await socket.close()
            raise
        self._socket = socket
        return socket


class _Socket(psycopg_socket.Socket):
    """The line's own connection: it may die while nothing is asked."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, {})
        self._connection = connection
        self._incoming = select.poll()
        self._incoming.register(connection.fileno(), select.POLLIN)
        self.server_process: int = connection.info.backend_pid

    async def say(self, call: Call[Any], json_dumps: Callable[..., Any] | None) -> Rows:
        """Send a call as it is, and return what comes."""
        return await self.rows(call.function, psycopg_socket.encode(call, json_dumps))

    def hears_nothing(self) -> bool:
        """Whether a server that is idle has not said goodbye, as far as has come through."""
        # It says goodbye and closes: to hear both takes reading twice.
        while self.is_watched and self._incoming.poll(0):
            self.read()
        return self.is_idle

    async def close(self) -> None:
        """Let go of the socket."""
        self.let_go()
        await self._connection.close()
