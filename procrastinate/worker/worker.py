"""The worker itself: its options, and how its parts are started and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, jobs, middleware, periodic, signals, utils
from procrastinate.worker import (
    claim,
    executor,
    heartbeat,
    housekeeping,
    listener,
    outage,
    prefetch,
    recovery,
    registration,
    retention,
    running,
    shutdown,
    updates,
    waiting,
)

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Coroutine, Iterable

    from procrastinate import app as app_module
    from procrastinate import job_context, tasks

WORKER_NAME = "worker"
WORKER_CONCURRENCY = 1
FETCH_JOB_POLLING_INTERVAL = 5.0  # seconds; notifications and alarms are what wakes a worker
ABORT_JOB_POLLING_INTERVAL = 5.0  # seconds; as above
HEARTBEAT_INTERVAL = 10.0  # seconds; a third of the timeout: two beats may be lost
STALLED_WORKER_TIMEOUT = 30.0  # seconds

logger: logging.Logger = logging.getLogger("procrastinate.worker")


class Worker:
    """
    Claims jobs and runs them, until it is stopped or, with ``wait=False``, has run them all.

    The parameters are those of `App.run_worker_async`, which makes one of these.
    """

    def __init__(
        self,
        app: app_module.App,
        queues: Iterable[str] | None = None,
        name: str | None = WORKER_NAME,
        concurrency: int = WORKER_CONCURRENCY,
        wait: bool = True,
        fetch_job_polling_interval: float = FETCH_JOB_POLLING_INTERVAL,
        abort_job_polling_interval: float = ABORT_JOB_POLLING_INTERVAL,
        shutdown_graceful_timeout: float | None = None,
        listen_notify: bool = True,
        delete_jobs: str | jobs.DeleteJobCondition | None = None,
        additional_context: dict[str, Any] | None = None,
        install_signal_handlers: bool = True,
        update_heartbeat_interval: float = HEARTBEAT_INTERVAL,
        stalled_worker_timeout: float = STALLED_WORKER_TIMEOUT,
        task_middleware: list[middleware.TaskMiddleware] | None = None,
        worker_middleware: list[middleware.WorkerMiddleware] | None = None,
        stalled_jobs: recovery.Policies | None = None,
        retention: datetime.timedelta | float | None = None,
        prefetch: int = 0,
    ) -> None:
        self.app = app
        if isinstance(queues, str):  # An iterable of names, too: of one letter each.
            raise TypeError(f"queues must be names of queues, not the string {queues!r}")
        if prefetch < 0:
            raise ValueError(f"prefetch must be a number of jobs, 0 or more, not {prefetch}")
        self.queues: list[str] | None = None if queues is None else list(queues)
        self.worker_name: str = name or WORKER_NAME
        self.concurrency = concurrency
        self.prefetch = prefetch
        self.wait = wait
        self.fetch_job_polling_interval = fetch_job_polling_interval
        self.abort_job_polling_interval = abort_job_polling_interval
        self.shutdown_graceful_timeout = shutdown_graceful_timeout
        self.listen_notify = listen_notify
        self.delete_jobs: jobs.DeleteJobCondition = (
            jobs.DeleteJobCondition.NEVER
            if delete_jobs is None
            else jobs.DeleteJobCondition(delete_jobs)
        )
        self.additional_context: dict[str, Any] = additional_context or {}
        self.install_signal_handlers = install_signal_handlers
        self.update_heartbeat_interval = update_heartbeat_interval
        self.stalled_worker_timeout = stalled_worker_timeout
        self.stalled_jobs: dict[str, jobs.StalledJobPolicy] = recovery.read_policies(
            stalled_jobs
        )
        self.task_middleware: list[middleware.TaskMiddleware] = task_middleware or []
        self.worker_middleware: list[middleware.WorkerMiddleware] = worker_middleware or []
        middleware.check_worker_middlewares(
            task_middleware=self.task_middleware, worker_middleware=self.worker_middleware
        )

        self.retention = retention

        self.logger: logging.Logger = logger.getChild(self.worker_name)
        self.worker_id: int | None = None
        self.description: dict[str, Any] = {}  # what else its row says of it
        self.run_task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._make_parts()

    def _make_parts(self) -> None:
        self.running: running.RunningJobs = running.RunningJobs(self)
        self.aborts: listener.AbortPoller = listener.AbortPoller(self)
        self.claims: claim.Claims = claim.Claims(self)
        self.executor: executor.Executor = executor.Executor(self)
        self.heartbeat: heartbeat.Heartbeat = heartbeat.Heartbeat(self)
        self.housekeeping: housekeeping.Housekeeping = housekeeping.Housekeeping(self)
        self.outage: outage.Outage = outage.Outage(self)
        self.prefetched: prefetch.Prefetched = prefetch.Prefetched(self)
        self.recovery: recovery.Recovery = recovery.Recovery(self)
        self.registration: registration.Registration = registration.Registration(self)
        self.retainer: retention.Retention = retention.Retention(self)
        self.shutdown: shutdown.Shutdown = shutdown.Shutdown(self)
        self.updates: updates.Updates = updates.Updates(self)

    def find_task(self, task_name: str) -> tasks.Task[Any, Any, Any]:
        """
        Return the task of a name or an alias.

        Raises
        ------
        exceptions.TaskNotFound
            The app has no such task.
        """
        try:
            return self.app.tasks[task_name]
        except KeyError as exc:
            raise exceptions.TaskNotFound from exc

    def log_extra(
        self,
        action: str,
        job: jobs.Job | None = None,
        *,
        result: job_context.JobResult | None = None,
        queues: bool = False,
    ) -> dict[str, Any]:
        """Return what a log record of this worker's carries for machines."""
        extra: dict[str, Any] = {
            "action": action,
            "worker": {
                "name": self.worker_name,
                "worker_id": self.worker_id,
                "job_id": job.id if job else None,
                "queues": self.queues or [],
            },
        }
        if job is not None:
            extra["job"] = job.log_context()
        if result is not None:
            extra.update(result.as_dict())
        if queues:
            extra["queues"] = self.queues
        return extra

    def stop(self) -> None:
        """
        Claim no more jobs, and end when those that run have ended. Any thread may ask.
        """
        self.call_in_loop(self.shutdown.request)

    def call_in_loop(self, callback: Callable[[], None]) -> None:
        """Call a function of the worker's parts where they run. Any thread may ask."""
        loop = self._loop
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if loop is None or here is loop:
            callback()
        else:
            with contextlib.suppress(RuntimeError):  # closed: nobody is left to be told
                loop.call_soon_threadsafe(callback)

    async def run(self) -> None:
        """
        Run until stopped.

        Cancelled for the first time, it stops as :meth:`stop` would. Once more, or after a
        stop, it aborts the jobs that run, gives them a moment, and leaves. Whoever can't wait
        for that cancels it yet again.

        Raises
        ------
        exceptions.ConnectorException
            The database refused what a worker needs. One that can't be reached is waited for.
        """
        self._loop = asyncio.get_running_loop()
        self.run_task = run = asyncio.create_task(self._run())
        cancelled = False
        with self._stop_signals():
            while not run.done():
                try:
                    await asyncio.wait([run])
                except asyncio.CancelledError:
                    cancelled = True
                    if not self.shutdown.requested:
                        self.shutdown.request()
                    elif not self.shutdown.insisted:
                        self.shutdown.insist()
                    else:
                        run.cancel()
        if cancelled:
            if not run.cancelled() and run.exception():
                self.logger.error(
                    "The worker failed while it stopped", exc_info=run.exception()
                )
            raise asyncio.CancelledError
        run.result()

    def _stop_signals(self) -> contextlib.AbstractContextManager[None]:
        if self.install_signal_handlers:
            return signals.on_stop(self.stop)
        return contextlib.nullcontext()

    async def _run(self) -> None:
        self.app.perform_import_paths()
        self.recovery.prepare()
        deferrer = periodic.PeriodicDeferrer(
            registry=self.app.periodic_registry, **self.app.periodic_defaults
        )
        await self._join()
        self.logger.info(
            "Starting worker on %s",
            utils.queues_display(self.queues),
            extra=self.log_extra("start_worker", queues=True),
        )
        try:
            async with asyncio.TaskGroup() as group:
                claims = group.create_task(self.claims.run())
                sides = [
                    group.create_task(self._side_task(name, side))
                    for name, side in self._side_tasks(claims, deferrer)
                ]
                try:
                    await asyncio.wait([claims])
                finally:
                    await waiting.cancel_until_done(sides)
            await self._leave()
        finally:
            self.executor.close()
            self.logger.info(
                "Stopped worker on %s",
                utils.queues_display(self.queues),
                extra=self.log_extra("stop_worker", queues=True),
            )
        if self.claims.failure is not None:
            raise self.claims.failure

    async def _join(self) -> None:
        """Do what dead workers left undone, and write a row; wait for the database if need be."""
        attempt = 0
        while True:
            try:
                await self.housekeeping.make_round()
                await self.registration.register()
            except exceptions.DatabaseUnavailable as exc:
                if self.shutdown.requested:
                    raise
                self.outage.begin(exc)
                await self.outage.pause(attempt)
                attempt += 1
            else:
                self.outage.end()
                return

    def _side_tasks(
        self, claims: asyncio.Task[None], deferrer: periodic.PeriodicDeferrer
    ) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        yield "shutdown", self.shutdown.run(claims)
        yield "heartbeat", self.heartbeat.run()
        yield "housekeeping", self.housekeeping.run()
        yield "abort poller", self.aborts.run()
        yield "updates", self.updates.run()
        if self.listen_notify:
            yield "listener", listener.Listener(self).run()
            yield "writers", self.claims.quiet.watch()
        yield "deferrer", deferrer.worker()
        yield "retention", self.retainer.run()

    async def _side_task(self, name: str, side: Coroutine[Any, Any, None]) -> None:
        try:
            await side
        except Exception as exc:
            self.logger.error(  # noqa: TRY400 (the message quotes the exception, as 3.x's did)
                "Side task %s failed with exception: %s, stopping worker",
                name,
                exc,
                exc_info=exc,
                extra={
                    **self.log_extra("side_task_failed"),
                    "task_name": name,
                    "exception": str(exc),
                },
            )
            # Once more, where alerts of 3.x look for it.
            old_name = {"heartbeat": "update_heartbeats"}.get(name, name.replace(" ", "_"))
            utils.logger.error(
                "%s error: %r",
                old_name,
                exc,
                exc_info=exc,
                extra={"action": f"{old_name}_error"},
            )
            self.shutdown.request()

    async def _leave(self) -> None:
        """Give up the worker's row, unless jobs still run: they would look stalled at once."""
        left = list(self.running)
        if not left:
            await self.registration.unregister()
            return
        self.logger.warning(
            "%s jobs did not end, and are left behind: %s",
            len(left),
            ", ".join(running_job.job.log_string for running_job in left),
            extra=self.log_extra("jobs_left_behind"),
        )
        runs = [running_job.run for running_job in left if running_job.run is not None]
        for run in runs:
            run.cancel()
        if runs:  # Those in threads can't be cancelled.
            await asyncio.wait(runs, timeout=shutdown.LAST_MOMENT)
