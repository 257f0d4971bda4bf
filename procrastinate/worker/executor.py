"""Running one job: from its claim to what is reported of its end."""

from __future__ import annotations

import asyncio
import datetime
import functools
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import exceptions, job_context, job_options, jobs, middleware, utils
from procrastinate.rpc import wire
from procrastinate.worker import records, shared, updates
from procrastinate.worker.limits import Limits
from procrastinate.worker.running import RunningJob
from procrastinate.worker.threads import OnEnd, Threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from procrastinate import retry as retry_module
    from procrastinate import tasks, types
    from procrastinate.rpc import call
    from procrastinate.worker.worker import Worker

logger: logging.Logger = logging.getLogger("procrastinate.worker")

#: Characters of a result in the log, with what stands before it.
MAX_RESULT_LOG = 250


@attrs.frozen(eq=False)
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
#: The policy in the job's data decides, and the database knows it: one of the first two.
_UNDECIDED = _Verdict("job_error", "Error", logging.ERROR, jobs.Status.FAILED)
_ABORTED = _Verdict("job_aborted", "Aborted", logging.INFO, jobs.Status.ABORTED)
_ABORTED_RETRY = _Verdict(
    "job_aborted_retry", "Aborted, to retry", logging.INFO, jobs.Status.ABORTED
)
_VERDICTS = (_SUCCESS, _ERROR, _ERROR_RETRY, _UNDECIDED, _ABORTED, _ABORTED_RETRY)


@attrs.define
class _Plan:
    """What is the same for all runs of a task in this worker."""

    task: tasks.Task[Any, Any, Any]
    is_async: bool
    middlewares: tuple[Callable[..., Any], ...]
    is_bare: bool
    """Whether it runs on the loop, with no middleware around it."""
    is_alone: bool = False
    """Whether its jobs need asyncio tasks of their own."""


def _when(
    retry: retry_module.RetryDecision,
) -> tuple[datetime.datetime | None, datetime.timedelta | None]:
    """
    Return when a job is to be tried again: a time, or a delay; neither: at once.

    A delay is one by the clock of the database. And "now" of a clock that is ahead of that
    would be a delay there: a worker that is to run all that can run now would end without it.
    """
    delay = retry.retry_in
    if delay is not None:
        return None, delay if delay > datetime.timedelta() else None
    retry_at = retry.retry_at
    return (None if retry_at is None or retry_at <= utils.utcnow() else retry_at), None


def _has_policy(running: RunningJob, *, aborted: bool) -> bool:
    """Whether the job's data says if it is to be tried again."""
    options = running.job.options
    if options is None or options.max_attempts is None:
        return False
    # A run that was cancelled is aborted, not failed, if no other run is to follow.
    return not aborted or (
        running.reason is not job_context.AbortReason.USER_REQUEST
        and running.job.attempts + 1 < options.max_attempts
    )


def _is_to_delete(condition: jobs.DeleteJobCondition, status: jobs.Status) -> bool:
    return condition is jobs.DeleteJobCondition.ALWAYS or (
        condition is jobs.DeleteJobCondition.SUCCESSFUL and status is jobs.Status.SUCCEEDED
    )


