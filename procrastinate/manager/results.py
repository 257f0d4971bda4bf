"""The verbs of those who want to know what came of a job."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, waiters
from procrastinate.manager import verbs
from procrastinate.rpc import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from procrastinate import connector as connector_module
    from procrastinate.rpc import values

#: Seconds between two looks of sync code that waits: the first, and the most.
FIRST_PAUSE = 0.01
LONGEST_PAUSE = waiters.POLLING_INTERVAL

_TIMEOUT_CLASS = f"{exceptions.JobTimeout.__module__}.{exceptions.JobTimeout.__qualname__}"


class Results(verbs.Verbs):
    """Tells how far jobs are and what they returned, and waits until they have ended."""

    _waiters: waiters.Waiters | None = None

    def get_report(self, job_id: int) -> values.JobReport:
        """Sync version of `get_report_async`."""
        return _only(job_id, self._sync.call(results.get_results_v1(job_ids=[job_id])))

    async def get_report_async(self, job_id: int) -> values.JobReport:
        """
        Get what is known of a job: status, attempts, progress, meta, result, last error.

        Parameters
        ----------
        job_id :
            The id of the job

        Raises
        ------
        exceptions.JobNotFound
            There is no job with that id, and no result was kept.
        """
        reports = await self.connector.call_async(results.get_results_v1(job_ids=[job_id]))
        return _only(job_id, reports)

    def get_result(self, job_id: int) -> Any:
        """Sync version of `get_result_async`."""
        return self.value_of(self.get_report(job_id))

    async def get_result_async(self, job_id: int) -> Any:
        """
        Get what a job's task returned. It does not wait: see `wait_for_async`.

        Parameters
        ----------
        job_id :
            The id of the job

        Raises
        ------
        exceptions.ResultNotReady
            The job has not ended yet.
        exceptions.JobFailed
            The job failed, or was cancelled or aborted; `exceptions.JobTimeout` if it was out
            of time.
        exceptions.ResultNotStored
            The job was deferred without a ttl.
        exceptions.ResultExpired
            The ttl is over.
        exceptions.JobNotFound
            There is no job with that id, and no result was kept.
        """
        return self.value_of(await self.get_report_async(job_id))

    def wait_for(
        self, job_ids: Iterable[int], timeout: float | None = None
    ) -> list[values.JobReport]:
        """Sync version of `wait_for_async`. It looks again and again, it does not listen."""
        wanted = list(job_ids)
        missing = dict.fromkeys(wanted)
        found: dict[int, values.JobReport] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        never, pause = threading.Event(), FIRST_PAUSE
        while missing:
            for asked in _chunks(list(missing)):
                reports = self._look(asked)
                for job_id in asked:
                    report = reports.get(job_id)
                    if report is not None and report.status in waiters.ENDS:
                        found[job_id] = report
                        del missing[job_id]
            if not missing:
                break
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(_not_ended(missing))
                pause = min(pause, left)
            never.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        return [found[job_id] for job_id in wanted]

    def _look(self, job_ids: Sequence[int]) -> dict[int, values.JobReport]:
        """Return what is known of jobs; nothing, if the database can't be reached."""
        try:
            reports = self._sync.call(results.get_results_v1(job_ids=job_ids))
        except exceptions.DatabaseUnavailable:
            return {}
        found = {report.job_id: report for report in reports}
        for job_id in job_ids:
            if job_id not in found:
                raise waiters.not_found(job_id)
        return found

    async def wait_for_async(
        self, job_ids: Iterable[int], timeout: float | None = None
    ) -> list[values.JobReport]:
        """
        Wait until all of some jobs have ended, however they do.

        Any number of callers may wait at once: they share one connection that listens and one
        that asks, beside the connector's own. A database that can't be reached is waited for.

        Parameters
        ----------
        job_ids :
            The ids of the jobs
        timeout :
            Seconds to wait; None is no limit

        Returns
        -------
        :
            What is known of each job, in the same order

        Raises
        ------
        TimeoutError
            They have not ended by then. They go on.
        exceptions.JobNotFound
            One of the jobs is not there (any more).
        """
        return await self._waiters_of(self.connector).wait(job_ids, timeout)

    @staticmethod
    def value_of(report: values.JobReport) -> Any:
        """
        Return what a job's task returned, or raise why there is nothing.

        Parameters
        ----------
        report
            What is known of the job.

        Raises
        ------
        exceptions.ResultNotReady
            The job has not ended yet.
        exceptions.JobFailed
            The job failed, or was cancelled or aborted.
        exceptions.ResultNotStored, exceptions.ResultExpired
            It succeeded, and its result is not there.
        """
        job = f"Job {report.job_id}"
        if report.status not in waiters.ENDS:
            raise exceptions.ResultNotReady(
                f"{job} has not ended: it is {report.status}. App.wait_for waits until it has"
            )
        if report.status != "succeeded":
            raise _failure_of(report)
        if report.stored:
            return report.result
        if not report.keeps:
            raise exceptions.ResultNotStored(
                f"{job} succeeded, and what it returned was not stored. Give its task, or the "
                "job, a ttl or store_result=True"
            )
        raise exceptions.ResultExpired(
            f"{job} succeeded, and what it returned is not kept any more: its ttl is over. Give "
            "its task, or the job, a longer ttl, or 0 to keep it for ever"
        )

    def _waiters_of(self, connector: connector_module.BaseConnector) -> waiters.Waiters:
        loop = asyncio.get_running_loop()
        # Another loop gets others: those of a loop that has ended wait no more.
        found = self._waiters
        if found is None or not found.serves(connector, loop):
            found = self._waiters = waiters.Waiters(connector, loop)
        return found

    async def close_waiters_async(self) -> None:
        """Let go of the connections that `wait_for_async` made. `App.close_async` does it."""
        found, self._waiters = self._waiters, None
        if found is not None and found.serves(self.connector, asyncio.get_running_loop()):
            await found.close()


def _chunks(job_ids: Sequence[int]) -> Iterable[Sequence[int]]:
    most = waiters.MOST_JOBS
    return (job_ids[start : start + most] for start in range(0, len(job_ids), most))


def _not_ended(missing: Iterable[int]) -> str:
    left = list(missing)
    if len(left) == 1:
        return f"job {left[0]} has not ended"
    return f"{len(left)} jobs have not ended, among them job {left[0]}"


def _only(job_id: int, reports: Sequence[values.JobReport]) -> values.JobReport:
    if not reports:
        raise waiters.not_found(job_id)
    return reports[0]


def _failure_of(report: values.JobReport) -> exceptions.JobFailed:
    job, error = f"Job {report.job_id}", report.error
    if report.status != "failed":
        return exceptions.JobFailed(f"{job} was {report.status}", error=error)
    if error is None:
        return exceptions.JobFailed(
            f"{job} failed after {report.attempts} attempts. Its errors are in "
            "procrastinate_events; of jobs with a ttl they come along here"
        )
    which = "" if error.attempt is None else f" in its attempt {error.attempt}"
    cls = exceptions.JobTimeout if error.cls == _TIMEOUT_CLASS else exceptions.JobFailed
    failure = cls(f"{job} failed{which}: {error.cls}: {error.message}", error=error)
    if error.traceback:
        failure.add_note(f"In the worker:\n{error.traceback.rstrip()}")
    return failure
