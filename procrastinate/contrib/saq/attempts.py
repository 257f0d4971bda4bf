"""One attempt at a job: hooks, function, and what its end means in SAQ's words."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, retry
from procrastinate.contrib.saq import rows
from procrastinate.contrib.saq.job import Job, Status
from procrastinate.contrib.saq.utils import exponential_backoff, now
from procrastinate.job_context import AbortReason, JobContext
from procrastinate.rpc import results

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import ThreadPoolExecutor

    from procrastinate import jobs
    from procrastinate.contrib.saq.worker import Worker

logger: logging.Logger = logging.getLogger("procrastinate.contrib.saq.worker")


class Retries(retry.BaseRetryStrategy):
    """What a job's own data says about retries; a run that a shutdown cut short does not count."""

    def get_retry_decision(
        self, *, exception: BaseException, job: jobs.Job
    ) -> retry.RetryDecision | None:
        """
        Return when the job is to be tried again, None if it is not.

        Parameters
        ----------
        exception
            What the attempt raised.
        job
            The job.
        """
        if isinstance(exception, asyncio.CancelledError):
            return retry.RetryDecision()
        options = job.options
        attempts = job.attempts + 1
        if options is None or attempts >= (options.max_attempts or 1):
            return None
        delay = options.retry_delay or 0.0
        if options.retry_backoff:
            delay = exponential_backoff(attempts, delay, options.retry_delay_cap)
        if not delay:
            return retry.RetryDecision()
        return retry.RetryDecision(retry_in={"microseconds": round(delay * 1e6)})


def coroutine_function(
    func: Callable[..., Any], pool: ThreadPoolExecutor
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a function that can be awaited: a sync one runs in a thread, with our context."""
    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 (its kind is asked for, not whether it is there)
    ):
        return func

    async def call(*args: Any, **kwargs: Any) -> Any:
        context = contextvars.copy_context()
        bound = functools.partial(context.run, func, *args, **kwargs)
        thread = asyncio.get_running_loop().run_in_executor(pool, bound)
        try:
            returned = await asyncio.shield(thread)
        except asyncio.CancelledError:
            # A thread can't be stopped, and the job has not ended before it has.
            await asyncio.wait([thread])
            raise
        return await returned if inspect.isawaitable(returned) else returned

    return functools.wraps(func)(call)


class Attempts:
    """
    Runs the jobs of a worker.

    Parameters
    ----------
    worker
        Whose jobs they are, and whose hooks are called.
    """

    def __init__(self, worker: Worker[Any]) -> None:
        self._worker = worker

    def task(
        self, function: Callable[..., Coroutine[Any, Any, Any]]
    ) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return what procrastinate's worker runs for a function of SAQ's."""

        async def run(context: JobContext, /, **kwargs: Any) -> Any:
            return await self._run(function, context, kwargs)

        return run

    async def _run(
        self,
        function: Callable[..., Coroutine[Any, Any, Any]],
        context: JobContext,
        kwargs: dict[str, Any],
    ) -> Any:
        worker = self._worker
        job = await self._job(context)
        ctx: Any = {**worker.context, "job": job}
        worker.begin(job, context)
        try:
            await _call_all(worker.before_process, ctx)
            job.result = await function(ctx, **kwargs)
        except asyncio.CancelledError as exc:
            if self._cancelled(job, ctx, context.abort_reason()):
                raise exceptions.JobAborted from exc
            raise
        except Exception as exc:
            self._failed(job, ctx, exc)
            raise
        else:
            job.status = Status.COMPLETE
            job.progress = 1.0
            job.error = None
            worker.queue.complete += 1
            return job.result
        finally:
            job.completed = 0 if job.status is Status.QUEUED else now()
            worker.end(job)
            await self._after(ctx)

    async def _job(self, context: JobContext) -> Job:
        worker = self._worker
        job = rows.job_of(context.job, worker.queue)
        job.status = Status.ACTIVE
        job.attempts = context.job.attempts + 1
        job.started = job.touched = now()
        job.worker_id = worker.id
        if rows.may_have_meta(context.job):
            (told,) = await context.app.connector.call_async(
                results.get_results_v1(job_ids=[context.job.id or 0])
            )
            job.meta = told.meta or {}
            job.progress = told.progress or 0.0
        return job

    def _cancelled(self, job: Job, ctx: Any, reason: AbortReason | None) -> bool:
        """Say what a cancelled attempt means; true: the job is over, as aborted."""
        if reason is AbortReason.SHUTDOWN:
            job.status = Status.QUEUED
            job.error = "cancelled"
            return False
        if reason is AbortReason.TIMEOUT:
            self._failed(job, ctx, TimeoutError())
            return False
        # by whoever asked, or by the function itself: to try again would not end
        job.status = Status.ABORTED
        job.error = job.error or rows.ABORTED
        self._worker.queue.aborted += 1
        return True

    def _failed(self, job: Job, ctx: Any, exc: Exception) -> None:
        ctx["exception"] = exc
        job.error = repr(exc)
        if job.retryable:
            job.status = Status.QUEUED
            self._worker.queue.retried += 1
        else:
            job.status = Status.FAILED
            self._worker.queue.failed += 1

    async def _after(self, ctx: Any) -> None:
        try:
            await _call_all(self._worker.after_process, ctx)
        except Exception:
            logger.exception(
                "A hook after job %s failed: the job ends as it would", ctx["job"].id
            )


async def _call_all(hooks: list[Callable[..., Coroutine[Any, Any, Any]]], context: Any) -> None:
    for hook in hooks:
        await hook(context)
