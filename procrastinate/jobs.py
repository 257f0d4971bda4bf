"""Jobs as plain values, and the object that defers them."""

from __future__ import annotations

import enum
import functools
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import attrs

from procrastinate import disclosure, exceptions

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

    from procrastinate import manager, types
    from procrastinate.rpc import values


logger: logging.Logger = logging.getLogger(__name__)


DEFAULT_QUEUE = "default"
DEFAULT_PRIORITY = 0

#: Seconds for which a result is kept if it is only said that it is to be stored.
DEFAULT_TTL = 86_400.0  # one day


def check_aware(
    instance: Job, attribute: attrs.Attribute[Any], value: datetime.datetime
) -> None:
    """Refuse a date that does not say which timezone it means."""
    if value.utcoffset() is None:
        raise ValueError("Timezone aware datetime is required")


class Status(enum.Enum):
    """
    An enumeration with all the possible job statuses.
    """

    TODO = "todo"
    """The job is waiting in a queue."""
    DOING = "doing"
    """A worker is running the job."""
    SUCCEEDED = "succeeded"
    """The job ended successfully."""
    FAILED = "failed"
    """The job ended with an error."""
    CANCELLED = "cancelled"
    """The job was cancelled."""
    ABORTING = "aborting"
    """Not used any more: no job has this status."""
    ABORTED = "aborted"
    """The job was aborted."""


class DeleteJobCondition(enum.Enum):
    """
    An enumeration with all the possible conditions to delete a job.
    """

    NEVER = "never"
    """Keep jobs in database after completion."""
    SUCCESSFUL = "successful"
    """Delete only successful jobs."""
    ALWAYS = "always"
    """Always delete jobs at completion."""


class StalledJobPolicy(enum.Enum):
    """
    An enumeration of what a worker may do with a job whose own worker died.
    """

    LEAVE = "leave"  #: Leave it in ``doing``, for somebody to look at
    RETRY = "retry"  #: Run it again, as often as the task's retry strategy allows
    FAIL = "fail"  #: Let it fail: it must not begin twice


class JobInserted(TypedDict):
    """The notification that a queue has got a new job."""

    type: Literal["job_inserted"]
    job_id: int


class AbortJobRequested(TypedDict):
    """The notification that a running job should abort."""

    type: Literal["abort_job_requested"]
    job_id: int


Notification = JobInserted | AbortJobRequested


@attrs.frozen(kw_only=True)
class JobOptions:
    """
    What a job asks for beyond what every job has; None asks for nothing.

    Times are in seconds.
    """

    timeout: float | None = None
    """A run that takes longer is stopped, and counts as failed."""
    heartbeat: float | None = None
    """A run that is not touched for so long is stopped, and counts as failed."""
    ttl: float | None = None
    """How long the result is kept after the end; 0: for ever; None or less: not at all."""
    max_attempts: int | None = None
    """Runs allowed in all; None: the task's retry strategy alone decides."""
    retry_delay: float | None = None
    """The time between the first failure and the second run."""
    retry_backoff: float | None = None
    """What the delay is multiplied by with each failure more."""
    retry_delay_cap: float | None = None
    """No delay is longer."""
    retry_jitter: bool | None = None
    """Whether each delay is any time up to the one that was computed."""
    key: str | None = None
    """No two jobs with the same key are waiting or running."""
    group_key: str | None = None
    """No two jobs of a queue with the same group key run at the same time."""
    keep_result: bool | None = None
    """Whether the result outlives the deletion of the job."""
    meta: types.JSONDict | None = None
    """What is known of the job from the start; read as `JobReport.meta`, not from the job."""

    @property
    def stores_result(self) -> bool:
        """Whether what the task returns is stored."""
        return self.ttl is not None and self.ttl >= 0

    def as_json(self) -> types.JSONDict:
        """Return the options that are set, as the database stores them."""
        return {name: value for name in _OPTIONS if (value := getattr(self, name)) is not None}

    @classmethod
    def from_json(cls, stored: types.JSONDict) -> JobOptions:
        """
        Make options of what the database has.

        Parameters
        ----------
        stored
            Options by their names; those that this version does not know are ignored.
        """
        known: dict[str, Any] = {
            name: value for name, value in stored.items() if name in _OPTIONS
        }
        return cls(**known)


_OPTIONS = tuple(field.name for field in attrs.fields(JobOptions))


