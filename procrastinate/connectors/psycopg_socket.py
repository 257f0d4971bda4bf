"""
Sending calls through libpq: each statement prepared once, no cursor, no conversions.

A cursor of psycopg's costs a short call more processor time than the server takes to answer it,
and its async one registers the socket with the event loop anew for each wait. Of psycopg this
uses what its page on ``psycopg.pq`` publishes, and its loaders: docs/decisions/0069 and 0080.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import select
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import psycopg
import psycopg.adapt
import psycopg.errors
from psycopg import pq

if TYPE_CHECKING:
    from collections.abc import Generator

    from psycopg.pq.abc import PGresult

    from procrastinate.rpc.call import Call, Dumps, Function, Rows

    Connection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger(__name__)

Args: TypeAlias = "list[bytes | None]"

#: The names under which a connection's statements are prepared, by their text: a function may
#: be called with all of its arguments, or with the first.
Names: TypeAlias = dict[str, bytes]

#: Seconds that a server has to take a request to cancel. Its connection is closed anyway.
CANCEL_PATIENCE = 5.0

# The prepared statement is gone (a pooler, DISCARD ALL), or was made before a migration.
_TO_BE_PREPARED_AGAIN = frozenset({"26000", "0A000"})

# What only a pooler that lends another server for each transaction can answer to a statement
# that was just prepared, or is being prepared under a name of our own.
_KNOWS_NO_NAMES = frozenset({"26000", "42P05"})

# Among the names, that some were lost before: the text of no function.
_LOST = ""

_MISSED = _TO_BE_PREPARED_AGAIN | _KNOWS_NO_NAMES

#: Names of prepared statements: no two have one, of whatever process (one that forks has a number
#: of its own).
_PROGRAM = os.urandom(8).hex()
_NUMBERS = itertools.count(1)

_ANSWERED = frozenset({pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK})


def encode(call: Call[Any], json_dumps: Dumps | None) -> Args:
    """Return the arguments of a call as libpq sends them to a server that is told UTF-8."""
    args: Args = []
    for text in call.encode(json_dumps).values():
        if text is not None and "\0" in text:
            # libpq would end it there. The words are psycopg's.
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        args.append(None if text is None else text.encode())
    return args


def speaks_utf8(connection: Connection) -> bool:
    """Whether text is sent and received in UTF-8."""
    return connection.pgconn.parameter_status(b"client_encoding") == b"UTF8"


def is_plain(connection: Connection) -> bool:
    """
    Whether a call may go through libpq: nobody would miss the cursor.

    A cursor class of the user's may log or trace what it executes, and without autocommit the
    transaction may have an isolation level of its own.
    """
    return (
        connection.autocommit
        and connection.cursor_factory in _CURSORS
        and speaks_utf8(connection)
    )


_CURSORS = frozenset({psycopg.Cursor, psycopg.AsyncCursor})


@functools.cache
def say_unprepared() -> None:
    logger.warning(
        "Prepared statements get lost between this process and the server: a pooler in "
        "transaction mode without them. Calls go on unprepared. PgBouncer keeps them with "
        "max_prepared_statements; prepare_threshold=None says that there are none"
    )


class _Talker:
    """A connection on which nobody else is talking, and the names that it was told."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._settings = connection
        self._prepares = connection.prepare_threshold is not None
        self._pgconn = connection.pgconn
        self._names = names
        self._transformer = psycopg.adapt.Transformer(connection)
        self._result: PGresult | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited, and a further call may be sent."""
        return self._pgconn.transaction_status == pq.TransactionStatus.IDLE

    @property
    def is_asking(self) -> bool:
        """Whether the server still works on what it was sent, as far as is known."""
        return self._pgconn.transaction_status == pq.TransactionStatus.ACTIVE

    def _talk(self, function: Function, args: Args) -> Generator[None, PGresult, Rows]:
        """Execute: whenever it yields, something was sent, and it goes on with the answer."""
        if not self._prepares:  # It was told not to.
            self._pgconn.send_query_params(function.numbered_text.encode(), args)
            return self._load((yield))
        try:
            return (yield from self._execute_prepared(function, args))
        except psycopg.Error as exc:
            if exc.sqlstate not in _MISSED or not self.is_idle:
                raise
            # The first time somebody may have said DISCARD ALL.
            is_pooled = exc.sqlstate == "42P05" or (
                exc.sqlstate == "26000" and _LOST in self._names
            )
            is_lost = exc.sqlstate == "26000"
        self._names.clear()
        if is_lost:
            self._names[_LOST] = b""
        if not is_pooled:
            try:
                return (yield from self._execute_prepared(function, args))
            except psycopg.Error as exc:
                if exc.sqlstate not in _KNOWS_NO_NAMES or not self.is_idle:
                    raise
        # For this connection's cursors as well.
        self._settings.prepare_threshold = None
        self._prepares = False
        self._names.clear()
        say_unprepared()
        return (yield from self._talk(function, args))

    def _execute_prepared(
        self, function: Function, args: Args
    ) -> Generator[None, PGresult, Rows]:
        text = function.numbered_text
        name = self._names.get(text)
        if name is None:
            # Behind a pooler another process may have used the number, with another text.
            name = f"procrastinate_{_PROGRAM}_{os.getpid():x}_{next(_NUMBERS)}".encode()
            self._pgconn.send_prepare(name, text.encode())
            self._load((yield))
            self._names[text] = name
        self._pgconn.send_query_prepared(name, args)
        return self._load((yield))

    def _load(self, result: PGresult) -> Rows:
        if result.status not in _ANSWERED:
            raise psycopg.errors.error_from_result(result)
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _has_answer(self) -> bool:
        """Take what has come in, and tell whether the server is ready for the next call."""
        pgconn = self._pgconn
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                return True
            if self._result is None or result.status not in _ANSWERED:
                self._result = result
        return False

    def _take_answer(self) -> PGresult:
        result, self._result = self._result, None
        assert result is not None  # To each call the server says one thing at least.
        return result


class Socket(_Talker):
    """
    A connection that the event loop watches until it is let go.

    Parameters
    ----------
    connection
        In autocommit mode, idle, and in nobody else's hands.
    names
        What is prepared on it.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], names: Names) -> None:
        super().__init__(connection, names)
        self._loop = asyncio.get_running_loop()
        self._fileno = self._pgconn.socket
        self._answer: asyncio.Future[PGresult] | None = None
        self._has_writer = False
        self.is_watched: bool = True
        self._loop.add_reader(self._fileno, self.read)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is awaited, and a further call may be sent."""
        return self.is_watched and super().is_idle

    def let_go(self) -> None:
        """Watch the connection no longer."""
        if not self.is_watched:
            return
        self.is_watched = False
        # libpq closes one that broke, and the loop, which watches it for reading and for
        # writing, fails to watch it for one of both. It has forgotten it then.
        with contextlib.suppress(OSError):
            self._loop.remove_reader(self._fileno)
        if self._has_writer:
            with contextlib.suppress(OSError):
                self._loop.remove_writer(self._fileno)

    async def rows(self, function: Function, args: Args) -> Rows:
        """Execute, and load what is returned."""
        talk = self._talk(function, args)
        try:
            next(talk)
            while True:
                talk.send(await self._answered())
        except StopIteration as done:
            rows: Rows = done.value
            return rows

    async def _answered(self) -> PGresult:
        """Wait for the answer to what was sent."""
        self._answer = self._loop.create_future()
        self._write()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.let_go()  # An answer that comes yet would be taken for the next one's.
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

    def read(self) -> None:
        """Take what the server says: the answer or, when nothing was asked, goodbye."""
        try:
            if self._answer is None:
                self._pgconn.consume_input()
            elif self._has_answer():
                answer, self._answer = self._answer, None
                result = self._take_answer()
                if not answer.done():
                    answer.set_result(result)
        except psycopg.Error as exc:
            self._fail(exc)

    def _fail(self, exc: psycopg.Error) -> None:
        self.let_go()
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(exc)


class SyncSocket(_Talker):
    """
    The same for sync code, which waits for each answer.

    Parameters
    ----------
    connection
        In autocommit mode, idle, and in nobody else's hands.
    names
        What is prepared on it.
    """

    def __init__(self, connection: psycopg.Connection[Any], names: Names) -> None:
        super().__init__(connection, names)
        self._poll = select.poll()

    def rows(self, function: Function, args: Args) -> Rows:
        """Execute, and load what is returned."""
        talk = self._talk(function, args)
        try:
            next(talk)
            while True:
                talk.send(self._answered())
        except StopIteration as done:
            rows: Rows = done.value
            return rows

    def _answered(self) -> PGresult:
        """Wait for the answer to what was sent."""
        pgconn, poll = self._pgconn, self._poll
        poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        while pgconn.flush():
            poll.poll()
            # A server that answers before it has heard all must get rid of what it says.
            pgconn.consume_input()
        poll.register(pgconn.socket, select.POLLIN)
        poll.poll()
        while not self._has_answer():
            poll.poll()
        return self._take_answer()
