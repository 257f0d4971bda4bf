"""The signals that end a worker: caught once, then left to whoever had them before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

logger: logging.Logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Handler = Callable[[int, FrameType | None], Any] | int | None


class _StopSignals:
    """Our handlers while they are installed, and those that they stand in for."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._previous: dict[signal.Signals, Handler] = {}

    def install(self) -> None:
        logger.debug("Installing signal handler", extra={"action": "install_signal_handlers"})
        for signum in STOP_SIGNALS:
            self._previous[signum] = signal.signal(signum, self._handle)

    def uninstall(self) -> None:
        """Put the handlers back that were there, if no signal has done so."""
        if self._restore():
            self._log_reset()

    def _restore(self) -> bool:
        previous, self._previous = self._previous, {}
        for signum, handler in previous.items():
            # Not over one that somebody installed since.
            if signal.getsignal(signum) == self._handle:
                # None: the one before was not installed from Python, and can't be put back.
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        return bool(previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        # The first signal only: a second one means what it would have meant without us.
        self._restore()
        if self._loop is None:
            self._stop()
        else:
            # The rest is for the loop: it may be busy writing the log just now. This also
            # wakes it up, if it is waiting.
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._log_reset()
        self._callback()

    @staticmethod
    def _log_reset() -> None:
        logger.debug(
            "Resetting previous signal handler",
            extra={"action": "uninstall_signal_handlers"},
        )


@contextlib.contextmanager
def on_stop(callback: Callable[[], None]) -> Generator[None, None, None]:
    """
    Call ``callback`` at the first SIGINT or SIGTERM while the block runs.

    The previous handlers are put back at that first signal, and when the block is left. In an
    event loop the callback is called by the loop. Outside of the main thread, where Python has
    no signals, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        logger.warning(
            "Skipping signal handling, because this is not the main thread",
            extra={"action": "skip_signal_handlers"},
        )
        yield
        return

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None

    stop_signals = _StopSignals(loop, callback)
    stop_signals.install()
    try:
        yield
    finally:
        stop_signals.uninstall()
