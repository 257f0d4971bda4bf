"""A job that was deferred, in the hand of whoever waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from procrastinate import manager
    from procrastinate.rpc import values

T_co = TypeVar("T_co", covariant=True)


class JobHandle(Generic[T_co]):
    """
    A job by its id, to be asked and waited for. `Task.handle` and `App.handle` make them.

    It holds nothing: any number of them may stand for one job, in any process.

    Parameters
    ----------
    job_id
        The id of the job, as ``defer`` returned it.
    job_manager
        The manager of the app that asks.
    """

    def __init__(self, job_id: int, job_manager: manager.JobManager) -> None:
        self.job_id = job_id
        self.job_manager = job_manager

    def __repr__(self) -> str:
        """Return it as people read it."""
        return f"JobHandle({self.job_id})"

    async def report(self) -> values.JobReport:
        """
        Return what is known of the job now: status, progress, meta, result, last error.

        Raises
        ------
        exceptions.JobNotFound
            The job is not there, and no result of it was kept.
        """
        return await self.job_manager.get_report_async(self.job_id)

    async def wait(self, timeout: float | None = None) -> values.JobReport:
        """
        Wait until the job has ended, however it does, and return what is known of it.

        Parameters
        ----------
        timeout
            Seconds to wait; None is no limit.

        Raises
        ------
        TimeoutError
            It has not ended by then. It goes on.
        exceptions.JobNotFound
            The job is not there (any more), and no result of it was kept.
        """
        (report,) = await self.job_manager.wait_for_async([self.job_id], timeout)
        return report

    async def result(self, timeout: float | None = None) -> T_co:
        """
        Wait until the job has ended, and return what its task returned.

        Parameters
        ----------
        timeout
            Seconds to wait; None is no limit.

        Raises
        ------
        TimeoutError
            It has not ended by then. It goes on.
        exceptions.JobFailed
            The job failed, or was cancelled or aborted; `exceptions.JobTimeout` if it was out
            of time.
        exceptions.ResultNotStored, exceptions.ResultExpired
            It succeeded, and its result is not there.
        exceptions.JobNotFound
            The job is not there (any more), and no result of it was kept.
        """
        return cast("T_co", self.job_manager.value_of(await self.wait(timeout)))
