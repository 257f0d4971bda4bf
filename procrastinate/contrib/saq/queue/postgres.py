"""SAQ's queue on PostgreSQL: over procrastinate's tables, functions and connections."""

from __future__ import annotations

import contextlib
import datetime
import json
from typing import TYPE_CHECKING, Any, cast

import procrastinate
from procrastinate import exceptions
from procrastinate.contrib.saq import rows
from procrastinate.contrib.saq.job import Job, Status
from procrastinate.contrib.saq.queue.base import Queue
from procrastinate.rpc import (
    defers,
    front,
    job_records,
    listing,
    results,
    schema_free,
    wire,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

    from procrastinate import job_context
    from procrastinate.contrib.saq.types import (
        CountKind,
        DumpType,
        LoadType,
        QueueInfo,
        WorkerInfo,
    )

JOBS_TABLE = "saq_jobs"
STATS_TABLE = "saq_stats"
VERSIONS_TABLE = "saq_versions"
PRIORITIES = (0, 32767)

#: A worker whose row has been silent for so long is not shown.
SILENT_FOR = datetime.timedelta(seconds=30)


class PostgresQueue(Queue):
    """
    A queue of procrastinate's, with SAQ's interface.

    Parameters
    ----------
    pool
        Where connections come from; None: a pool that the queue makes.
    url
        The connection string of the database, if there is no pool.
    name
        Name of the queue.
    versions_table
        Of no meaning: the tables are procrastinate's.
    jobs_table
        SAQ's table of jobs, where ``import-jobs`` looks for those that wait.
    stats_table
        Of no meaning, as ``versions_table``.
    dump
        How JSON is written; None: as the standard library does.
    load
        How JSON is read; None: as psycopg does.
    min_size
        Connections that the pool keeps at least.
    max_size
        Connections that the pool has at most.
    saq_lock_keyspace
        Of no meaning.
    priorities
        Which jobs are taken: all of them.
    swept_error_message
        As of `Queue`.
    manage_pool_lifecycle
        Whether `connect` opens and `disconnect` closes the pool; None: if the queue made it.
    """

    def __init__(
        self,
        pool: Any | None = None,
        url: str | None = None,
        name: str = "default",
        versions_table: str = VERSIONS_TABLE,
        jobs_table: str = JOBS_TABLE,
        stats_table: str = STATS_TABLE,
        dump: DumpType | None = None,
        load: LoadType | None = None,
        min_size: int = 4,
        max_size: int = 20,
        saq_lock_keyspace: int = 0,
        priorities: tuple[int, int] = PRIORITIES,
        swept_error_message: str | None = None,
        manage_pool_lifecycle: bool | None = None,
    ) -> None:
        super().__init__(name, dump, load, swept_error_message)
        if priorities != PRIORITIES:
            raise NotImplementedError(
                f"Queue {name!r} can't take only jobs of the priorities {priorities}: a worker "
                "takes all jobs of its queue. Put the others into a queue of their own"
            )
        if pool is None and url is None:
            raise ValueError(f"Queue {name!r} needs a pool or the url of a database")
        self.pool = pool
        self.versions_table = versions_table
        self.jobs_table = jobs_table
        self.stats_table = stats_table
        self.min_size = min_size
        self.max_size = max_size
        self.saq_lock_keyspace = saq_lock_keyspace
        self._manages_pool = (
            pool is None if manage_pool_lifecycle is None else (manage_pool_lifecycle)
        )
        settings: dict[str, Any] = (
            {}
            if pool is not None
            else {"conninfo": url, "min_size": min_size, "max_size": max_size}
        )
        self.app: procrastinate.App = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                json_dumps=dump, json_loads=load, **settings
            )
        )
        self._is_connected = False
        self._workers: dict[str, WorkerInfo] = {}
        #: What runs here, by key: the worker of this queue object says so.
        self.running: dict[str, job_context.JobContext] = {}

    @classmethod
    def from_url(  # pyright: ignore[reportIncompatibleMethodOverride] (so it is in SAQ)
        cls, url: str, **kwargs: Any
    ) -> PostgresQueue:
        """
        Make a queue of the connection string of a database.

        Parameters
        ----------
        url
            ``postgresql://…`` or ``postgres://…``.
        **kwargs
            Arguments of the class.
        """
        return cls(url=url, **kwargs)

    async def connect(self) -> None:
        """Open the connections, and install procrastinate's schema where there is none."""
        if self._is_connected:
            return
        if self.pool is not None and self._manages_pool:
            await self.pool.open()
        await self.app.open_async(self.pool)
        self._is_connected = True
        await self.init_db()

    async def disconnect(self) -> None:
        """Close the connections."""
        self._is_connected = False
        await self.app.close_async()
        if self.pool is not None and self._manages_pool:
            await self.pool.close()

    async def init_db(self) -> None:
        """Install procrastinate's schema, if the database has none."""
        connector = self.app.connector
        if await connector.call_async(schema_free.has_jobs_table()):
            return
        try:
            await self.app.schema_manager.apply_schema_async()
        except exceptions.ConnectorException:
            # another process may just have done it
            if not await connector.call_async(schema_free.has_jobs_table()):
                raise

    async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> QueueInfo:
        """
        Tell of the queue.

        Parameters
        ----------
        jobs
            Whether the jobs that have not ended are listed.
        offset
            How many of them to leave out.
        limit
            How many of them to list.
        """
        call = self.app.connector.call_async
        counted = await call(job_records.count_waiting_jobs(queue=self.name))
        workers = await call(job_records.list_workers(queue=self.name, silent_for=SILENT_FOR))
        listed: list[dict[str, Any]] = []
        if jobs:
            found = await call(
                job_records.list_open_job_records(queue=self.name, skip=offset, max_jobs=limit)
            )
            listed = [rows.recorded(record, self).to_dict() for record in found]
        return {
            "workers": {
                worker.name or "": self._workers.get(worker.name or "") or self._known(worker)
                for worker in workers
            },
            "name": self.name,
            "queued": counted.due,
            "active": counted.doing,
            "scheduled": counted.scheduled,
            "jobs": listed,
        }

    async def count(self, kind: CountKind) -> int:
        """
        Count jobs.

        Parameters
        ----------
        kind
            ``queued``: due, and waiting for a worker; ``active``: running; ``incomplete``:
            either, or waiting for their time.
        """
        counted = await self.app.connector.call_async(
            job_records.count_waiting_jobs(queue=self.name)
        )
        if kind == "queued":
            return counted.due
        if kind == "active":
            return counted.doing
        if kind == "incomplete":
            return counted.due + counted.scheduled + counted.doing
        raise ValueError(f"Can't count {kind!r}: it is 'queued', 'active' or 'incomplete'")

    async def sweep(self, lock: int = 60, abort: float = 5.0) -> list[str]:
        """
        End the jobs that are past their timeout or heartbeat and whose worker can't end them.

        Any worker does this by itself, by the clock of the database. Returns the keys.

        Parameters
        ----------
        lock
            Of no meaning: sweeps at the same time take different jobs.
        abort
            Seconds for which a worker must be silent to be past doing it itself.
        """
        call = self.app.connector.call_async
        outcomes = await call(
            results.expire_jobs_v1(older_than=datetime.timedelta(seconds=abort))
        )
        await call(wire.sweep_v1())
        found = await call(
            job_records.get_job_records(job_ids=[outcome.job_id for outcome in outcomes])
        )
        return [rows.key_of(record.job) for record in found]

    async def job(self, job_key: str) -> Job | None:
        """
        Return the latest job of a key, if there is one in this queue.

        Parameters
        ----------
        job_key
            The key.
        """
        found = (await self._find([job_key])).get(job_key)
        return (
            None
            if found is None or found.job.queue != self.name
            else (rows.recorded(found, self))
        )

    async def jobs(self, job_keys: Iterable[str]) -> list[Job | None]:
        """
        Return the latest job of each key, None where there is none.

        Parameters
        ----------
        job_keys
            The keys.

        Raises
        ------
        ValueError
            One is in another queue.
        """
        keys = list(job_keys)
        found = await self._find(keys)
        for key, record in found.items():
            if record.job.queue != self.name:
                raise ValueError(f"Job {key} fetched by wrong queue: {self.name}")
        return [rows.recorded(found[key], self) if key in found else None for key in keys]

    async def iter_jobs(
        self,
        statuses: list[Status] = list(Status),  # noqa: B006 (read only)
        batch_size: int = 100,
    ) -> AsyncIterator[Job]:
        """
        Go through the jobs of this queue that have a key, by that.

        Parameters
        ----------
        statuses
            Which.
        batch_size
            How many are read at once.
        """
        after = ""
        while True:
            found = await self.app.connector.call_async(
                job_records.list_job_records(
                    queue=self.name, after_key=after, max_jobs=batch_size
                )
            )
            if not found:
                return
            for record in found:
                job = rows.recorded(record, self)
                if job.status in statuses and not record.is_expired:
                    yield job
            after = rows.key_of(found[-1].job)

    async def get_job_status(
        self,
        key: str,
        for_update: bool = False,
        connection: Any | None = None,
    ) -> Status | None:
        """
        Return the status of the latest job of a key.

        Parameters
        ----------
        key
            The key.
        for_update
            Of no meaning.
        connection
            Of no meaning.
        """
        job = await self.job(key)
        return None if job is None else job.status

    async def abort(self, job: Job, error: str, ttl: float = 5) -> None:
        """
        Keep a job from running, or have it cancelled. One that has ended stays as it is.

        Parameters
        ----------
        job
            The job.
        error
            Why: what this object says from now on.
        ttl
            Of no meaning.
        """
        job_id = await self._id_of(job)
        if job_id is None:
            return
        call = self.app.connector.call_async
        if not await call(front.cancel_job(job_id=job_id, abort=True)):
            return
        status = await call(listing.get_job_status(job_id=job_id))
        job.status = rows.status_of(status, abort_requested=True)
        job.error = error
        if status == "cancelled":  # It waited; one that ran is counted by its worker.
            self._count_abort()

    async def schedule(self, lock: int = 1) -> list[str]:
        """
        Do nothing: jobs are due by themselves when their time comes.

        Parameters
        ----------
        lock
            Of no meaning.
        """
        return []

    @contextlib.asynccontextmanager
    async def nullcontext(self, enter_result: Any | None = None) -> AsyncGenerator[Any]:
        """
        Do nothing around a block.

        Parameters
        ----------
        enter_result
            What the block gets.
        """
        yield enter_result

    async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        """
        Refuse: jobs are claimed by a worker that lives, and can't be had one by one.

        Parameters
        ----------
        timeout
            Of no meaning.
        poll_interval
            Of no meaning.
        """
        raise NotImplementedError(
            f"Queue {self.name!r} gives out no single jobs: a job belongs to a worker that beats. "
            "Run a Worker; with burst=True it ends when there is nothing left to do"
        )

    async def write_worker_info(self, worker_id: str, info: WorkerInfo, ttl: int) -> None:
        """
        Keep what a worker says of itself, for `info` in this process.

        Parameters
        ----------
        worker_id
            The worker.
        info
            What it says.
        ttl
            Of no meaning: it is shown as long as the worker lives.
        """
        self._workers[worker_id] = info

    async def wait_for(self, jobs: Sequence[Job], timeout: float | None) -> None:
        """Wait until jobs have ended, and read into them how; see `Queue.wait_for`."""
        job_ids = [cast("int", job.row_id) for job in jobs]
        reports = await self.app.wait_for(job_ids, timeout)
        for job, told in zip(jobs, reports, strict=True):
            rows.report(job, told)

    async def wait_until_over(self, job: Job, timeout: float | None) -> None:
        """Wait until a job has ended, if it is there."""
        job_id = await self._id_of(job)
        if job_id is not None:
            with contextlib.suppress(exceptions.JobNotFound):
                await self.app.wait_for([job_id], timeout)

    async def _enqueue(self, jobs: Sequence[Job]) -> list[Job | None]:
        if not jobs:
            return []
        new_jobs = [rows.row_of(job, self.name) for job in jobs]
        if self.app.connector.json_dumps is None:
            for new_job in new_jobs:
                json.dumps(new_job.task_kwargs)  # the caller's error, not the connector's
        call = self.app.connector.call_async
        if len(jobs) > 1:
            # all in one insert, which is what many have for a hope: their keys are new
            with contextlib.suppress(exceptions.UniqueViolation):
                numbers = await call(defers.defer_jobs_v3(new_jobs=new_jobs))
                for job, number in zip(jobs, numbers, strict=True):
                    job.row_id = number
                return list(jobs)
        tried = await call(defers.try_defer_jobs_v2(new_jobs=new_jobs))
        enqueued: list[Job | None] = []
        for job, outcome in zip(jobs, tried, strict=True):
            job.row_id = outcome.job_id or outcome.other_job_id
            enqueued.append(None if outcome.job_id is None else job)
        return enqueued

    async def _retry(self, job: Job, error: str | None) -> bool:
        job_id = await self._id_of(job)
        if job_id is None:
            return False
        call = self.app.connector.call_async
        delay, retry_at = job.next_retry_delay(), None
        if delay:
            # Of the database's clock: whose machine this is has another.
            retry_at = await call(job_records.now()) + datetime.timedelta(seconds=delay)
        if not await call(front.retry_job(job_id=job_id, retry_at=retry_at)):
            raise RuntimeError(
                f"{job} can't be tried again: only a job that has failed can. Enqueue another"
            )
        job.status = Status.QUEUED
        job.error = error
        job.started = job.completed = 0
        return True

    async def _finish(
        self,
        job: Job,
        status: Status,
        *,
        result: Any = None,
        error: str | None = None,
    ) -> None:
        if status is not Status.ABORTED or await self.get_job_status(job.key) in (
            Status.ACTIVE,
            Status.ABORTING,
        ):
            raise NotImplementedError(
                f"{job} can't be made {status.value} from outside: the worker that runs a job "
                "ends it. Use abort, or let its function return or raise"
            )
        await self.abort(job, error or rows.ABORTED)

    async def _update(self, job: Job, fields: dict[str, Any]) -> None:
        context = self.running.get(job.key)
        if context is None:
            if await self.job(job.key) is None:
                return
            raise RuntimeError(
                f"{job} does not run in this process: only the task itself can update its job"
            )
        for name, value in fields.items():
            setattr(job, name, value)
        if job.progress or job.meta:
            context.update(progress=job.progress or None, meta=job.meta or None)
        else:
            context.touch()

    async def _find(self, keys: list[str]) -> dict[str, job_records.JobRecord]:
        """Look for jobs by their keys; those that are long over are gone."""
        call = self.app.connector.call_async
        ids = await call(results.find_keys_v1(keys=keys))
        numbers = {key: key.removeprefix(rows.PREFIX) for key in keys if key not in ids}
        ids |= {
            key: int(number)
            for key, number in numbers.items()
            if key.startswith(rows.PREFIX) and number.isdecimal()
        }
        found = await call(job_records.get_job_records(job_ids=list(ids.values())))
        return {rows.key_of(record.job): record for record in found if not record.is_expired}

    async def _id_of(self, job: Job) -> int | None:
        if job.row_id is not None:
            return job.row_id
        record = (await self._find([job.key])).get(job.key)
        job.row_id = None if record is None else record.job.id
        return job.row_id

    @staticmethod
    def _known(worker: job_records.WorkerRecord) -> WorkerInfo:
        """Tell what the database knows of another process's worker: no counters."""
        described: dict[str, Any] = worker.description or {}
        metadata = described.get("metadata")
        return {"stats": None, "queue_key": None, "metadata": metadata}
