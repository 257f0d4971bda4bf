"""Running one job: from its claim to what is reported of its end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import exceptions, job_context, jobs, middleware, utils
from procrastinate.rpc import wire
from procrastinate.worker.running import RunningJob

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable

    from procrastinate import retry as retry_module
    from procrastinate import tasks
    from procrastinate.rpc import values
    from procrastinate.worker.worker import Worker

logger: logging.Logger = logging.getLogger("procrastinate.worker")

#: Characters of a result in the log, with what stands before it.
MAX_RESULT_LOG = 250


@attrs.frozen
class _Verdict:
    """How a run ended, in the words of the log."""

    action: str
    word: str
    level: int
    status: jobs.Status
    """What the job becomes, if it is not retried."""


_SUCCESS = _Verdict("job_success", "Success", logging.INFO, jobs.Status.SUCCEEDED)
_ERROR = _Verdict("job_error", "Error", logging.ERROR, jobs.Status.FAILED)
_ERROR_RETRY = _Verdict("job_error_retry", "Error, to retry", logging.INFO, jobs.Status.FAILED)
_ABORTED = _Verdict("job_aborted", "Aborted", logging.INFO, jobs.Status.ABORTED)
_ABORTED_RETRY = _Verdict(
    "job_aborted_retry", "Aborted, to retry", logging.INFO, jobs.Status.ABORTED
)


@attrs.frozen
class _Plan:
    """What is the same for all runs of a task in this worker."""

    task: tasks.Task[Any, Any, Any]
    is_async: bool
    middlewares: tuple[Callable[..., Any], ...]


def _when(retry: retry_module.RetryDecision) -> datetime.datetime | None:
    """
    Return when a job is to be tried again; None for at once.

    "Now" of a clock that is ahead of the database's would be a delay there, and a worker that
    is to run all that can run now would end without it.
    """
    retry_at = retry.retry_at
    return None if retry_at is None or retry_at <= utils.utcnow() else retry_at


class Executor:
    """
    Runs jobs, each in an asyncio task that it owns, sync ones with a thread besides.

    Parameters
    ----------
    worker
        Whose jobs they are, and whose options hold.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._plans: dict[str, _Plan] = {}
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

    def start(self, claimed: values.ClaimedJob) -> None:
        """Start a job that was claimed; its end goes to the claim loop by itself."""
        running = RunningJob(job=claimed.job, claim_id=claimed.claim_id)
        self._worker.running.add(running)
        running.run = asyncio.get_running_loop().create_task(self._run(running))

    def close(self) -> None:
        """Let the threads go. Those that still run a job can't be stopped, nor awaited."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    async def _run(self, running: RunningJob) -> None:
        retry: retry_module.RetryDecision | None = None
        result = running.result
        error: BaseException | None = None
        # From here on the end of the job is what the caller gets, whatever is raised: this task
        # is the job's own, and being cancelled is one of the ways in which a job ends.
        try:
            plan = self._prepare(running)
            result.result = await self._execute(plan, running)
            verdict = _SUCCESS
        except BaseException as exc:  # Also SystemExit: the worker survives.
            error = exc
            verdict, retry = self._judge(running, exc)
        result.end_timestamp = time.time()
        try:
            self._log_verdict(verdict, running, error)
        except Exception:
            # A result has its own idea of truth, or of its text. The job has ended all the same.
            logger.exception(
                "The end of job %s could not be logged",
                running.job.call_string,
                extra=self._worker.log_extra("job_end_not_logged", running.job),
            )
        finally:
            self._report(running, verdict, retry)

    def _prepare(self, running: RunningJob) -> _Plan:
        job, worker = running.job, self._worker
        plan = self._plans.get(job.task_name)
        if plan is None:
            plan = self._plans[job.task_name] = self._plan(job.task_name)
        if worker.logger.isEnabledFor(logging.DEBUG):
            worker.logger.debug(
                "Loaded job info, about to start job %s",
                job.call_string,
                extra=worker.log_extra("loaded_job_info", job, result=running.result),
            )
        if worker.logger.isEnabledFor(logging.INFO):
            worker.logger.info(
                "Starting job %s",
                job.call_string,
                extra=worker.log_extra("start_job", job, result=running.result),
            )
        return plan

    def _plan(self, task_name: str) -> _Plan:
        task = self._worker.find_task(task_name)
        is_async = inspect.iscoroutinefunction(task.func)
        kind, other = ("async", "sync") if is_async else ("sync", "async")
        middlewares: list[Callable[..., Any]] = []
        for candidate in self._worker.task_middleware:
            if middleware.is_async_middleware(candidate) == is_async:
                middlewares.append(candidate)
                continue
            self._worker.logger.debug(
                "Skipping worker-wide %s middleware %r for %s task %r",
                other,
                middleware.name_of(candidate),
                kind,
                task_name,
                extra={"action": "skip_task_middleware"},
            )
        return _Plan(task, is_async, (*middlewares, *task.task_middleware))

    async def _execute(self, plan: _Plan, running: RunningJob) -> Any:
        worker, task, job = self._worker, plan.task, running.job
        context: job_context.JobContext | None = None
        args: tuple[Any, ...] = ()
        if task.pass_context or plan.middlewares or worker.worker_middleware:
            context = job_context.JobContext(
                app=worker.app,
                worker_name=worker.worker_name,
                worker_queues=worker.queues,
                job=job,
                start_timestamp=running.result.start_timestamp,
                additional_context=worker.additional_context.copy(),
                abort_reason=running.abort_reason,
            )
            if task.pass_context:
                args = (context,)

        def call() -> Any:
            return task.func(*args, **job.task_kwargs)

        chain = (
            middleware.compose(plan.middlewares, call, context, worker)
            if plan.middlewares
            else call
        )
        running.is_async = plan.is_async
        if running.reason is not None:  # Asked before it could hear.
            worker.running.tell(running)
        run: Callable[[], Any] = chain if plan.is_async else self._in_thread(chain)
        if worker.worker_middleware:
            run = middleware.compose(worker.worker_middleware, run, context, worker)
        return await run()

    def _in_thread(self, chain: Callable[[], Any]) -> Callable[[], Any]:
        async def run() -> Any:
            if self._threads is None:
                self._threads = concurrent.futures.ThreadPoolExecutor(
                    max_workers=self._worker.concurrency,
                    thread_name_prefix=f"procrastinate-{self._worker.worker_name}",
                )
            returned = await utils.call_in_executor(self._threads, chain)
            return await returned if inspect.isawaitable(returned) else returned

        return run

    def _judge(
        self, running: RunningJob, exc: BaseException
    ) -> tuple[_Verdict, retry_module.RetryDecision | None]:
        """Tell what an exception makes of a job."""
        job = running.job
        if isinstance(exc, exceptions.JobAborted):
            return _ABORTED, None
        aborted = isinstance(exc, asyncio.CancelledError)
        retry: retry_module.RetryDecision | None = None
        plan = self._plans.get(job.task_name)
        if plan is None:
            self._worker.logger.error(
                "Task was not found",
                exc_info=exc,
                extra={
                    **self._worker.log_extra("task_not_found", job, result=running.result),
                    "exception": str(exc),
                },
            )
        else:
            try:
                to_retry = plan.task.get_retry_exception(exception=exc, job=job)
                retry = to_retry.retry_decision if to_retry else None
            except Exception:
                self._worker.logger.exception(
                    "The retry strategy of task %s failed: job %s is not retried",
                    job.task_name,
                    job.call_string,
                    extra=self._worker.log_extra("retry_strategy_failed", job),
                )
                return _ERROR, None
        if retry is not None:
            return (_ABORTED_RETRY if aborted else _ERROR_RETRY), retry
        return (_ABORTED if aborted else _ERROR), None

    def _log_verdict(
        self,
        verdict: _Verdict,
        running: RunningJob,
        error: BaseException | None,
    ) -> None:
        if not logger.isEnabledFor(verdict.level):
            return
        job, result = running.job, running.result
        suffix = f" - Result: {result.result}"[:MAX_RESULT_LOG] if result.result else ""
        logger.log(
            verdict.level,
            "Job %s ended with status: %s, lasted %.3f s%s",
            job.call_string,
            verdict.word,
            (result.end_timestamp or 0) - result.start_timestamp,
            suffix,
            extra=self._worker.log_extra(verdict.action, job, result=result),
            exc_info=error,
        )

    def _report(
        self,
        running: RunningJob,
        verdict: _Verdict,
        retry: retry_module.RetryDecision | None,
    ) -> None:
        job = running.job
        assert job.id is not None  # It was claimed: the database has numbered it.
        # In this order, without a pause: at each moment the claim is known as one or the other.
        if retry is not None:
            self._worker.claims.take_retry(
                running,
                verdict.status,
                wire.Retry(
                    job_id=job.id,
                    claim_id=running.claim_id,
                    retry_at=_when(retry),
                    priority=retry.priority,
                    queue=retry.queue,
                    lock=retry.lock,
                ),
            )
        else:
            self._worker.claims.take_end(
                running,
                verdict.status,
                wire.End(
                    job_id=job.id,
                    claim_id=running.claim_id,
                    status=verdict.status.value,
                    delete=self._is_to_delete(verdict.status),
                ),
            )
        self._worker.running.remove(running)

    def _is_to_delete(self, status: jobs.Status) -> bool:
        condition = self._worker.delete_jobs
        return condition is jobs.DeleteJobCondition.ALWAYS or (
            condition is jobs.DeleteJobCondition.SUCCESSFUL and status is jobs.Status.SUCCEEDED
        )
