"""An event loop that leaves out the time in which nothing happens, and counts what does."""

from __future__ import annotations

import asyncio
import re
import selectors
import time
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    import pytest

    from procrastinate import App


class Exchanges:
    """What was sent to the database, and how much of it is not answered yet."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        """By the names of the functions, without the prefix that all have."""
        self.under_way = 0
        counter = self

        class Connection(psycopg.AsyncConnection[Any]):
            """One that is waited for while it is made."""

            @classmethod
            async def connect(cls, *args: Any, **options: Any) -> Any:
                counter.under_way += 1
                try:
                    return await super().connect(*args, **options)
                finally:
                    counter.under_way -= 1

        class Cursor(psycopg.AsyncCursor[Any]):
            """One whose statements are counted, and waited for."""

            async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                function = re.search(r"procrastinate_(\w+)\(", str(query))
                counter.statements.append(function[1] if function else str(query))
                counter.under_way += 1
                try:
                    return await super().execute(query, *args, **options)
                finally:
                    counter.under_way -= 1

        self.pool_options: dict[str, Any] = {
            "connection_class": Connection,
            "kwargs": {"cursor_factory": Cursor},
        }

    def watch_lines(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        """Count what goes over the lines of an app's connector, too."""
        make = app.connector.line

        def line() -> Any:
            made: Any = make()
            send = made.call_async

            async def call_async(call: Any) -> Any:
                self.statements.append(call.function.name.removeprefix("procrastinate_"))
                self.under_way += 1
                try:
                    return await send(call)
                finally:
                    self.under_way -= 1

            made.call_async = call_async
            return made

        monkeypatch.setattr(app.connector, "line", line)


class _Selector(selectors.DefaultSelector):
    """Leaps over the wait if no answer is awaited."""

    def __init__(self, exchanges: Exchanges) -> None:
        super().__init__()
        self._exchanges = exchanges
        self.left_out = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0 or self._exchanges.under_way:
            return super().select(timeout)
        events = super().select(0)
        if not events:
            self.left_out += timeout
        return events


class TimeLapse(asyncio.SelectorEventLoop):
    """
    A loop on whose clock waits take no time, unless they are for the database.

    Parameters
    ----------
    exchanges
        Those of the connections that the loop waits for.
    """

    def __init__(self, exchanges: Exchanges) -> None:
        self._selector_with_leaps = _Selector(exchanges)
        super().__init__(self._selector_with_leaps)

    def time(self) -> float:
        """Return the seconds, those left out included."""
        return time.monotonic() + self._selector_with_leaps.left_out
