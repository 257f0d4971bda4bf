"""What becomes of jobs whose worker is gone or silent: left, tried again, or failed."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never

from procrastinate import jobs, retry
from procrastinate.rpc import results, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procrastinate import tasks
    from procrastinate.worker.worker import Worker

#: What stands in a mapping for the tasks that it does not name.
OTHERS = "*"

#: Jobs recovered in one statement; there are as many statements as it takes.
BATCH = 1000

Policies = str | jobs.StalledJobPolicy | Mapping[str, str | jobs.StalledJobPolicy]


def read_policies(given: Policies | None) -> dict[str, jobs.StalledJobPolicy]:
    """
    Return the policy of each task that is named, and of the others.

    Raises
    ------
    ValueError
        There is no such policy.
    """
    named = given if isinstance(given, Mapping) else {OTHERS: given or "leave"}
    return {name: jobs.StalledJobPolicy(policy) for name, policy in named.items()}


class Recovery:
    """
    Takes care of stalled jobs, if the worker was asked to.

    Parameters
    ----------
    worker
        Whose app has the tasks.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._max_attempts: dict[str, int | None] = {}

    def prepare(self) -> None:
        """Look up the tasks: the modules that define them have been imported by now."""
        self._max_attempts = dict(self._limits())

    def _limits(self) -> Iterator[tuple[str, int | None]]:
        """
        Yield the names of the tasks whose stalled jobs are recovered, aliases too.

        With each the attempts after which they fail. Tasks that the app does not know are
        another program's, unless they are named.
        """
        worker = self._worker
        policies, known = worker.stalled_jobs, worker.app.tasks
        of_task: dict[tasks.Task[Any, Any, Any], jobs.StalledJobPolicy] = {}
        for name, policy in policies.items():
            if name in known:
                of_task[known[name]] = policy
            elif name != OTHERS:
                worker.logger.warning(
                    "The option stalled_jobs names the task %s, which the app does not have",
                    name,
                    extra={**worker.log_extra("stalled_jobs_unknown_task"), "task": name},
                )
                yield from _limit(name, policy, None)
        others = policies.get(OTHERS, jobs.StalledJobPolicy.LEAVE)
        for name, task in known.items():
            yield from _limit(name, of_task.get(task, others), task.retry_strategy)

    async def expire(self) -> None:
        """End the runs that are out of time, and whose worker is not there to end them."""
        worker = self._worker
        batch = BATCH
        while batch == BATCH:
            outcomes = await worker.outage.call(
                results.expire_jobs_v1(
                    older_than=datetime.timedelta(seconds=worker.stalled_worker_timeout),
                    max_jobs=BATCH,
                )
            )
            batch = len(outcomes)
            for outcome in outcomes:
                is_retried = outcome.outcome == "retried"
                worker.logger.log(
                    logging.WARNING if is_retried else logging.ERROR,
                    "Job %s is past its timeout or heartbeat, and its worker is gone or silent: "
                    "the job %s",
                    outcome.job_id,
                    "was put back and will run again" if is_retried else "has failed",
                    extra={
                        **worker.log_extra("job_expired"),
                        "job_id": outcome.job_id,
                        "status": outcome.status,
                    },
                )

    async def run(self) -> None:
        """Recover the jobs that are stalled now."""
        worker = self._worker
        batch = BATCH if self._max_attempts else 0
        while batch == BATCH:
            outcomes = await worker.outage.call(
                wire.recover_jobs_v1(
                    older_than=datetime.timedelta(seconds=worker.stalled_worker_timeout),
                    max_attempts=self._max_attempts,
                    max_jobs=BATCH,
                )
            )
            batch = len(outcomes)
            for outcome in outcomes:
                is_retried = outcome.outcome == "retried"
                worker.logger.log(
                    logging.WARNING if is_retried else logging.ERROR,
                    "The worker of job %s is gone or silent: the job %s",
                    outcome.job_id,
                    "was put back and will run again" if is_retried else "has failed",
                    extra={
                        **worker.log_extra("job_recovered"),
                        "job_id": outcome.job_id,
                        "status": outcome.status,
                    },
                )


def _limit(
    name: str, policy: jobs.StalledJobPolicy, strategy: retry.BaseRetryStrategy | None
) -> Iterator[tuple[str, int | None]]:
    match policy:
        case jobs.StalledJobPolicy.LEAVE:
            return
        case jobs.StalledJobPolicy.FAIL:
            yield name, 0
        case jobs.StalledJobPolicy.RETRY:
            # A job that kills its workers would otherwise go on doing so for ever.
            limited = isinstance(strategy, retry.RetryStrategy) and strategy.max_attempts
            yield name, limited or None
        case _:
            assert_never(policy)
