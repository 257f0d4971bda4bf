"""
What a worker of this version calls, for the database to know.

A migration that removes one of these functions is refused while the worker lives:
``_procrastinate_refuse_removal``.
"""

from __future__ import annotations

from procrastinate.rpc import defers, results, wire

PREFIX = "procrastinate_"


def functions() -> list[str]:
    """
    Return the versioned functions, in the order of their names, without ``procrastinate_``.
    """
    spoken = {
        function.name.removeprefix(PREFIX)
        for module in (wire, defers, results)
        for function in module.FUNCTIONS
    }
    return sorted(spoken)
