"""Periodic tasks: which there are, and the deferrer that makes jobs of their ticks."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, cast

import attrs

from procrastinate import disclosure, exceptions, types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import croniter as croniter_module

    from procrastinate import tasks

P = ParamSpec("P")
R = TypeVar("R")
Args = ParamSpec("Args")

# The maximum delay, in seconds, after which a tick that was missed is left alone.
MAX_DELAY = 60 * 10

# Seconds that 3.x slept beyond a tick. Nothing here does: the name was published.
MARGIN = 0.5

# Seconds until a tick is tried again that the database did not take.
RETRY_DELAY = 5.0

logger: logging.Logger = logging.getLogger(__name__)


@attrs.define(frozen=True, slots=False, order=True)
class PeriodicTask(Generic[P, R, Args]):
    """One schedule of one task."""

    task: tasks.Task[P, R, Args]
    cron: str
    periodic_id: str
    configure_kwargs: tasks.ConfigureTaskOptions

    @functools.cached_property
    def croniter(self) -> croniter_module.croniter:
        """
        The parsed schedule.

        Raises
        ------
        ValueError
            The cron expression is wrong. That shows when a worker starts, not before.
        """
        import croniter  # noqa: PLC0415  (half of what importing this package would cost)

        return croniter.croniter(self.cron)

    def previous_tick(self, at: float) -> int:
        """Return the last tick that is not after this moment."""
        # croniter looks strictly before the moment given, and ticks are whole seconds.
        return int(self.croniter.get_prev(float, start_time=math.floor(at) + 1))

    def next_tick(self, at: float) -> int:
        """Return the first tick after this moment."""
        return int(self.croniter.get_next(float, start_time=at))


if TYPE_CHECKING:
    TaskAtTime = tuple[PeriodicTask[Any, Any, Any], int]
else:
    TaskAtTime = tuple[PeriodicTask, int]  # 3.x published it without parameters


class PeriodicRegistry:
    """The periodic tasks of an app or blueprint, by task name and periodic id."""

    periodic_tasks: dict[tuple[str, str], PeriodicTask[Any, Any, Any]]

    def __init__(self) -> None:
        self.periodic_tasks = {}

    def periodic_decorator(
        self,
        cron: str,
        periodic_id: str,
        **configure_kwargs: Unpack[tasks.ConfigureTaskOptions],
    ) -> Callable[[tasks.Task[P, R, Concatenate[int, Args]]], tasks.Task[P, R, Args]]:
        """Return the decorator that registers a task and gives it back as it was."""

        def wrapper(
            task: tasks.Task[P, R, Concatenate[int, Args]],
        ) -> tasks.Task[P, R, Args]:
            self.register_task(
                task=task,
                cron=cron,
                periodic_id=periodic_id,
                configure_kwargs=configure_kwargs,
            )
            # The deferrer passes the timestamp, so whoever calls defer does not have to.
            return cast("tasks.Task[P, R, Args]", task)

        return wrapper

    def register_task(
        self,
        task: tasks.Task[P, R, Concatenate[int, Args]],
        cron: str,
        periodic_id: str,
        configure_kwargs: tasks.ConfigureTaskOptions,
    ) -> PeriodicTask[P, R, Concatenate[int, Args]]:
        """
        Add a schedule.

        Raises
        ------
        exceptions.TaskAlreadyRegistered
            The task has a schedule of that id.
        """
        key = (task.name, periodic_id)
        if key in self.periodic_tasks:
            raise exceptions.TaskAlreadyRegistered(
                "A periodic task was already registed with the same periodic_id "
                f"({periodic_id!r}). Please use a different periodic_id for multiple "
                "schedules of the same task."
            )
        logger.info(
            "Registering task %s with periodic id %r to run periodically with cron %s",
            task.name,
            periodic_id,
            cron,
            extra={
                "action": "registering_periodic_task",
                "task": task.name,
                "cron": cron,
                "periodic_id": periodic_id,
                "kwargs": str(_without_args(configure_kwargs)),
            },
        )
        periodic_task = PeriodicTask(
            task=task,
            cron=cron,
            periodic_id=periodic_id,
            configure_kwargs=configure_kwargs,
        )
        self.periodic_tasks[key] = periodic_task
        return periodic_task


class PeriodicDeferrer:
    """
    Defer a job for each tick of each periodic task.

    Every worker has one. That a tick becomes one job whatever their number is the database's
    doing: see ``sql/functions/wire/defer_periodic_job_v3.sql``.

    Parameters
    ----------
    registry
        The schedules.
    max_delay
        Seconds. A tick that was missed, and is older than that, is left alone.
    clock
        Tells the time, in seconds since the epoch.
    """

    def __init__(
        self,
        registry: PeriodicRegistry,
        max_delay: float = MAX_DELAY,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.registry = registry
        self.max_delay = max_delay
        self.last_defers: dict[tuple[str, str], int] = {}
        self._clock = clock

    async def worker(self) -> None:
        """
        Defer jobs as their ticks pass, for ever; return at once if nothing is periodic.

        Raises
        ------
        ValueError
            A cron expression is wrong.
        """
        if not self.registry.periodic_tasks:
            logger.info(
                "No periodic task found, periodic deferrer will not run.",
                extra={"action": "periodic_deferrer_no_task"},
            )
            return

        while True:
            done = await self.defer_jobs(self.get_previous_tasks(at=self._clock()))
            next_tick = self.get_next_tick(at=self._clock())
            await self.wait(next_tick if done else min(next_tick, RETRY_DELAY))

    def get_next_tick(self, at: float) -> float:
        """Return the seconds from this moment until the next tick of any task."""
        return min(task.next_tick(at) for task in self.registry.periodic_tasks.values()) - at

    def get_previous_tasks(self, at: float) -> Iterable[TaskAtTime]:
        """
        Yield what has fallen due by this moment and was not deferred yet, in order of time.
        """
        due: list[TaskAtTime] = []
        for key, periodic_task in self.registry.periodic_tasks.items():
            due.extend(
                (periodic_task, timestamp)
                for timestamp in self.get_timestamps(
                    periodic_task=periodic_task, since=self.last_defers.get(key), until=at
                )
            )
        due.sort(key=lambda item: item[1])
        yield from due

    def get_timestamps(
        self,
        periodic_task: PeriodicTask[Any, Any, Any],
        since: int | None,
        until: float,
    ) -> Iterable[int]:
        """
        Yield the ticks of one task that were missed, the oldest first.

        With ``since`` those after it; without, the last one. None of them is older than
        ``max_delay``.
        """
        timestamps: list[int] = []
        for timestamp in self._ticks_back(periodic_task, until):
            if since is not None and timestamp <= since:
                break
            if until - timestamp > self.max_delay:
                logger.debug(
                    "Ignoring periodic task %s scheduled more than %g s ago (%.0f s)",
                    periodic_task.task.name,
                    self.max_delay,
                    until - timestamp,
                    extra={
                        "action": "ignore_periodic_task",
                        "max_delay": self.max_delay,
                        "defer_timestamp": timestamp,
                        "task": periodic_task.task.name,
                        "periodic_id": periodic_task.periodic_id,
                        "delay": until - timestamp,
                    },
                )
                break
            timestamps.append(timestamp)
            if since is None:
                break
        yield from reversed(timestamps)

    @staticmethod
    def _ticks_back(periodic_task: PeriodicTask[Any, Any, Any], at: float) -> Iterator[int]:
        tick = periodic_task.previous_tick(at)
        while True:
            yield tick
            tick = periodic_task.previous_tick(tick - 1)

    async def defer_jobs(self, jobs_to_defer: Iterable[TaskAtTime]) -> bool:
        """
        Defer a job for each task and tick, unless another worker already did.

        Returns False if the database did not take some of them; they will come again.
        """
        failed: set[tuple[str, str]] = set()
        for periodic_task, timestamp in jobs_to_defer:
            key = (periodic_task.task.name, periodic_task.periodic_id)
            if key in failed:
                continue  # Its earlier tick comes first, and waits.
            try:
                await self._defer(periodic_task, timestamp)
            except exceptions.ConnectorException:
                failed.add(key)
                logger.warning(
                    "Periodic job %s could not be deferred for timestamp %s, will try again",
                    key[0],
                    timestamp,
                    extra={
                        "action": "periodic_task_not_deferred",
                        "task_name": key[0],
                        "periodic_id": key[1],
                        "defer_timestamp": timestamp,
                    },
                    exc_info=True,
                )
            else:
                # Not before: what was not deferred must come again.
                self.last_defers[key] = timestamp
        return not failed

    async def _defer(self, periodic_task: PeriodicTask[Any, Any, Any], timestamp: int) -> None:
        task = periodic_task.task
        configure_kwargs = cast(
            "tasks.ConfigureTaskOptions", {**periodic_task.configure_kwargs}
        )
        task_kwargs: types.JSONDict = {**(configure_kwargs.get("task_kwargs") or {})}
        task_kwargs["timestamp"] = timestamp
        configure_kwargs["task_kwargs"] = task_kwargs
        # The tick is the schedule.
        configure_kwargs.pop("schedule_at", None)
        configure_kwargs.pop("schedule_in", None)

        description: dict[str, Any] = {
            "task_name": task.name,
            "periodic_id": periodic_task.periodic_id,
            "defer_timestamp": timestamp,
            "kwargs": configure_kwargs,
        }
        job_deferrer = task.configure(**configure_kwargs)
        try:
            job_id = await job_deferrer.job_manager.defer_periodic_job(
                job=job_deferrer.job,
                periodic_id=periodic_task.periodic_id,
                defer_timestamp=timestamp,
            )
        except exceptions.AlreadyEnqueued:
            logger.debug(
                "Periodic job %s cannot be enqueued: there is already a job in the queue "
                "with the queueing lock %s",
                job_deferrer.job.log_string,
                job_deferrer.job.queueing_lock,
                extra={
                    "action": "skip_periodic_task_queueing_lock",
                    "queueing_lock": job_deferrer.job.queueing_lock,
                    "job": job_deferrer.job.log_context(),
                    **description,
                },
            )
            return
        job = job_deferrer.job.evolve(id=job_id)
        description["job"] = job.log_context()
        if job_id is None:
            logger.debug(
                "Periodic job %s skipped for timestamp %s: already deferred",
                job.log_string,
                timestamp,
                extra={"action": "periodic_task_already_deferred", **description},
            )
            return
        logger.info(
            "Periodic job %s deferred for timestamp %s with id %s",
            job.log_string,
            timestamp,
            job_id,
            extra={"action": "periodic_task_deferred", **description},
        )

    async def wait(self, next_tick: float) -> None:
        """Wait for so many seconds."""
        logger.debug(
            "Periodic deferrer waiting for next tasks to defer (%.0f s)",
            next_tick,
            extra={"action": "wait_next_tick", "next_tick": next_tick},
        )
        await asyncio.sleep(next_tick)


def _without_args(configure_kwargs: tasks.ConfigureTaskOptions) -> dict[str, Any]:
    shown: dict[str, Any] = {**configure_kwargs}
    if shown.get("task_kwargs") and not disclosure.args_are_shown():
        shown["task_kwargs"] = dict.fromkeys(shown["task_kwargs"], disclosure.HIDDEN)
    return shown
