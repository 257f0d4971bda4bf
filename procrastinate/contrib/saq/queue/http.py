"""SAQ's queue behind HTTP, which is not here."""

from __future__ import annotations

from procrastinate.contrib.saq.errors import MissingDependencyError

raise MissingDependencyError(
    "There is no queue behind HTTP here: connect to the database itself, with Queue.from_url and "
    "a URL that begins with postgresql://"
)
