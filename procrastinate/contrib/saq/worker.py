"""SAQ's worker: its hooks and settings, around procrastinate's own worker."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib
import logging
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

import procrastinate
from procrastinate import worker as engine
from procrastinate.contrib.saq import attempts, crons
from procrastinate.contrib.saq.errors import MissingDependencyError
from procrastinate.contrib.saq.queue.postgres import PostgresQueue
from procrastinate.contrib.saq.types import CtxType
from procrastinate.contrib.saq.utils import cancel_tasks, millis, now, uuid1
from procrastinate.rpc import front

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable, Collection, Coroutine

    from procrastinate.contrib.saq.job import CronJob, Job
    from procrastinate.contrib.saq.queue.base import Queue
    from procrastinate.contrib.saq.types import (
        Function,
        FunctionsType,
        JobTaskContext,
        LifecycleFunctionsType,
        PartialTimersDict,
        SettingsDict,
        TimersDict,
        WorkerInfo,
    )
    from procrastinate.job_context import JobContext

    _Hooks = list[Callable[..., Coroutine[Any, Any, Any]]]

logger: logging.Logger = logging.getLogger(__name__)

NO_WEB = (
    "There is no web interface here: saq.web and --web are not part of it. Look at the jobs with "
    "`procrastinate shell`, or in the view procrastinate_overview"
)

#: Seconds between two looks for jobs that no notification told of.
POLLING_INTERVAL = 5.0


class Worker(Generic[CtxType]):
    """
    Runs the jobs of a queue.

    Parameters
    ----------
    queue
        The queue.
    functions
        What it can run: functions, known by their qualified names, or names with functions.
    id
        Its name.
    concurrency
        How many jobs run at the same time.
    cron_jobs
        What runs again and again.
    cron_tz
        The timezone of their expressions.
    startup
        Called before the first job: a function or several, sync or async.
    shutdown
        Called after the last one.
    before_process
        Called before each attempt.
    after_process
        Called after each attempt, however it ended.
    timers
        How often it does what, in seconds.
    dequeue_timeout
        Of a burst: how long to wait for more jobs, in seconds.
    burst
        Whether to end when there are no more jobs.
    max_burst_jobs
        Whether to end after so many.
    shutdown_grace_period_s
        How long jobs may go on once it is stopped; None: they are cancelled at once.
    cancellation_hard_deadline_s
        Of no meaning: a job that does not end when it is cancelled is waited for.
    metadata
        What else `Queue.info` shows of it.
    poll_interval
        How often to look for jobs by itself; 0: it is told of them, and looks now and then.
    """

    SIGNALS: ClassVar[list[signal.Signals]] = [signal.SIGINT, signal.SIGTERM]

    def __init__(
        self,
        queue: Queue,
        functions: FunctionsType[CtxType],
        *,
        id: str | None = None,  # noqa: A002 (SAQ's name)
        concurrency: int = 10,
        cron_jobs: Collection[CronJob[CtxType]] | None = None,
        cron_tz: datetime.tzinfo = datetime.timezone.utc,  # noqa: UP017 (its repr is the default's)
        startup: LifecycleFunctionsType[CtxType] | None = None,
        shutdown: LifecycleFunctionsType[CtxType] | None = None,
        before_process: LifecycleFunctionsType[CtxType] | None = None,
        after_process: LifecycleFunctionsType[CtxType] | None = None,
        timers: PartialTimersDict | None = None,
        dequeue_timeout: float = 0.0,
        burst: bool = False,
        max_burst_jobs: int | None = None,
        shutdown_grace_period_s: int | None = None,
        cancellation_hard_deadline_s: float = 1.0,
        metadata: dict[str, Any] | None = None,
        poll_interval: float = 0.0,
    ) -> None:
        if burst and dequeue_timeout <= 0:
            raise ValueError(
                "dequeue_timeout must be a positive value greater than 0 when the burst mode "
                "is enabled"
            )
        if not isinstance(queue, PostgresQueue):
            raise TypeError(f"A worker runs jobs of a PostgresQueue, not of {queue!r}")
        self.queue: PostgresQueue = queue
        self.id: str = uuid1() if id is None else id
        self.concurrency = concurrency
        self.pool: ThreadPoolExecutor = ThreadPoolExecutor(max_workers=max(concurrency, 1))
        self.startup: _Hooks = ensure_coroutine_function_many(startup or (), self.pool)
        self.shutdown: _Hooks = ensure_coroutine_function_many(shutdown or (), self.pool)
        self.before_process: _Hooks = ensure_coroutine_function_many(
            before_process or (), self.pool
        )
        self.after_process: _Hooks = ensure_coroutine_function_many(
            after_process or (), self.pool
        )
        self.timers: TimersDict = {"schedule": 1, "worker_info": 10, "sweep": 60, "abort": 1}
        self.timers.update(cast("TimersDict", timers or {}))
        self.event: asyncio.Event = asyncio.Event()
        self.cron_jobs: Collection[CronJob[Any]] = cron_jobs or []
        self.cron_tz: datetime.tzinfo = cron_tz
        self.context: CtxType = cast("CtxType", {"worker": self, "queue": queue})
        self.tasks: set[Task[Any]] = set()
        self.job_task_contexts: dict[Job, JobTaskContext] = {}
        self.dequeue_timeout = dequeue_timeout
        self.burst = burst
        self.max_burst_jobs = max_burst_jobs
        self.burst_jobs_processed: int = 0
        self.burst_jobs_processed_lock: asyncio.Lock = asyncio.Lock()
        self.burst_condition_met: bool = False
        self._grace = shutdown_grace_period_s or 0
        self._hard_deadline = cancellation_hard_deadline_s
        self._metadata = metadata
        self._poll_interval = poll_interval
        self.functions: dict[str, Function[CtxType]] = {}
        for cron_job in self.cron_jobs:
            cron_job.check()
        listed: list[Any] = [*functions, *(cron.function for cron in self.cron_jobs)]
        for function in listed:
            if isinstance(function, tuple):
                name, function = cast("tuple[str, Function[CtxType]]", function)  # noqa: PLW2901
            else:
                name = cast("str", function.__qualname__)
            self.functions.setdefault(name, function)
        self._app = self._make_app()
        self._engine: engine.Worker | None = None
        self._ended = asyncio.Event()
        self._ended.set()

    def _make_app(self) -> procrastinate.App:
        app = procrastinate.App(connector=self.queue.app.connector)
        runs = attempts.Attempts(self)
        strategy = attempts.Retries()
        for name, function in self.functions.items():
            run = runs.task(attempts.coroutine_function(function, self.pool))
            app.task(name=name, pass_context=True, retry=strategy)(run)
        return app

    async def start(self) -> None:
        """Connect, and run jobs until stopped or, in a burst, until there are no more."""
        self._ended.clear()
        self.event.clear()
        try:
            await self.queue.connect()
            for hook in self.startup:
                await hook(self.context)
            await self.schedule()
            self.tasks.update(await self.upkeep())
            try:
                await self._run()
            finally:
                await cancel_tasks(self.tasks)
                self.tasks.clear()
                for hook in self.shutdown:
                    await hook(self.context)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Stop running jobs: those that run get the grace period, then go back to the queue."""
        self.event.set()
        if self._engine is not None:
            self._engine.stop()
        await self._ended.wait()

    async def schedule(self, lock: int = 1) -> None:
        """
        Enqueue the next job of each cron job that has none waiting.

        Parameters
        ----------
        lock
            Of no meaning: a key is taken once.
        """
        if not self.cron_jobs:
            return
        moment = await self.queue.app.connector.call_async(front.now())
        await self.queue.enqueue_all(
            crons.next_jobs(
                self.cron_jobs, moment=moment, timezone=self.cron_tz, worker_id=self.id
            )
        )

    async def worker_info(self, ttl: int = 60) -> WorkerInfo:
        """
        Return what the worker has counted, and show it in `Queue.info`.

        Parameters
        ----------
        ttl
            Of no meaning: it is shown as long as the worker lives.
        """
        return await self.queue.worker_info(
            self.id, queue_key=self.queue.name, metadata=self._metadata, ttl=ttl
        )

    async def upkeep(self) -> list[Task[None]]:
        """Start what is done now and then, and return the tasks that do it."""

        async def repeat(action: Callable[..., Awaitable[Any]], seconds: float) -> None:
            while not self.event.is_set():
                try:
                    await action()
                except Exception:
                    logger.exception("Upkeep task failed unexpectedly")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self.event.wait()

        # aborts and stuck jobs are the business of procrastinate's worker
        return [
            asyncio.create_task(repeat(self.worker_info, self.timers["worker_info"])),
            asyncio.create_task(repeat(self.schedule, self.timers["schedule"])),
        ]

    async def abort(self, abort_threshold: float) -> None:
        """
        Do nothing: a job that is to abort is told to at once.

        Parameters
        ----------
        abort_threshold
            Of no meaning.
        """

    async def process(self) -> bool:
        """Run one job if there is one, and return whether there was."""
        return await self._pass(1, wait=False) > 0

    def begin(self, job: Job, context: JobContext) -> None:
        """Take note of an attempt that begins."""
        self.queue.running[job.key] = context
        task = cast("Task[Any]", asyncio.current_task())
        self.job_task_contexts[job] = {"task": task, "aborted": None}
        self.burst_jobs_processed += 1
        self._begun += 1
        if self._engine is not None and self._begun >= self._most:
            self._engine.stop()

    def end(self, job: Job) -> None:
        """Take note of its end."""
        self.queue.running.pop(job.key, None)
        self.job_task_contexts.pop(job, None)

    #: Attempts that the engine that runs has begun, and after how many it stops.
    _begun = 0
    _most = float("inf")

    async def _run(self) -> None:
        if not self.burst:
            await self._pass(self.concurrency, wait=True)
            return
        idle = 0
        while not self.event.is_set():
            begun = await self._pass(self._burst_width(), wait=False)
            if self._burst_width() == 0:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.dequeue_timeout):
                    await self.event.wait()
            idle = 0 if begun else idle + 1
            # once in vain: what waits came after that look; twice: it can't run, as a busy group's
            if idle > 1 or not await self.queue.count("queued"):
                break
        self.burst_condition_met = True

    def _burst_width(self) -> int:
        if self.max_burst_jobs is None:
            return self.concurrency
        return min(self.concurrency, self.max_burst_jobs - self.burst_jobs_processed)

    async def _pass(self, concurrency: int, *, wait: bool) -> int:
        """Run procrastinate's worker, and return how many attempts it has begun."""
        self._begun = 0
        is_limited = not wait and (self.max_burst_jobs is not None or not self.burst)
        self._most = concurrency if is_limited else float("inf")
        if concurrency <= 0 or self.event.is_set():
            return 0
        self._engine = engine.Worker(
            app=self._app,
            queues=[self.queue.name],
            name=self.id,
            concurrency=concurrency,
            wait=wait,
            fetch_job_polling_interval=self._poll_interval or POLLING_INTERVAL,
            abort_job_polling_interval=float(self.timers["abort"]),
            shutdown_graceful_timeout=self._grace,
        )
        self._engine.description["metadata"] = self._metadata
        try:
            await self._engine.run()
        finally:
            self._engine = None
        return self._begun


