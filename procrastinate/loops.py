"""
The event loop of programs that are ours: uvloop's if it is installed, else asyncio's.

Never that of a program which runs a loop of its own: docs/decisions/0076-uvloop-if-it-is-there.md.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

#: A variable that turns uvloop off, if it is installed for something else.
SWITCH = "PROCRASTINATE_UVLOOP"
OFF = frozenset({"0", "false", "n", "no", "off"})


def factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the loop; None for what asyncio makes."""
    if os.environ.get(SWITCH, "").lower() in OFF:
        return None
    try:
        uvloop: Any = importlib.import_module("uvloop")  # there is none for Windows
    except ImportError:
        return None
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_event_loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """
    Run a program on a loop of its own, as :func:`asyncio.run` does.

    Raises
    ------
    RuntimeError
        A loop is running in this thread.
    """
    loop_factory = None if _is_running() else factory()
    if loop_factory is None:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


def _is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
