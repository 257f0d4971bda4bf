"""
Whether the log and the errors of this process may show what jobs were given.

They do not, at level info and above, unless somebody asks for it: arguments are the users'
data, and a log is read by more people, and kept elsewhere, than the database is.
"""

from __future__ import annotations

import os

#: What stands in the place of what is not shown.
HIDDEN = "..."

_shown: bool = os.environ.get("PROCRASTINATE_LOG_ARGS", "")[:1].lower() in {"1", "y", "t"}


def args_are_shown() -> bool:
    """
    Return whether arguments of jobs are shown.
    """
    return _shown


def show_args(shown: bool = True) -> None:
    """
    Show the arguments of jobs in log records and errors from now on, or do not.

    It counts for the process. Without it the variable ``PROCRASTINATE_LOG_ARGS`` says so.
    """
    global _shown  # noqa: PLW0603 (as the logging module's own settings, it is the process's)
    _shown = shown
