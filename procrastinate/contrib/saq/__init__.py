"""
SAQ's programming interface over procrastinate's queue.

``from procrastinate.contrib import saq`` stands where ``import saq`` stood. A job that is
enqueued through it is a job of procrastinate's, whoever runs it.
"""

from __future__ import annotations

from procrastinate.contrib.saq.job import CronJob, Job, Status
from procrastinate.contrib.saq.queue import Queue
from procrastinate.contrib.saq.worker import Worker

__all__ = ["CronJob", "Job", "Queue", "Status", "Worker"]