@attrs.define(frozen=True, kw_only=True, slots=False, order=True)
class Job:
    """
    A job is the launching of a specific task with specific values for the
    keyword arguments.
    """

    id: int | None = None
    """Id of the job's row; None before it was deferred."""
    status: str | None = None
    """Status of the job: the value of a `Status`; None before it was deferred."""
    queue: str
    """Queue name the job will be run in."""
    priority: int = DEFAULT_PRIORITY
    """Priority of the job: higher ones run first; may be negative."""
    lock: str | None
    """No two jobs with the same lock run at the same time; those that wait run in order."""
    queueing_lock: str | None
    """No two jobs with the same queueing lock can be waiting in the queue."""
    task_name: str
    """Name of the associated task."""
    task_kwargs: types.JSONDict = attrs.field(factory=dict)
    """Arguments used to call the task: what JSON can say."""
    scheduled_at: datetime.datetime | None = attrs.field(
        default=None, validator=attrs.validators.optional(check_aware)
    )
    """Date and time before which the job does not run, with a timezone; None: at once."""
    attempts: int = 0
    """Number of times the job has been tried, not counting a run that has not ended."""
    abort_requested: bool = False
    """True if somebody asked the job to abort."""
    worker_id: int | None = None
    """Id of the worker that has the job, or had it last; None if none has."""
    options: JobOptions | None = attrs.field(default=None, order=False)
    """What the job asks for beyond that: timeout, result, retry policy, key; None: nothing."""

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Job:
        """
        Make a job of a row of ``procrastinate_jobs``.

        Parameters
        ----------
        row
            The row's columns by their names; those that a job has not are ignored.
        """
        return cls(
            id=row["id"],
            status=row["status"],
            queue=row["queue_name"],
            priority=row["priority"],
            lock=row["lock"],
            queueing_lock=row["queueing_lock"],
            task_name=row["task_name"],
            task_kwargs=row["args"],
            scheduled_at=row["scheduled_at"],
            attempts=row["attempts"],
            abort_requested=row.get("abort_requested", False),
            worker_id=row.get("worker_id"),
        )

    def asdict(self) -> dict[str, Any]:
        """Return the fields as a dictionary; ``options`` only if there are any."""
        fields = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        del fields["options"]
        if self.options is not None:
            fields["options"] = self.options.as_json()
        return fields

    def log_context(self) -> types.JSONDict:
        """
        Return what log records carry as ``job``: the fields and the call string.

        Arguments have their names and no values, unless :func:`disclosure.show_args` was asked.
        """
        context: types.JSONDict = self.asdict()
        if not disclosure.args_are_shown():
            given: Any = self.task_kwargs
            context["task_kwargs"] = (
                dict.fromkeys(self.task_kwargs, disclosure.HIDDEN)
                if isinstance(given, dict)
                else disclosure.HIDDEN
            )
        if self.scheduled_at is not None:
            context["scheduled_at"] = self.scheduled_at.isoformat()
        context["call_string"] = self.log_string
        return context

    def evolve(self, **kwargs: Any) -> Job:
        """
        Return a copy with some fields changed.

        Parameters
        ----------
        **kwargs
            New values by the names of the fields.
        """
        # Not attrs.evolve, which asks for the fields each time: each defer does this twice.
        fields = {**self.__dict__, **kwargs}
        fields.pop("call_string", None)  # cached, and no field
        return type(self)(**fields)

    @property
    def log_string(self) -> str:
        """The job as log records and errors name it: ``task[id](...)``."""
        if disclosure.args_are_shown() or not self.task_kwargs:
            return self.call_string
        return f"{self.task_name}[{self.id}]({disclosure.HIDDEN})"

    @functools.cached_property
    def call_string(self) -> str:
        """The job as people read it: ``task[id](argument=value, ...)``."""
        kwargs: Any = self.task_kwargs
        if not isinstance(kwargs, dict):  # stored by foreign hands
            return f"{self.task_name}[{self.id}]({kwargs!r})"
        kwargs_string = ", ".join(f"{key}={value!r}" for key, value in self.task_kwargs.items())
        return f"{self.task_name}[{self.id}]({kwargs_string})"


