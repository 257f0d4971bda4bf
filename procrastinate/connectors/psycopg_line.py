"""
A connection for one caller who makes one call after another.

A pooled connection is lent and taken back for each call, and a cursor made, and psycopg waits
for the socket anew each time: twice what a short call costs the server. Here the connection
stays, its socket is watched for as long as it lives, and each statement is prepared once. Of
psycopg it uses what its page on ``psycopg.pq`` publishes, and its loaders.
"""

from __future__ import annotations

import asyncio
import itertools
import select
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import psycopg.adapt
import psycopg.errors
from psycopg import pq

from procrastinate import connector
from procrastinate.connectors import psycopg_errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    from psycopg.pq.abc import PGresult

    from procrastinate.rpc.call import Call, Function, Rows

    Connection: TypeAlias = psycopg.AsyncConnection[Any]

T = TypeVar("T")

# The prepared statement is gone (a pooler, DISCARD ALL), or was made before a migration.
_TO_BE_PREPARED_AGAIN = frozenset({"26000", "0A000"})

_NUMBERS = itertools.count(1)

_ANSWERED = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK})


class PsycopgLine(connector.Line):
    """
    A connection beside the pool.

    Parameters
    ----------
    connect
        Makes a connection like those of the pool, in autocommit mode.
    json_dumps
        How ``jsonb`` is written, instead of with :func:`json.dumps`.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        json_dumps: Callable[..., Any] | None,
    ) -> None:
        # Not the connector itself: of that, all it needs is in these two.
        self._connect = connect
        self._json_dumps = json_dumps
        self._socket: _Socket | None = None

    async def call_async(self, call: Call[T]) -> T:
        """
        Send a call and return its result. One at a time.

        Cancelled before the answer is there, it closes the connection: what was asked for may
        have been done.
        """
        args = [
            None if text is None else text.encode()
            for text in call.encode(self._json_dumps).values()
        ]
        attempt = 0
        while True:
            attempt += 1
            try:
                rows = await self._rows(call.function, args)
                break
            except psycopg.Error as exc:
                psycopg_errors.raise_unless_repeated(exc, attempt)
        return call.decode(rows)

    async def close(self) -> None:
        """Close the connection, if there is one. The next call makes another."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _rows(self, function: Function, args: list[bytes | None]) -> Rows:
        socket = self._socket
        if socket is None or not socket.hears_nothing():
            await self.close()
            socket = self._socket = _Socket(await self._connect())
        try:
            return await socket.rows(function, args)
        except BaseException:
            if not socket.is_idle:
                await self.close()
            raise


class _Socket:
    """A connection that the loop watches, and what it was told to remember."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._fileno = self._pgconn.socket
        self._names: dict[str, bytes] = {}
        self._transformer = psycopg.adapt.Transformer(connection)
        self._answer: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None
        self._has_writer = False
        self._is_dead = False
        self._incoming = select.poll()
        self._incoming.register(self._fileno, select.POLLIN)
        self._loop.add_reader(self._fileno, self._read)

    def hears_nothing(self) -> bool:
        """Whether a server that is idle has not said goodbye, as far as has come through."""
        # It says goodbye and closes: to hear both takes reading twice.
        while not self._is_dead and self._incoming.poll(0):
            self._read()
        return self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited, and a further call may be sent."""
        return (
            not self._is_dead and self._pgconn.transaction_status == pq.TransactionStatus.IDLE
        )

    async def close(self) -> None:
        """Let go of the socket."""
        self._die()
        await self._connection.close()

    async def rows(self, function: Function, args: list[bytes | None]) -> Rows:
        """Execute, and load what is returned."""
        if self._connection.prepare_threshold is None:  # It was told not to prepare.
            self._pgconn.send_query_params(function.numbered_text.encode(), args)
            return self._load(await self._answered())
        try:
            return await self._prepared(function, args)
        except psycopg.Error as exc:
            if exc.sqlstate not in _TO_BE_PREPARED_AGAIN or not self.is_idle:
                raise
        self._names.clear()
        return await self._prepared(function, args)

    async def _prepared(self, function: Function, args: list[bytes | None]) -> Rows:
        name = self._names.get(function.name)
        if name is None:
            name = f"procrastinate_line_{next(_NUMBERS)}".encode()
            self._pgconn.send_prepare(name, function.numbered_text.encode())
            self._load(await self._answered())
            self._names[function.name] = name
        self._pgconn.send_query_prepared(name, args)
        return self._load(await self._answered())

    def _load(self, result: PGresult) -> Rows:
        if result.status not in _ANSWERED:
            raise psycopg.errors.error_from_result(result)
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    async def _answered(self) -> PGresult:
        """Wait for the answer to what was sent."""
        self._answer = self._loop.create_future()
        self._write()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self._die()  # An answer that comes yet would be taken for the next one's.
            raise

    def _write(self) -> None:
        """Send what libpq holds; come again when the socket takes more."""
        try:
            is_all_sent = self._pgconn.flush() == 0
        except psycopg.Error as exc:
            self._fail(exc)
            return
        if self._has_writer == is_all_sent:
            self._has_writer = not is_all_sent
            if self._has_writer:
                self._loop.add_writer(self._fileno, self._write)
            else:
                self._loop.remove_writer(self._fileno)

    def _read(self) -> None:
        """Take what the server says: the answer or, when nothing was asked, goodbye."""
        pgconn = self._pgconn
        try:
            pgconn.consume_input()
            while self._answer is not None and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # The server is ready for the next call.
                    self._settle()
                elif self._result is None or result.status not in _ANSWERED:
                    self._result = result
        except psycopg.Error as exc:
            self._fail(exc)

    def _settle(self) -> None:
        answer, self._answer = self._answer, None
        result, self._result = self._result, None
        assert answer is not None  # Nothing is read unless something was asked,
        assert result is not None  # and to each call the server says one thing at least.
        if not answer.done():
            answer.set_result(result)

    def _fail(self, exc: psycopg.Error) -> None:
        answer, self._answer = self._answer, None
        self._die()
        if answer is not None and not answer.done():
            answer.set_exception(exc)

    def _die(self) -> None:
        if self._is_dead:
            return
        self._is_dead = True
        self._loop.remove_reader(self._fileno)
        self._loop.remove_writer(self._fileno)
