"""The administration shell: ``procrastinate shell``."""

from __future__ import annotations

import cmd
import shlex
import sys
import traceback
from typing import TYPE_CHECKING, Any

from procrastinate import jobs, utils

if TYPE_CHECKING:
    from collections.abc import Iterable

    from procrastinate import manager

DETAILS = "details"


def parse_argument(arg: str) -> dict[str, Any]:
    """
    Read the arguments of a command: words of the form ``key=value``.

    A word without ``=`` is a flag: it is true.
    """
    parsed: dict[str, Any] = {}
    for word in shlex.split(arg):
        key, equals, value = word.partition("=")
        parsed[key] = value if equals else True
    return parsed


def print_job(job: jobs.Job, details: bool = False) -> None:
    """Print a job on one line, with its arguments and the rest if asked."""
    line = f"#{job.id} {job.task_name} on {job.queue} - [{job.status}]"
    if details:
        line += (
            f" (attempts={job.attempts}, priority={job.priority}, "
            f"scheduled_at={job.scheduled_at}, args={job.task_kwargs}, lock={job.lock})"
        )
    print(line)  # noqa: T201  (it is what was asked for)


def _print_counts(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        statuses = ("todo", "doing", "succeeded", "failed", "cancelled", "aborted")
        counts = ", ".join(f"{status}: {row[status]}" for status in statuses)
        print(f"{row['name']}: {row['jobs_count']} jobs ({counts})")  # noqa: T201


class ProcrastinateShell(cmd.Cmd):
    """
    The interactive shell.

    Parameters
    ----------
    job_manager
        The manager of an open app. The shell runs in a thread of the app's loop.
    """

    intro: str = "Welcome to the procrastinate shell.   Type help or ? to list commands.\n"
    prompt: str = "procrastinate> "

    def __init__(self, job_manager: manager.JobManager) -> None:
        super().__init__()
        self.job_manager = job_manager
        self.failed: bool = False
        """Whether a command has failed."""

    def onecmd(self, line: str) -> bool:
        """Run a command. One that fails shows why, and the shell goes on."""
        try:
            return bool(super().onecmd(line))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            self.failed = True
            return False

    def default(self, line: str) -> None:
        """Say that this is no command."""
        self.failed = True
        super().default(line)

    def do_EOF(self, _: str) -> bool:  # noqa: N802  (cmd finds it by that name)
        """Exit procrastinate shell."""
        return True

    def do_exit(self, _: str) -> bool:
        """Exit procrastinate shell."""
        return True

    def do_list_jobs(self, arg: str) -> None:
        """
        List jobs.
        Usage: list_jobs [id=ID] [queue=QUEUE_NAME] [task=TASK_NAME] [status=STATUS]
                         [lock=LOCK] [queueing_lock=QUEUEING_LOCK] [details]

        Jobs can be filtered by id, queue name, task name, status and lock.
        Use the details argument to get more info about jobs.

        Example: list_jobs queue=default task=sums status=failed details
        """
        kwargs = parse_argument(arg)
        details = kwargs.pop(DETAILS, False) is not False
        if "id" in kwargs:
            kwargs["id"] = int(kwargs["id"])
        for job in self._call(self.job_manager.list_jobs_async, **kwargs):
            print_job(job, details=details)

    def do_list_queues(self, arg: str) -> None:
        """
        List queues: get queue names and number of jobs per queue.
        Usage: list_queues [queue=QUEUE_NAME] [task=TASK_NAME] [status=STATUS]
                           [lock=LOCK]

        Jobs can be filtered by queue name, task name, status and lock.

        Example: list_queues task=sums status=failed
        """
        _print_counts(self._call(self.job_manager.list_queues_async, **parse_argument(arg)))

    def do_list_tasks(self, arg: str) -> None:
        """
        List tasks: get task names and number of jobs per task.
        Usage: list_tasks [queue=QUEUE_NAME] [task=TASK_NAME] [status=STATUS]
                          [lock=LOCK]

        Jobs can be filtered by queue name, task name, status and lock.

        Example: list_tasks queue=default status=failed
        """
        _print_counts(self._call(self.job_manager.list_tasks_async, **parse_argument(arg)))

    def do_list_locks(self, arg: str) -> None:
        """
        List locks: get lock names and number of jobs per task.
        Usage: list_locks [queue=QUEUE_NAME] [task=TASK_NAME] [status=STATUS]
                          [lock=LOCK]

        Jobs can be filtered by queue name, task name, status and lock.

        Example: list_locks queue=default status=todo
        """
        _print_counts(self._call(self.job_manager.list_locks_async, **parse_argument(arg)))

    def do_retry(self, arg: str) -> None:
        """
        Retry a specific job (reset its status to todo).
        Usage: retry JOB_ID

        JOB_ID is the id (numeric) of the job.

        Example: retry 2
        """
        job_id = int(arg)
        self._call(
            self.job_manager.retry_job_by_id_async,
            job_id=job_id,
            retry_at=utils.utcnow().replace(microsecond=0),
        )
        self._print_one(job_id)

    def do_cancel(self, arg: str) -> None:
        """
        Cancel a specific job (set its status to cancelled).
        Usage: cancel JOB_ID

        JOB_ID is the id (numeric) of the job.

        Example: cancel 3
        """
        job_id = int(arg)
        self._call(self.job_manager.cancel_job_by_id_async, job_id=job_id)
        self._print_one(job_id)

    def _print_one(self, job_id: int) -> None:
        (job,) = self._call(self.job_manager.list_jobs_async, id=job_id)
        print_job(job)

    @staticmethod
    def _call(func: Any, **kwargs: Any) -> Any:
        return utils.async_to_sync(func, **kwargs)