class JobDeferrer:
    """
    A job that is ready to be deferred, as often as wanted.

    Parameters
    ----------
    job_manager
        The manager that will write the jobs.
    job
        The template: all that the jobs have in common. Its id is None.
    connection
        A connection of the caller's, whose transaction the jobs will be part of.
    """

    def __init__(
        self,
        job_manager: manager.JobManager,
        job: Job,
        connection: Any | None = None,
    ) -> None:
        self.job = job
        self.job_manager = job_manager
        self.connection = connection

    def make_new_job(self, **task_kwargs: types.JSONValue) -> Job:
        """
        Return a copy of the template with more arguments.

        Parameters
        ----------
        **task_kwargs
            Arguments for the task; one that the template has, too, replaces it.
        """
        return self.job.evolve(task_kwargs={**self.job.task_kwargs, **task_kwargs})

    def defer(self, **task_kwargs: types.JSONValue) -> int:
        """
        See `Task.defer` for details.
        """
        job = self.make_new_job(**task_kwargs)
        _log_before([job])
        job_id = _id_of(self.job_manager.defer_job(job=job, connection=self.connection))
        _log_after([job], [job_id])
        return job_id

    async def defer_async(self, **task_kwargs: types.JSONValue) -> int:
        """
        See `Task.defer_async` for details.
        """
        job = self.make_new_job(**task_kwargs)
        _log_before([job])
        numbered = await self.job_manager.defer_job_async(job=job, connection=self.connection)
        job_id = _id_of(numbered)
        _log_after([job], [job_id])
        return job_id

    def batch_defer(self, *task_kwargs: types.JSONDict) -> list[int]:
        """
        See `Task.batch_defer` for details.
        """
        if not task_kwargs:
            return []
        jobs = _NewJobs(self, task_kwargs)
        _log_before(jobs)
        ids = self.job_manager.batch_defer_ids(jobs, connection=self.connection)
        _log_after(jobs, ids)
        return ids

    async def batch_defer_async(self, *task_kwargs: types.JSONDict) -> list[int]:
        """
        See `Task.batch_defer_async` for details.
        """
        if not task_kwargs:
            return []
        jobs = _NewJobs(self, task_kwargs)
        _log_before(jobs)
        ids = await self.job_manager.batch_defer_ids_async(jobs, connection=self.connection)
        _log_after(jobs, ids)
        return ids

    def _storing(self) -> JobDeferrer:
        """Return a deferrer of the same jobs whose results can be waited for."""
        if self.connection is not None:
            raise ValueError(
                "A job that is deferred on a connection of the caller's can't be waited for: it "
                "does not run before that transaction is committed. Defer it, commit, and wait "
                "for it by its id (App.wait_for)"
            )
        options = self.job.options or JobOptions()
        if options.stores_result:
            return self
        job = self.job.evolve(options=attrs.evolve(options, ttl=DEFAULT_TTL))
        return JobDeferrer(self.job_manager, job)

    def defer_and_wait(self, **task_kwargs: types.JSONValue) -> Any:
        """
        See `Task.defer_and_wait` for details.
        """
        job_id = self._storing().defer(**task_kwargs)
        (report,) = self.job_manager.wait_for([job_id])
        return self.job_manager.value_of(report)

    async def defer_and_wait_async(self, **task_kwargs: types.JSONValue) -> Any:
        """
        See `Task.defer_and_wait_async` for details.
        """
        job_id = await self._storing().defer_async(**task_kwargs)
        (report,) = await self.job_manager.wait_for_async([job_id])
        return self.job_manager.value_of(report)

    def map(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """
        See `Task.map` for details.
        """
        ids = self._storing().batch_defer(*task_kwargs)
        return self._values_of(self.job_manager.wait_for(ids, timeout), return_exceptions)

    async def map_async(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """
        See `Task.map_async` for details.
        """
        ids = await self._storing().batch_defer_async(*task_kwargs)
        reports = await self.job_manager.wait_for_async(ids, timeout)
        return self._values_of(reports, return_exceptions)

    def _values_of(
        self, reports: Iterable[values.JobReport], return_exceptions: bool
    ) -> list[Any]:
        found: list[Any] = []
        for report in reports:
            try:
                found.append(self.job_manager.value_of(report))
            except exceptions.ProcrastinateException as exc:
                if not return_exceptions:
                    raise
                found.append(exc)
        return found


class _NewJobs(Collection[Job]):
    """The jobs of a batch: made while they are read, for a big batch's would fill memory."""

    def __init__(self, deferrer: JobDeferrer, task_kwargs: tuple[types.JSONDict, ...]) -> None:
        self._deferrer = deferrer
        self._task_kwargs = task_kwargs

    def __iter__(self) -> Iterator[Job]:
        return (self._deferrer.make_new_job(**kwargs) for kwargs in self._task_kwargs)

    def __len__(self) -> int:
        return len(self._task_kwargs)

    def __contains__(self, job: object) -> bool:
        return any(job == mine for mine in self)


def _id_of(job: Job) -> int:
    assert job.id is not None  # The manager returns jobs that the database has numbered.
    return job.id


def _count(jobs: Collection[Job]) -> str:
    return "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"


def _log_before(jobs: Collection[Job]) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return  # The context of a big batch costs more than the batch.
    logger.debug(
        "About to defer %s",
        _count(jobs),
        extra={
            "action": "about_to_defer_jobs",
            "jobs": [job.log_context() for job in jobs],
        },
    )


def _log_after(jobs: Collection[Job], ids: list[int]) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    numbered = (
        job.evolve(id=job_id, status=Status.TODO.value)
        for job, job_id in zip(jobs, ids, strict=True)
    )
    logger.info(
        "Deferred %s",
        _count(jobs),
        extra={"action": "jobs_deferred", "jobs": [job.log_context() for job in numbered]},
    )
