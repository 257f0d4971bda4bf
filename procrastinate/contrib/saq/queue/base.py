"""What every queue of SAQ's can, and what callers wait for."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import contextvars
import dataclasses
import inspect
import json
import logging
from typing import TYPE_CHECKING, Any, cast

from procrastinate.contrib.saq.errors import InvalidUrlError, MissingDependencyError
from procrastinate.contrib.saq.job import (
    TERMINAL_STATUSES,
    UNSUCCESSFUL_TERMINAL_STATUSES,
    Job,
    Status,
    get_default_job_key,
)
from procrastinate.contrib.saq.utils import now

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

    from procrastinate.contrib.saq.types import (
        BeforeEnqueueType,
        CountKind,
        DumpType,
        ListenCallback,
        LoadType,
        QueueInfo,
        WorkerInfo,
        WorkerStats,
    )

logger: logging.Logger = logging.getLogger(__name__)

DEFAULT_SWEPT_JOB_ERROR = "swept"

_FIELDS = frozenset(field.name for field in dataclasses.fields(Job))

#: What the innermost `Queue.batch` around the running code has enqueued.
_batch: contextvars.ContextVar[list[Job] | None] = contextvars.ContextVar(
    "procrastinate_saq_batch", default=None
)


class JobError(Exception):
    """
    A job that somebody waited for has failed or was aborted.

    Parameters
    ----------
    job
        Which.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(
            f"Job {job.key} {job.status!s}\n\nThe above job failed with the following error:"
            f"\n\n{job.error}"
        )
        self.job = job


