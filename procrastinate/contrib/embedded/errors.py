"""What goes wrong with an embedded server."""

from __future__ import annotations

from procrastinate import exceptions


class EmbeddedServerError(exceptions.ProcrastinateException):
    """
    The embedded PostgreSQL server could not be started.
    """