class Executor:
    """
    Runs jobs: in asyncio tasks or, sync ones, in threads.

    Parameters
    ----------
    worker
        Whose jobs they are, and whose options hold.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._plans: dict[str, _Plan] = {}
        self._threads: Threads | None = None
        self._shared = shared.SharedTask(self._begin, self._end, self._begin_on_loop)
        self._ends: dict[_Verdict, tuple[str, bool]] = {
            verdict: (
                verdict.status.value,
                _is_to_delete(worker.delete_jobs, verdict.status),
            )
            for verdict in _VERDICTS
        }
        """How each end is told to the database, and whether such jobs are deleted."""

    def start(self, job: jobs.Job, claim_id: int) -> None:
        """Start a job that was claimed; its end goes to the claim loop by itself."""
        running = RunningJob(job, claim_id, time.time())
        options = job.options
        if options is not None and (options.timeout or options.heartbeat):
            running.limits = Limits(self._worker, running, options)
        self._worker.running.add(running)
        plan = self._plans.get(job.task_name)
        if plan is None or plan.is_async or self._worker.worker_middleware:
            self._begin_on_loop(running, plan)
        else:
            self._run_in_thread(plan, running)

    def _begin_on_loop(self, running: RunningJob, plan: _Plan | None) -> None:
        if (
            plan is None
            or plan.is_alone
            or not plan.is_bare
            or asyncio.get_running_loop().get_task_factory() is not None
        ):
            running.run = shared.new_task(self._run(running))
        else:
            self._shared.add(running, plan)

    def end_unbegun(self, job: jobs.Job, claim_id: int) -> None:
        """Report a job that was asked to abort before it began: it does not begin."""
        running = RunningJob(job, claim_id, time.time())
        running.reason = job_context.AbortReason.USER_REQUEST
        self._worker.running.add(running)
        self._end(running, exceptions.JobAborted())

    def close(self) -> None:
        """Let the threads go. Those that still run a job can't be stopped, nor awaited."""
        if self._threads is not None:
            self._threads.close()

    async def _run(self, running: RunningJob, rest: Awaitable[Any] | None = None) -> None:
        # The end of the job is what the caller gets, whatever is raised: this task is the
        # job's own, and being cancelled is one of the ways in which a job ends.
        try:
            running.returned = await (self._begin(running) if rest is None else rest)
        except BaseException as exc:  # Also SystemExit: the worker survives.
            self._end(running, exc)
        else:
            self._end(running, None)

    def _run_in_thread(self, plan: _Plan, running: RunningJob) -> None:
        """Run a job that needs the loop only once it has ended."""
        try:
            self._log_start(running)
            chain = self._chain(plan, running, self._context(plan, running))
        except Exception as exc:
            self._end(running, exc)
        else:
            self._call_in_thread(chain, functools.partial(self._end_of_thread, running))

    def _call_in_thread(self, chain: Callable[[], Any], on_end: OnEnd) -> None:
        loop = asyncio.get_running_loop()
        if self._threads is None:
            name = f"procrastinate-{self._worker.worker_name}"
            self._threads = Threads(loop, self._worker.concurrency, name)
        self._threads.call(utils.for_thread(loop, chain), on_end)

    def _end_of_thread(
        self, running: RunningJob, returned: Any, raised: BaseException | None
    ) -> None:
        if raised is None and inspect.isawaitable(returned):
            # It is awaited here, as its caller would have to.
            running.run = shared.new_task(self._run(running, returned))
            return
        running.returned = returned
        self._end(running, raised)

    def _end(self, running: RunningJob, error: BaseException | None) -> None:
        retry: retry_module.RetryDecision | None = None
        verdict = _SUCCESS
        written: call.Written | None = None
        if running.limits is not None:
            error = running.limits.close(error)
        if error is not None:
            verdict, retry = self._judge(running, error)
        elif job_options.stores(running.job.options):
            json_dumps = self._worker.app.connector.json_dumps
            try:
                written = records.result_of(running.job, running.returned, json_dumps)
            except Exception as exc:  # The user's json_dumps may raise what it likes.
                # Not to be tried again: what was to be done is done.
                verdict, error = _ERROR, exc
        running.ended_at = time.time()
        if verdict is _UNDECIDED:
            running.error = error
        else:
            self._say(verdict, running, error)
        self._report(running, verdict, retry, written, error)

    def settle_failure(self, running: RunningJob, *, is_retried: bool) -> None:
        """Say how a job ended whose fate was the database's to decide."""
        error, running.error = running.error, None
        self._say(_ERROR_RETRY if is_retried else _ERROR, running, error)

    def _say(self, verdict: _Verdict, running: RunningJob, error: BaseException | None) -> None:
        try:
            self._log_verdict(verdict, running, error)
        except Exception:
            # A result has its own idea of truth, or of its text. The job has ended all the same.
            logger.exception(
                "The end of job %s could not be logged",
                running.job.log_string,
                extra=self._worker.log_extra("job_end_not_logged", running.job),
            )

    def _log_start(self, running: RunningJob) -> None:
        job, worker = running.job, self._worker
        if not worker.logger.isEnabledFor(logging.INFO):
            return
        extra = worker.log_extra("loaded_job_info", job, result=running.result)
        worker.logger.debug(
            "Loaded job info, about to start job %s", job.call_string, extra=extra
        )
        extra = worker.log_extra("start_job", job, result=running.result)
        worker.logger.info("Starting job %s", job.log_string, extra=extra)

    def _plan_of(self, job: jobs.Job) -> _Plan:
        plan = self._plans.get(job.task_name)
        if plan is None:
            plan = self._plans[job.task_name] = self._plan(job.task_name)
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
        around = (*middlewares, *task.task_middleware)
        is_bare = is_async and not (around or self._worker.worker_middleware)
        return _Plan(task, is_async, around, is_bare)

    def _begin(self, running: RunningJob) -> Awaitable[Any]:
        """Return what is to be awaited on the loop for a job."""
        plan = self._plan_of(running.job)
        self._log_start(running)
        context = self._context(plan, running)
        awaitable: Awaitable[Any]
        if plan.is_bare:
            awaitable = self._call(plan, running, context)()
            return awaitable
        chain = self._chain(plan, running, context)
        run = chain if plan.is_async else functools.partial(self._through_thread, chain)
        around = self._worker.worker_middleware
        awaitable = middleware.compose(around, run, context, self._worker)()
        return awaitable

    def _context(self, plan: _Plan, running: RunningJob) -> job_context.JobContext | None:
        """Return the context of a job; None if nobody asks for it."""
        worker = self._worker
        if not (plan.task.pass_context or plan.middlewares or worker.worker_middleware):
            return None
        return job_context.JobContext(
            app=worker.app,
            worker_name=worker.worker_name,
            worker_queues=worker.queues,
            job=running.job,
            start_timestamp=running.started_at,
            additional_context=worker.additional_context.copy(),
            abort_reason=running.abort_reason,
            reporter=updates.Reporter(worker.updates, running),
        )

    def _chain(
        self, plan: _Plan, running: RunningJob, context: job_context.JobContext | None
    ) -> Callable[[], Any]:
        """Return the call of a task in its middlewares, which is to be made where it runs."""
        call = self._call(plan, running, context)
        return middleware.compose(plan.middlewares, call, context, self._worker)

    def _call(
        self, plan: _Plan, running: RunningJob, context: job_context.JobContext | None
    ) -> Callable[[], Any]:
        running.is_async = plan.is_async
        if running.reason is not None:  # Asked before it could hear.
            self._worker.running.tell(running)
        args = (context,) if plan.task.pass_context else ()
        return functools.partial(plan.task.func, *args, **running.job.task_kwargs)

    async def _through_thread(self, chain: Callable[[], Any]) -> Any:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(returned: Any, raised: BaseException | None) -> None:
            if ended.done():  # cancelled: its task is through with it
                return
            if raised is None:
                ended.set_result(returned)
            else:
                ended.set_exception(raised)

        self._call_in_thread(chain, settle)
        returned = await ended
        return await returned if inspect.isawaitable(returned) else returned

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
                    job.log_string,
                    extra=self._worker.log_extra("retry_strategy_failed", job),
                )
                return _ERROR, None
        if retry is not None:
            return (_ABORTED_RETRY if aborted else _ERROR_RETRY), retry
        has_strategy = plan is not None and plan.task.retry_strategy is not None
        if not has_strategy and _has_policy(running, aborted=aborted):
            return _UNDECIDED, None
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
            job.log_string,
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
        written: call.Written | None,
        error: BaseException | None,
    ) -> None:
        job = running.job
        assert job.id is not None  # It was claimed: the database has numbered it.
        running.status = verdict.status
        record: types.JSONDict | None = None
        if error is not None and verdict.status is jobs.Status.FAILED:
            record = records.error_of(error, job.attempts + 1).as_json()
        if retry is not None:
            retry_at, retry_in = _when(retry)
            running.retry = wire.Retry(
                job_id=job.id,
                claim_id=running.claim_id,
                retry_at=retry_at,
                retry_in=retry_in,
                priority=retry.priority,
                queue=retry.queue,
                lock=retry.lock,
                error=record,
            )
        else:
            name, delete = self._ends[verdict]
            end = wire.End._make((job.id, running.claim_id, name, delete, written, record))
            if verdict is _UNDECIDED:
                running.failure = end
            else:
                running.end = end
        if running.has_told:
            hand_over = functools.partial(self._hand_over, running)
            self._worker.updates.before_end(running, hand_over)
        else:
            self._hand_over(running)

    def _hand_over(self, running: RunningJob) -> None:
        # In this order, without a pause: at each moment the claim is known as one or the other.
        if running.end is not None:
            self._worker.claims.take_end(running)
        else:
            self._worker.claims.take_retry(running)
        self._worker.running.remove(running)
        self._worker.prefetched.begin()
