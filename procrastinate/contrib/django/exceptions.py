"""What only a Django project can do wrong."""

from __future__ import annotations

from procrastinate import exceptions


class DjangoNotReady(exceptions.ProcrastinateException):
    """
    The app was used before Django was ready.
    """


class ReadOnlyModel(exceptions.ProcrastinateException):
    """
    A model of the queue was written to.
    """
