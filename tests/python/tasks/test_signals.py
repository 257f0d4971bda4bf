"""The first signal stops, the second is for whoever had it before."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from procrastinate import signals

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Handlers of the test's own, so that a signal that gets through ends no test run."""
    before = {signum: signal.getsignal(signum) for signum in BOTH}
    for signum in BOTH:
        signal.signal(signum, _before)
    _received.clear()
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


_received: list[int] = []


def _before(signum: int, frame: object) -> None:
    _received.append(signum)


@pytest.mark.parametrize("signum", BOTH)
def test_the_first_signal_calls_back_and_puts_the_previous_handlers_back(
    signum: signal.Signals,
) -> None:
    calls: list[str] = []
    with signals.on_stop(lambda: calls.append("stop")):
        signal.raise_signal(signum)

        assert (calls, _received) == (["stop"], [])
        assert [signal.getsignal(each) for each in BOTH] == [_before, _before]

        signal.raise_signal(signum)

        assert (calls, _received) == (["stop"], [signum])


def test_leaving_the_block_puts_the_previous_handlers_back() -> None:
    with signals.on_stop(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not _before

    assert [signal.getsignal(each) for each in BOTH] == [_before, _before]


def test_a_handler_that_somebody_installed_meanwhile_is_left_alone() -> None:
    def newer(signum: int, frame: object) -> None: ...

    with signals.on_stop(lambda: None):
        signal.signal(signal.SIGTERM, newer)

    assert signal.getsignal(signal.SIGTERM) is newer
    assert signal.getsignal(signal.SIGINT) is _before


def test_a_handler_from_outside_of_python_gives_way_to_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install = signal.signal

    def returns_none(signum: int, handler: object) -> object:
        previous = install(signum, handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return None if previous is _before else previous

    monkeypatch.setattr(signal, "signal", returns_none)
    with signals.on_stop(lambda: None):
        pass

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_in_a_loop_the_callback_is_called_by_the_loop_and_wakes_it_up() -> None:
    stopped = asyncio.Event()
    with signals.on_stop(stopped.set):
        signal.raise_signal(signal.SIGTERM)
        assert not stopped.is_set()  # not in the handler: the loop may be anywhere

        await asyncio.wait_for(stopped.wait(), timeout=10)


def test_outside_of_the_main_thread_signals_are_skipped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    during: list[object] = []

    def run() -> None:
        with signals.on_stop(lambda: None):
            during.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert during == [_before]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "Skipping signal handling, because this is not the main thread")
    ]
    assert caplog.records[0].__dict__["action"] == "skip_signal_handlers"


def test_installing_and_resetting_are_logged_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.signals")

    with signals.on_stop(lambda: None):
        signal.raise_signal(signal.SIGINT)

    assert [record.__dict__["action"] for record in caplog.records] == [
        "install_signal_handlers",
        "uninstall_signal_handlers",
    ]