class Queue(abc.ABC):
    """
    Where jobs are put and looked at. `Queue.from_url` makes one.

    Parameters
    ----------
    name
        Name of the queue.
    dump
        How JSON is written; None: as the standard library does.
    load
        How JSON is read; None: as the standard library does.
    swept_error_message
        What SAQ's sweep would give as the error of a job.
    """

    def __init__(
        self,
        name: str,
        dump: DumpType | None,
        load: LoadType | None,
        swept_error_message: str | None = None,
    ) -> None:
        self.name = name
        self.started: int = now()
        self.complete: int = 0
        self.failed: int = 0
        self.retried: int = 0
        self.aborted: int = 0
        self._dump: DumpType = dump or cast("DumpType", json.dumps)
        self._load: LoadType = load or cast("LoadType", json.loads)
        self._swept_error_message = swept_error_message or DEFAULT_SWEPT_JOB_ERROR
        self._before_enqueues: dict[int, BeforeEnqueueType] = {}

    def _count_abort(self) -> None:
        self.aborted += 1

    @staticmethod
    def from_url(url: str, **kwargs: Any) -> Queue:
        """
        Make a queue of the connection string of a database.

        Parameters
        ----------
        url
            ``postgresql://…`` or ``postgres://…``.
        **kwargs
            Arguments of the queue's class.

        Raises
        ------
        InvalidUrlError
            It is no URL of a queue.
        MissingDependencyError
            It is the URL of a queue on Redis or behind HTTP.
        """
        scheme = url.partition("://")[0].lower() if "://" in url else ""
        if scheme in {"postgres", "postgresql"}:
            from procrastinate.contrib.saq.queue import postgres  # noqa: PLC0415 (it is of Queue)

            return postgres.PostgresQueue.from_url(url, **kwargs)
        if scheme in {"redis", "rediss", "unix", "http", "https"}:
            raise MissingDependencyError(
                f"There are no {scheme} queues here: procrastinate's queues are in PostgreSQL. "
                "Give a URL that begins with postgresql://"
            )
        raise InvalidUrlError(f"Invalid url: {url}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs."""
        return asyncio.get_running_loop()

    @property
    def swept_error_message(self) -> str:
        """What the error of a swept job is."""
        return self._swept_error_message

    def job_id(self, job_key: str) -> str:
        """
        Return the id of a key: the key.

        Parameters
        ----------
        job_key
            The key.
        """
        return job_key

    def serialize(self, job: Job) -> bytes | str:
        """
        Return a job as text.

        Parameters
        ----------
        job
            The job.
        """
        return self._dump(job.to_dict())

    def deserialize(
        self, payload: dict[str, Any] | str | bytes | None, status: Status | str | None = None
    ) -> Job | None:
        """
        Make a job of what `serialize` returned, or SAQ has stored.

        Parameters
        ----------
        payload
            The text, or what it says; None or empty makes no job.
        status
            The job's, instead of the one in the payload.

        Raises
        ------
        ValueError
            It is another queue's job.
        """
        if not payload:
            return None
        fields: dict[str, Any] = (
            dict(payload) if isinstance(payload, dict) else self._load(payload)
        )
        name = fields.pop("queue", self.name)
        if name != self.name:
            raise ValueError(f"Job {fields} fetched by wrong queue: {self.name}")
        if status is not None:
            fields["status"] = status
        return Job(**fields, queue=self)

    def copy(self, job: Job) -> Job:
        """
        Return another object for the same job.

        Parameters
        ----------
        job
            The job.
        """
        return dataclasses.replace(job)

    def register_before_enqueue(self, callback: BeforeEnqueueType) -> None:
        """
        Await a function with each job before it is enqueued; if it raises, the job is not.

        Parameters
        ----------
        callback
            The function: what it changes in the job is stored.
        """
        self._before_enqueues[id(callback)] = callback

    def unregister_before_enqueue(self, callback: BeforeEnqueueType) -> None:
        """
        Call such a function no more.

        Parameters
        ----------
        callback
            The function; one that is not registered is no error.
        """
        self._before_enqueues.pop(id(callback), None)

    async def connect(self) -> None:  # noqa: B027 (a queue may need nothing)
        """Open what the queue needs."""

    @abc.abstractmethod
    async def disconnect(self) -> None:
        """Close what `connect` opened."""

    @abc.abstractmethod
    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        """Tell of the queue: its workers, how many jobs wait and run, and which."""

    @abc.abstractmethod
    async def count(self, kind: CountKind) -> int:
        """Count the jobs that are ``queued``, ``active`` or ``incomplete``."""

    @abc.abstractmethod
    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """End the jobs whose worker can't end them, and return their keys."""

    @abc.abstractmethod
    async def job(self, job_key: str) -> Job | None:
        """Return the latest job of a key."""

    @abc.abstractmethod
    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        """Return the latest job of each key, in the order of the keys."""

    @abc.abstractmethod
    def iter_jobs(
        self,
        statuses: list[Status] = list(Status),  # noqa: B006 (read only)
        batch_size: int = 100,
    ) -> AsyncIterator[Job]:
        """Go through the queue's jobs, by key."""

    @abc.abstractmethod
    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """Keep a job from running, or stop it."""

    @abc.abstractmethod
    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """Take a job."""

    @abc.abstractmethod
    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        """Tell of a worker."""

    @abc.abstractmethod
    async def _enqueue(self, jobs: Sequence[Job]) -> list[Job | None]:
        """Insert jobs; None for each whose key is taken, whose row's id the job then has."""

    @abc.abstractmethod
    async def _retry(self, job: Job, error: str | None) -> bool: ...

    @abc.abstractmethod
    async def _finish(
        self, job: Job, status: Status, *, result: Any = None, error: str | None = None
    ) -> None: ...

    @abc.abstractmethod
    async def _update(self, job: Job, fields: dict[str, Any]) -> None: ...

    @abc.abstractmethod
    async def wait_for(self, jobs: Sequence[Job], timeout: float | None) -> None:
        """
        Wait until jobs have ended, and read status and result into them.

        Parameters
        ----------
        jobs
            Jobs that were enqueued here.
        timeout
            Seconds to wait; None is no limit.

        Raises
        ------
        TimeoutError
            They have not ended by then.
        """

    @abc.abstractmethod
    async def wait_until_over(self, job: Job, timeout: float | None) -> None:
        """Wait until a job has ended, by its key."""

    async def schedule(self, _lock: int = 1) -> list[str]:
        """
        Do nothing: jobs are due by themselves when their time comes.

        Parameters
        ----------
        _lock
            Of no meaning.
        """
        return []

    async def notify(self, job: Job) -> None:  # noqa: B027 (SAQ's queues may have to)
        """
        Do nothing: the database tells of jobs by itself.

        Parameters
        ----------
        job
            Of no meaning.
        """

    async def update(self, job: Job, **kwargs: Any) -> None:
        """
        Store a running job's progress and meta, and show that it is alive.

        Parameters
        ----------
        job
            A job that runs in this process.
        **kwargs
            Fields of the job by their names; others are ignored.
        """
        await self._update(job, {k: v for k, v in kwargs.items() if k in _FIELDS})

    async def finish(
        self,
        job: Job,
        status: Status,
        *,
        result: Any = None,
        error: str | None = None,
        **kwargs: Any,
    ) -> None:
        """
        End a job: as aborted, if it waits. A job that runs is ended by its worker alone.

        Parameters
        ----------
        job
            The job.
        status
            How it ends.
        result
            What came of it.
        error
            What went wrong.
        **kwargs
            Of no meaning.
        """
        await self._finish(job, status, result=result, error=error)

    async def finish_abort(self, job: Job) -> None:
        """
        End a job as aborted.

        Parameters
        ----------
        job
            The job.
        """
        await self.finish(job, Status.ABORTED, error=job.error)

    async def retry(self, job: Job, error: str | None) -> None:
        """
        Let a job that has failed run again, or one that runs and whose worker is lost.

        Parameters
        ----------
        job
            The job.
        error
            Why.
        """
        if await self._retry(job, error):
            self.retried += 1

    async def worker_info(
        self,
        worker_id: str,
        queue_key: str,
        metadata: dict[str, Any] | None = None,
        ttl: int = 60,
    ) -> WorkerInfo:
        """
        Return what this queue object has counted, as the information of a worker.

        Parameters
        ----------
        worker_id
            The worker.
        queue_key
            Its queue.
        metadata
            What else it says of itself.
        ttl
            Seconds that SAQ would show it.
        """
        stats: WorkerStats = {
            "complete": self.complete,
            "failed": self.failed,
            "retried": self.retried,
            "aborted": self.aborted,
            "uptime": now() - self.started,
        }
        info: WorkerInfo = {"stats": stats, "queue_key": queue_key, "metadata": metadata}
        await self.write_worker_info(worker_id, info, ttl)
        return info

    async def enqueue(self, job_or_func: str | Job, **kwargs: Any) -> Job | None:
        """
        Enqueue a job; None if its key is taken by one that waits or runs.

        Parameters
        ----------
        job_or_func
            A job, or the name of a function.
        **kwargs
            Names of fields of a job configure it, others are arguments of the function.

        Raises
        ------
        ValueError
            The job is another queue's.
        TypeError
            JSON has no word for an argument.
        """
        (enqueued,) = await self.enqueue_all([self._made(job_or_func, kwargs)])
        return enqueued

    async def enqueue_all(self, jobs: Sequence[Job]) -> list[Job | None]:
        """
        Enqueue jobs in one statement; None for each whose key is taken.

        Parameters
        ----------
        jobs
            The jobs.
        """
        for job in jobs:
            self._made(job, {})
            for callback in list(self._before_enqueues.values()):
                await callback(job)
        enqueued = await self._enqueue(jobs)
        batch = _batch.get()
        if batch is not None:
            batch.extend(job for job in enqueued if job is not None)
        return enqueued

    async def apply(
        self,
        job_or_func: str | Job,
        timeout: float | None = None,
        poll_interval: float = 0.5,
        **kwargs: Any,
    ) -> Any:
        """
        Enqueue a job, wait for it and return its result.

        Parameters
        ----------
        job_or_func
            A job, or the name of a function.
        timeout
            Seconds to wait, and for which the job may run; None is no limit for either.
        poll_interval
            Of no meaning: the end of a job is told.
        **kwargs
            As of `enqueue`.

        Raises
        ------
        JobError
            It failed or was aborted.
        TimeoutError
            It did not end in time.
        """
        (result,) = await self.map(
            job_or_func, [kwargs], timeout=timeout, poll_interval=poll_interval
        )
        return result

    async def map(
        self,
        job_or_func: str | Job,
        iter_kwargs: Sequence[dict[str, Any]],
        timeout: float | None = None,
        return_exceptions: bool = False,
        poll_interval: float = 0.5,
        **kwargs: Any,
    ) -> list[Any]:
        """
        Enqueue many jobs in one statement, wait for all, return their results in the same order.

        Parameters
        ----------
        job_or_func
            A job, or the name of a function.
        iter_kwargs
            For each job what `enqueue` takes.
        timeout
            Seconds to wait, and for which each may run; None is no limit for either.
        return_exceptions
            Whether a `JobError` stands in the list instead of being raised.
        poll_interval
            Of no meaning: the end of a job is told.
        **kwargs
            What all jobs have in common; each may say otherwise.

        Raises
        ------
        JobError
            One failed or was aborted; the others go on.
        TimeoutError
            They did not end in time.
        """
        jobs = [
            self._made(
                self._anew(job_or_func),
                {"timeout": timeout or 0, "key": get_default_job_key(), **kwargs, **item},
            )
            for item in iter_kwargs
        ]
        await self.enqueue_all(jobs)
        if return_exceptions:
            await self.wait_for(jobs, timeout)
        else:
            await self._wait_for_each(jobs, timeout)
        if isinstance(job_or_func, Job) and jobs:
            job_or_func.replace(jobs[-1])
        return [
            JobError(job) if job.status in UNSUCCESSFUL_TERMINAL_STATUSES else job.result
            for job in jobs
        ]

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncGenerator[None]:
        """Abort all jobs that the block enqueues if it raises."""
        enqueued: list[Job] = []
        token = _batch.set(enqueued)
        try:
            yield
        except BaseException:
            for job in enqueued:
                await self.abort(job, "cancelled")
            raise
        finally:
            _batch.reset(token)

    async def listen(
        self,
        job_keys: Iterable[str],
        callback: ListenCallback,
        timeout: float | None = 10,
        poll_interval: float = 0.5,
    ) -> None:
        """
        Call a function with the status of each job, again and again, until it says enough.

        Parameters
        ----------
        job_keys
            The keys of the jobs.
        callback
            Gets key and status; may be a coroutine function. It ends by being true.
        timeout
            Seconds after which to give up; None: never.
        poll_interval
            Seconds between two looks, if no job ends meanwhile.

        Raises
        ------
        TimeoutError
            The function has not said enough by then.
        """
        keys = list(job_keys)
        async with asyncio.timeout(timeout):
            while True:
                found = [job for job in await self.jobs(keys) if job is not None]
                for job in found:
                    enough = callback(job.key, job.status)
                    if await enough if inspect.isawaitable(enough) else enough:
                        return
                await self._until_one_ends(found, poll_interval)

    async def _until_one_ends(self, jobs: list[Job], longest: float) -> None:
        waits = [
            asyncio.ensure_future(self.wait_until_over(job, None))
            for job in jobs
            if job.status not in TERMINAL_STATUSES
        ]
        pause = asyncio.ensure_future(asyncio.sleep(longest))
        try:
            await asyncio.wait([pause, *waits], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pause, *waits):
                task.cancel()
            await asyncio.gather(pause, *waits, return_exceptions=True)

    async def _wait_for_each(self, jobs: list[Job], timeout: float | None) -> None:
        """Wait for all, and no longer when one has failed."""

        async def succeed(job: Job) -> None:
            await self.wait_for([job], timeout)
            if job.status in UNSUCCESSFUL_TERMINAL_STATUSES:
                raise JobError(job)

        waits = [asyncio.ensure_future(succeed(job)) for job in jobs]
        try:
            if waits:
                await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
            for wait in waits:
                if wait.done():
                    wait.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _anew(self, job_or_func: str | Job) -> str | Job:
        return self.copy(job_or_func) if isinstance(job_or_func, Job) else job_or_func

    def _made(self, job_or_func: str | Job, given: dict[str, Any]) -> Job:
        fields = {name: value for name, value in given.items() if name in _FIELDS}
        arguments = {name: value for name, value in given.items() if name not in _FIELDS}
        own: dict[str, Any] = fields.pop("kwargs", None) or {}
        if isinstance(job_or_func, Job):
            job = job_or_func
            for name, value in fields.items():
                setattr(job, name, value)
            if own or arguments:
                job.kwargs = {**own, **arguments}
        else:
            fields.pop("function", None)
            job = Job(job_or_func, kwargs={**own, **arguments} or None, **fields)
        if job.queue is not None and job.queue.name != self.name:
            raise ValueError(f"Job {job} registered to a different queue")
        job.queue = self
        job.status = Status.QUEUED
        job.queued = now()
        return job


__all__ = [
    "DEFAULT_SWEPT_JOB_ERROR",
    "InvalidUrlError",
    "Job",
    "JobError",
    "Queue",
    "Status",
    "get_default_job_key",
    "logger",
    "now",
]
