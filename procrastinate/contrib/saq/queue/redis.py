"""SAQ's queue on Redis, which is not here."""

from __future__ import annotations

from procrastinate.contrib.saq.errors import MissingDependencyError

raise MissingDependencyError(
    "There is no queue on Redis here: procrastinate's queues are in PostgreSQL. Use "
    "Queue.from_url with a URL that begins with postgresql://"
)
