"""The types of SAQ's arguments, for those who annotate with them."""

# ruff: noqa: UP006, UP007, UP035 (how these read when printed is published)

from __future__ import annotations

from asyncio import Task  # noqa: TC003 (read when the types are asked for)
from collections.abc import Collection
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Concatenate,
    Generic,
    Literal,
    Mapping,
    ParamSpec,
    Tuple,
    TypeVar,
    Union,
)

from typing_extensions import Required, TypedDict

if TYPE_CHECKING:
    from procrastinate.contrib.saq.job import CronJob, Job, Status
    from procrastinate.contrib.saq.queue.base import Queue
    from procrastinate.contrib.saq.worker import Worker

P = ParamSpec("P")


class WorkerStats(TypedDict):
    """What a worker has counted since it began."""

    complete: int
    failed: int
    retried: int
    aborted: int
    uptime: int
    """In milliseconds."""


class WorkerInfo(TypedDict):
    """What a worker says of itself."""

    queue_key: str | None
    stats: WorkerStats | None
    metadata: dict[str, Any] | None


class QueueInfo(TypedDict):
    """What `Queue.info` tells of a queue."""

    workers: dict[str, WorkerInfo]
    name: str
    queued: int
    active: int
    scheduled: int
    jobs: list[dict[str, Any]]


class Context(TypedDict, total=False):
    """What functions and hooks get as their first argument."""

    worker: Required[Worker[Any]]
    job: Job
    queue: Queue
    exception: Exception | None


class JobTaskContext(TypedDict):
    """What a worker knows of a job that it runs."""

    task: Task[Any]
    aborted: str | None


class TimersDict(TypedDict):
    """How often a worker does each of these, in seconds."""

    schedule: int
    worker_info: int
    sweep: int
    abort: int


class PartialTimersDict(TimersDict, total=False):
    """Some of a worker's timers."""


CtxType = TypeVar("CtxType", bound=Context)
Function = Callable[Concatenate[CtxType, ...], Any]
FunctionsType = Collection[Union[Function[CtxType], tuple[str, Function[CtxType]]]]
ReceivesContext = Callable[[CtxType], Any]
LifecycleFunctionsType = Union[ReceivesContext[CtxType], Collection[ReceivesContext[CtxType]]]
BeforeEnqueueType = Callable[["Job"], Awaitable[Any]]
CountKind = Literal["queued", "active", "incomplete"]
DumpType = Callable[[Mapping[Any, Any]], Union[bytes, str]]
DurationKind = Literal["process", "start", "total", "running"]
ListenCallback = Callable[[str, "Status"], Any]
LoadType = Callable[[Union[bytes, str]], Any]
VersionTuple = Tuple[int, ...]


class SettingsDict(TypedDict, Generic[CtxType], total=False):
    """The arguments of a worker, as a settings module holds them."""

    queue: Queue
    functions: Required[FunctionsType[CtxType]]
    concurrency: int
    cron_jobs: Collection[CronJob[Any]]
    startup: ReceivesContext[CtxType]
    shutdown: ReceivesContext[CtxType]
    before_process: ReceivesContext[CtxType]
    after_process: ReceivesContext[CtxType]
    timers: PartialTimersDict
    dequeue_timeout: float
