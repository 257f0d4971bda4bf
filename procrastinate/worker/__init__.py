"""
The worker: what claims jobs and runs them.

Its parts have one reason to change each: ``claim`` exchanges ends for new jobs, ``executor``
runs one job, ``heartbeat`` compares what the database thinks with what runs here, ``listener``
hears of new jobs and aborts, ``recovery`` takes care of the jobs of dead workers,
``registration`` is the worker's row, ``shutdown`` ends it all.
"""

from __future__ import annotations

import logging

from procrastinate.worker.worker import (
    ABORT_JOB_POLLING_INTERVAL,
    FETCH_JOB_POLLING_INTERVAL,
    WORKER_CONCURRENCY,
    WORKER_NAME,
    Worker,
)

__all__ = [
    "ABORT_JOB_POLLING_INTERVAL",
    "FETCH_JOB_POLLING_INTERVAL",
    "WORKER_CONCURRENCY",
    "WORKER_NAME",
    "Worker",
    "logger",
]

logger: logging.Logger = logging.getLogger(__name__)
