"""
The verbs that people use on jobs, workers and queues; each is one line of rpc.

Its parts have one kind of user each: ``defers`` is for those who have something to do, ``runs``
for a worker, ``operations`` for those who look after a queue, ``results`` for those who wait
for what comes of it, ``questions`` for all.
"""

from __future__ import annotations

from procrastinate.manager.defers import QUEUEING_LOCK_CONSTRAINT, Defers
from procrastinate.manager.operations import Operations
from procrastinate.manager.questions import Questions
from procrastinate.manager.results import Results
from procrastinate.manager.runs import (
    NotificationCallback,
    Runs,
    get_channel_for_queues,
    logger,
)

__all__ = [
    "QUEUEING_LOCK_CONSTRAINT",
    "JobManager",
    "NotificationCallback",
    "get_channel_for_queues",
    "logger",
]


# The page of the reference shows the last one first.
class JobManager(Questions, Results, Operations, Runs, Defers):
    """
    What can be done with jobs, from outside of them.

    Parameters
    ----------
    connector
        What talks to the database.
    """
