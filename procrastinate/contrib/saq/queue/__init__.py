"""SAQ's queues, of which the one on PostgreSQL is here."""

from __future__ import annotations

from procrastinate.contrib.saq.queue.base import JobError, Queue

__all__ = ["JobError", "Queue"]