def ensure_coroutine_function(
    func: Callable[..., Any], pool: ThreadPoolExecutor
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """
    Return a function that can be awaited.

    Parameters
    ----------
    func
        A function; a sync one will run in a thread.
    pool
        Where threads come from.
    """
    return attempts.coroutine_function(func, pool)


def ensure_coroutine_function_many(
    func: Callable[..., Any] | Collection[Callable[..., Any]], pool: ThreadPoolExecutor
) -> list[Callable[..., Coroutine[Any, Any, Any]]]:
    """
    Return functions that can be awaited.

    Parameters
    ----------
    func
        A function, or several.
    pool
        Where threads come from.
    """
    functions = [func] if callable(func) else func
    return [ensure_coroutine_function(function, pool) for function in functions]


def import_settings(settings: str) -> SettingsDict[Any]:
    """
    Return the settings that a dotted path leads to.

    Parameters
    ----------
    settings
        Path to a dictionary of a worker's arguments, or to a function that returns one.
    """
    module_path, _, name = settings.strip().rpartition(".")
    found = getattr(importlib.import_module(module_path or name), name)
    return cast("SettingsDict[Any]", found() if callable(found) else found)


def start(
    settings: str,
    web: bool = False,
    extra_web_settings: list[str] | None = None,
    port: int = 8080,
) -> None:
    """
    Run a worker until it is stopped.

    Parameters
    ----------
    settings
        As of `import_settings`.
    web
        Refused: there is no web interface.
    extra_web_settings
        Refused, too.
    port
        Of no meaning.
    """
    if web or extra_web_settings:
        raise MissingDependencyError(NO_WEB)
    asyncio.run(_start(import_settings(settings)))


async def _start(settings: SettingsDict[Any]) -> None:
    worker: Worker[Any] = Worker(**cast("dict[str, Any]", settings))
    try:
        await worker.start()
    finally:
        await worker.queue.disconnect()


async def async_check_health(queue: Queue) -> int:
    """
    Return 0 if a worker serves a queue, else 1.

    Parameters
    ----------
    queue
        The queue.
    """
    await queue.connect()
    try:
        workers = (await queue.info())["workers"]
    finally:
        await queue.disconnect()
    if workers:
        return 0
    logger.warning("No active workers found for queue %s", queue.name)
    return 1


def check_health(settings: str) -> int:
    """
    Return 0 if a worker serves the queue of some settings, else 1.

    Parameters
    ----------
    settings
        As of `import_settings`.
    """
    queue = import_settings(settings).get("queue")
    if queue is None:
        raise ValueError(f"The settings {settings} name no queue")
    return asyncio.run(async_check_health(queue))


__all__ = [
    "Worker",
    "async_check_health",
    "cancel_tasks",
    "check_health",
    "ensure_coroutine_function",
    "ensure_coroutine_function_many",
    "import_settings",
    "millis",
    "now",
    "start",
    "uuid1",
]
