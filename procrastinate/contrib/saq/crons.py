"""The jobs that a cron expression wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import croniter

from procrastinate.contrib.saq.job import CronJob, Job

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

_INHERITED = ("timeout", "heartbeat", "retries", "ttl", "kwargs")


def next_jobs(
    cron_jobs: Iterable[CronJob[Any]],
    *,
    moment: datetime.datetime,
    timezone: datetime.tzinfo,
    worker_id: str,
) -> list[Job]:
    """
    Make the job of the next tick of each.

    ``moment`` is by the clock of the database: workers whose own clocks differ would run a tick
    twice, for the key of a run that has ended is free.
    """
    jobs: list[Job] = []
    for cron_job in cron_jobs:
        ticks = croniter.croniter(cron_job.cron, moment.astimezone(timezone))
        tick = int(ticks.get_next(float))
        name = cron_job.function.__qualname__
        key = f"cron:{name}"
        fields = {
            field: value
            for field in _INHERITED
            if (value := getattr(cron_job, field)) is not None
        }
        if not cron_job.unique:
            key = f"{key}:{worker_id}:{tick}"
        jobs.append(Job(function=name, key=key, scheduled=tick, **fields))
    return jobs
