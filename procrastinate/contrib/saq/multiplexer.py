"""SAQ's multiplexer of notifications, which is not here."""

from __future__ import annotations

from procrastinate.contrib.saq.errors import MissingDependencyError

raise MissingDependencyError(
    "There is no multiplexer here: all that wait for jobs share one connection by themselves. Use "
    "Queue.listen, or procrastinate's App.wait_for"
)
