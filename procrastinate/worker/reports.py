"""What the database answered to the ends that it was told of: said in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from procrastinate import exceptions, jobs
from procrastinate.worker import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.rpc import values
    from procrastinate.worker.running import RunningJob
    from procrastinate.worker.worker import Worker


#: What the database raises about a value. Other classes say that something else is wrong.
_OF_VALUES = {exceptions.ConnectorException, exceptions.InvalidArgument}


def settle_ends(
    worker: Worker,
    sent: Sequence[RunningJob],
    not_held: Sequence[values.EndNotHeld],
    too_large: Sequence[int] = (),
) -> None:
    """Say which ends were applied, which were not, and which became failures."""
    if not not_held and not too_large and not worker.logger.isEnabledFor(logging.DEBUG):
        return
    refused = {refusal.job_id: refusal for refusal in not_held}
    for ended in sent:
        assert ended.end is not None
        refusal = refused.get(ended.end.job_id)
        if ended.end.job_id in too_large:
            _log_too_large(worker, ended)
        elif refusal is None:
            _log_acknowledged(worker, ended)
        else:
            expected = None if ended.end.delete else ended.end.status
            applied = ended.was_sent and refusal.status == expected
            _log_not_held(worker, ended, refusal.status, applied=applied)


def settle_retries(
    worker: Worker, sent: Sequence[RunningJob], outcomes: Sequence[values.Outcome]
) -> None:
    """Say which retries were applied, and which were not; and what was decided of the others."""
    by_job = {outcome.job_id: outcome for outcome in outcomes}
    for ended in sent:
        outcome = by_job.get(ended.job.id or 0)
        if ended.failure is not None:
            is_retried = outcome is not None and outcome.outcome == "retried"
            worker.executor.settle_failure(ended, is_retried=is_retried)
        if outcome is not None and outcome.outcome == "not_held":
            _log_not_held(worker, ended, outcome.status, applied=ended.was_sent)
        else:
            _log_acknowledged(worker, ended)


def is_overcome(worker: Worker, sent: Sequence[RunningJob], exc: Exception) -> bool:
    """
    Whether ends that the database refused may be sent again; each alone, and then without.

    What can't be stored is found before it is sent, but for what only the database knows, such as
    a number with too many digits. It must not take others along, nor the worker.
    """
    if type(exc) not in _OF_VALUES:
        return False
    if len(sent) > 1:
        return True
    (ended,) = sent
    if ended.end is None or ended.is_given_up:
        return False
    ended.is_given_up = True
    cause = exc.__cause__ or exc
    failure = exceptions.ConnectorException(f"What the job left could not be stored: {cause}")
    failure.__cause__ = exc
    worker.logger.error(
        "The database refused what job %s left: %s. The job has failed",
        ended.job.log_string,
        cause,
        extra=worker.log_extra("result_refused", ended.job),
    )
    error = records.error_of(failure, ended.job.attempts + 1).as_json()
    ended.end = ended.end._replace(
        status=jobs.Status.FAILED.value, result=None, error=error if ended.end.result else None
    )
    return True


def _log_acknowledged(worker: Worker, ended: RunningJob) -> None:
    if worker.logger.isEnabledFor(logging.DEBUG):
        worker.logger.debug(
            "Acknowledged job completion %s",
            ended.job.log_string,
            extra={
                **worker.log_extra("finish_task", ended.job, result=ended.result),
                "status": ended.status,
            },
        )


def _log_too_large(worker: Worker, ended: RunningJob) -> None:
    """Say that a run that ended well is a failure, for its result is not kept."""
    worker.logger.error(
        "The result of job %s is larger than the database allows "
        "(procrastinate.max_result_size). The job has failed",
        ended.job.log_string,
        extra=worker.log_extra("result_refused", ended.job),
    )


def _log_not_held(
    worker: Worker, ended: RunningJob, status: str | None, *, applied: bool
) -> None:
    """Say that an end changed nothing; or that it did before, its answer being lost."""
    if applied:
        _log_acknowledged(worker, ended)
        return
    worker.logger.warning(
        "The end of job %s was not applied: the job is not held by this worker any more "
        "(it is %s now)",
        ended.job.log_string,
        status or "gone",
        extra={**worker.log_extra("job_not_held", ended.job), "status": status},
    )
