"""The door to what tests of programs that defer jobs need."""

from __future__ import annotations

from procrastinate.connectors.memory.connector import InMemoryConnector
from procrastinate.connectors.memory.store import EventRow, JobRow

__all__ = ["EventRow", "InMemoryConnector", "JobRow"]
