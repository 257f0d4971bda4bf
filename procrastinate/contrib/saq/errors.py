"""What SAQ's names raise of their own."""

from __future__ import annotations


class InvalidUrlError(Exception):
    """The URL of a queue is none that this package can connect to."""


class MissingDependencyError(Exception):
    """A part of SAQ was asked for that this package does not have."""
