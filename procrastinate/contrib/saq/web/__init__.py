"""SAQ's web interface, which is not here."""

from __future__ import annotations

from procrastinate.contrib.saq.errors import MissingDependencyError

raise MissingDependencyError(
    "There is no web interface here: look at the jobs with `procrastinate shell`, or in the view "
    "procrastinate_overview"
)
