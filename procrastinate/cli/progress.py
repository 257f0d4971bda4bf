"""How far a long command is: a line that changes on a terminal, and nothing in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

#: Seconds between two updates: often enough to see that something happens.
TICK = 0.5

_CLEAR = "\r\x1b[K"  # to the start of the line, and erase it


def is_terminal() -> bool:
    """Whether somebody sees what goes to stderr."""
    return sys.stderr.isatty()


@attrs.define
class Progress:
    """What is known of how far it is."""

    detail: str = ""
    """What is done just now."""
    _began: float = attrs.field(factory=time.monotonic)

    def tell(self, detail: str) -> None:
        """Say what is done now: with the next update, since it may change often."""
        self.detail = detail

    def show(self) -> None:
        """Write the line anew."""
        seconds = time.monotonic() - self._began
        detail = f": {self.detail}" if self.detail else ""
        print(f"{_CLEAR}{seconds:.0f} s{detail}", end="", file=sys.stderr, flush=True)

    async def run(self) -> None:
        """Show it now and then, until cancelled."""
        while True:
            self.show()
            await asyncio.sleep(TICK)


@contextlib.asynccontextmanager
async def progress() -> AsyncGenerator[Progress]:
    """Show how far the body of the ``with`` is, if somebody sees it; leave no trace."""
    shown = Progress()
    if not is_terminal():
        yield shown
        return
    ticker = asyncio.create_task(shown.run())
    try:
        yield shown
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker
        print(_CLEAR, end="", file=sys.stderr, flush=True)
