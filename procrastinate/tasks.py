"""Tasks: functions that are executed later, by a worker."""

from __future__ import annotations

import functools
import logging
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NotRequired,
    ParamSpec,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from procrastinate import exceptions, handles, job_options, jobs, types, utils
from procrastinate import middleware as middleware_module
from procrastinate import retry as retry_module

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Coroutine, Iterable

    from procrastinate import app as app_module
    from procrastinate import blueprints, manager


logger: logging.Logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")  # 3.x published it
R_co = TypeVar("R_co", covariant=True)
Args = ParamSpec("Args")
T = TypeVar("T")


class ConfigureTaskOptions(job_options.RunOptions, job_options.IdentityOptions):
    """The options of `Task.configure`."""

    lock: NotRequired[str | None]
    queueing_lock: NotRequired[str | None]
    task_kwargs: NotRequired[types.JSONDict | None]
    schedule_at: NotRequired[datetime.datetime | None]
    schedule_in: NotRequired[types.TimeDeltaParams | None]
    queue: NotRequired[str | None]
    priority: NotRequired[int | None]
    connection: NotRequired[Any | None]


def configure_task(
    *,
    name: str,
    job_manager: manager.JobManager,
    defaults: jobs.JobOptions | None = None,
    **options: Unpack[ConfigureTaskOptions],
) -> jobs.JobDeferrer:
    """
    Make a job of a task's name and the options that `Task.configure` documents.

    ``defaults`` are those of the task for the job's run.

    Raises
    ------
    ValueError
        Both schedules were given, or a date without a timezone, or an option out of bounds.
    """
    schedule_at = options.get("schedule_at")
    schedule_in = options.get("schedule_in")
    if schedule_at is not None and schedule_in is not None:
        raise ValueError("Cannot set both schedule_at and schedule_in")
    if schedule_in is not None:
        schedule_at = utils.datetime_from_timedelta_params(schedule_in)

    queue = options.get("queue")
    priority = options.get("priority")
    task_kwargs = options.get("task_kwargs")
    run_options = job_options.read(options, defaults)
    if run_options is not None:
        job_options.check_lock(options.get("lock"), run_options)
    return jobs.JobDeferrer(
        job=jobs.Job(
            id=None,
            lock=options.get("lock"),
            queueing_lock=options.get("queueing_lock"),
            task_name=name,
            queue=queue or jobs.DEFAULT_QUEUE,  # no queue is called ""
            priority=jobs.DEFAULT_PRIORITY if priority is None else priority,
            task_kwargs={} if task_kwargs is None else task_kwargs,
            scheduled_at=schedule_at,
            options=run_options,
        ),
        job_manager=job_manager,
        connection=options.get("connection"),
    )


class Task(Generic[P, R_co, Args]):
    """
    A task is a function that should be executed later. It is linked to a
    default queue, and expects keyword arguments. `App.task` makes them.

    Parameters
    ----------
    func
        The function.
    blueprint
        The blueprint or app that the task belongs to.
    retry
        What `App.task` takes: whether and how a job that fails is tried again.
    **options
        What `App.task` takes: how long a job may run, what is kept of it, …
    """

    name: str
    """Name of the task, usually the dotted path of the decorated function."""
    aliases: list[str]
    """Additional names for the task."""
    retry_strategy: retry_module.BaseRetryStrategy | None
    """Value indicating the retry conditions in case of `procrastinate.jobs.Job` error."""
    pass_context: bool
    """
    If ``True``, passes the task execution context as first positional argument on
    `procrastinate.jobs.Job` execution.
    """
    queue: str
    """
    Default queue to send deferred jobs to. The queue can be overridden when a job is
    deferred.
    """
    priority: int
    """Default priority of deferred jobs. It can be overridden when a job is deferred."""
    lock: str | None
    """Default lock. The lock can be overridden when a job is deferred."""
    queueing_lock: str | None
    """Default queueing lock. The queuing lock can be overridden when a job is deferred."""
    task_middleware: list[middleware_module.TaskMiddleware]
    """Middlewares that wrap this task's execution, the outermost first."""
    options: jobs.JobOptions | None
    """Default options of a job's run: its timeout, its ttl, … None: it has none."""
    func: Callable[P, R_co]
    """The decorated function."""
    blueprint: blueprints.Blueprint
    """The blueprint or app that the task belongs to."""

    def __init__(
        self,
        func: Callable[P, R_co],
        *,
        blueprint: blueprints.Blueprint,
        # task naming
        name: str | None = None,
        aliases: list[str] | None = None,
        # task specific settings
        retry: retry_module.RetryValue = False,
        pass_context: bool = False,
        # default defer arguments
        queue: str,
        priority: int = jobs.DEFAULT_PRIORITY,
        lock: str | None = None,
        queueing_lock: str | None = None,
        task_middleware: list[middleware_module.TaskMiddleware] | None = None,
        **options: Unpack[job_options.RunOptions],
    ) -> None:
        self.func = func
        self.blueprint = blueprint
        self.aliases = list(aliases) if aliases else []
        self.retry_strategy = retry_module.get_retry_strategy(retry)
        self.pass_context = pass_context
        self.queue = queue
        self.priority = priority
        self.lock = lock
        self.queueing_lock = queueing_lock
        self.options = job_options.of_task(options)
        self.name = name or self.full_path
        self.task_middleware = list(task_middleware) if task_middleware else []
        middleware_module.check_task_middlewares(
            self.task_middleware,
            task_name=self.name,
            task_is_async=middleware_module.is_async_callable(func),
        )
        # Only what describes the function: its own attributes could hide the task's.
        functools.update_wrapper(self, func, updated=())

    def add_namespace(self, namespace: str) -> None:
        """
        Prefix the task's name and aliases with a namespace.

        Parameters
        ----------
        namespace
            The namespace, without the colon that will follow it.
        """
        self.name = utils.add_namespace(self.name, namespace)
        self.aliases = [utils.add_namespace(alias, namespace) for alias in self.aliases]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here and now: no job, no middleware, no context added."""
        return self.func(*args, **kwargs)

    @property
    def full_path(self) -> str:
        """The dotted path of the decorated function: the default name."""
        return utils.get_full_path(self.func)

    async def defer_async(self, *_: Args.args, **task_kwargs: Args.kwargs) -> int:
        """
        Create a job from this task and the given arguments.
        The job will be created with default parameters, if you want to better
        specify when and how to launch this job, see `Task.configure`.

        Parameters
        ----------
        **task_kwargs
            Arguments for the task: what JSON can say.

        Returns
        -------
        int
            The id of the job.

        Raises
        ------
        exceptions.AlreadyEnqueued
            A job that waits has the task's queueing lock.
        exceptions.AppNotOpen
            The app is not open.
        """
        return await self.configure().defer_async(**cast("types.JSONDict", task_kwargs))

    def defer(self, *_: Args.args, **task_kwargs: Args.kwargs) -> int:
        """
        Create a job from this task and the given arguments.
        The job will be created with default parameters, if you want to better
        specify when and how to launch this job, see `Task.configure`.

        Parameters
        ----------
        **task_kwargs
            Arguments for the task: what JSON can say.

        Returns
        -------
        int
            The id of the job.

        Raises
        ------
        exceptions.AlreadyEnqueued
            A job that waits has the task's queueing lock.
        exceptions.AppNotOpen
            The app is not open.
        """
        return self.configure().defer(**cast("types.JSONDict", task_kwargs))

    async def batch_defer_async(self, *task_kwargs: types.JSONDict) -> list[int]:
        """
        Create one job for each dictionary of arguments, all or none of them.

        Parameters
        ----------
        *task_kwargs
            The arguments of each job: what JSON can say.

        Returns
        -------
        list[int]
            The ids of the jobs, in the same order.

        Raises
        ------
        exceptions.AlreadyEnqueued
            A job that waits, or another of these, has a job's queueing lock.
        exceptions.AppNotOpen
            The app is not open.
        """
        return await self.configure().batch_defer_async(*task_kwargs)

    def batch_defer(self, *task_kwargs: types.JSONDict) -> list[int]:
        """
        Create one job for each dictionary of arguments, all or none of them.

        Parameters
        ----------
        *task_kwargs
            The arguments of each job: what JSON can say.

        Returns
        -------
        list[int]
            The ids of the jobs, in the same order.

        Raises
        ------
        exceptions.AlreadyEnqueued
            A job that waits, or another of these, has a job's queueing lock.
        exceptions.AppNotOpen
            The app is not open.
        """
        return self.configure().batch_defer(*task_kwargs)

    @overload
    def handle(
        self: Task[P, Coroutine[Any, Any, T], Args], job_id: int
    ) -> handles.JobHandle[T]: ...

    @overload
    def handle(self, job_id: int) -> handles.JobHandle[R_co]: ...

    def handle(self, job_id: int) -> handles.JobHandle[Any]:
        """
        Return a handle of a job of this task, to wait for it or for what the task returns.

        Parameters
        ----------
        job_id
            The id of the job, as `Task.defer` returned it.
        """
        self.blueprint.will_configure_task()
        app = cast("app_module.App", self.blueprint)  # Any other blueprint has just raised.
        return handles.JobHandle(job_id, app.job_manager)

    @overload
    async def defer_and_wait_async(
        self: Task[P, Coroutine[Any, Any, T], Args], *_: Args.args, **task_kwargs: Args.kwargs
    ) -> T: ...

    @overload
    async def defer_and_wait_async(self, *_: Args.args, **task_kwargs: Args.kwargs) -> R_co: ...

    async def defer_and_wait_async(self, *_: Args.args, **task_kwargs: Args.kwargs) -> Any:
        """
        Create a job from this task, wait until it has ended, and return what the task returned.

        The result is stored, for a day if the task has no ttl. Who does not want to wait for
        ever wraps the call in :func:`asyncio.timeout`; the job goes on all the same.

        Parameters
        ----------
        **task_kwargs
            Arguments for the task: what JSON can say.

        Returns
        -------
        Any
            What the task returned, as JSON says it.

        Raises
        ------
        exceptions.JobFailed
            The job failed, or was cancelled or aborted; `exceptions.JobTimeout` if it was out
            of time. It has what the worker wrote of it.
        exceptions.AlreadyEnqueued
            A job that waits has the task's queueing lock.
        exceptions.AppNotOpen
            The app is not open.
        """
        deferrer = self.configure()
        return await deferrer.defer_and_wait_async(**cast("types.JSONDict", task_kwargs))

    @overload
    def defer_and_wait(
        self: Task[P, Coroutine[Any, Any, T], Args], *_: Args.args, **task_kwargs: Args.kwargs
    ) -> T: ...

    @overload
    def defer_and_wait(self, *_: Args.args, **task_kwargs: Args.kwargs) -> R_co: ...

    def defer_and_wait(self, *_: Args.args, **task_kwargs: Args.kwargs) -> Any:
        """
        Sync version of `Task.defer_and_wait_async`: it looks again and again.

        Parameters
        ----------
        **task_kwargs
            Arguments for the task: what JSON can say.

        Returns
        -------
        Any
            What the task returned, as JSON says it.
        """
        return self.configure().defer_and_wait(**cast("types.JSONDict", task_kwargs))

    @overload
    async def map_async(
        self: Task[P, Coroutine[Any, Any, T], Args],
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[T]: ...

    @overload
    async def map_async(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[R_co]: ...

    async def map_async(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """
        Create one job for each dictionary of arguments, and return what they all returned.

        Parameters
        ----------
        task_kwargs
            The arguments of each job: what JSON can say.
        timeout
            Seconds to wait for all of them; None is no limit. The jobs go on all the same.
        return_exceptions
            Whether a job that failed has its error among the results, instead of raising it.

        Returns
        -------
        list[Any]
            What the task returned, as JSON says it, in the order of the arguments.

        Raises
        ------
        exceptions.JobFailed
            A job failed: the first in this order, once all have ended.
        TimeoutError
            Not all have ended by then.
        exceptions.AlreadyEnqueued
            A job that waits, or another of these, has a job's queueing lock. None was created.
        exceptions.AppNotOpen
            The app is not open.
        """
        return await self.configure().map_async(
            task_kwargs, timeout=timeout, return_exceptions=return_exceptions
        )

    @overload
    def map(
        self: Task[P, Coroutine[Any, Any, T], Args],
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[T]: ...

    @overload
    def map(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[R_co]: ...

    def map(
        self,
        task_kwargs: Iterable[types.JSONDict],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """
        Sync version of `Task.map_async`: it looks again and again.

        Parameters
        ----------
        task_kwargs
            The arguments of each job: what JSON can say.
        timeout
            Seconds to wait for all of them; None is no limit. The jobs go on all the same.
        return_exceptions
            Whether a job that failed has its error among the results, instead of raising it.

        Returns
        -------
        list[Any]
            What the task returned, as JSON says it, in the order of the arguments.
        """
        return self.configure().map(
            task_kwargs, timeout=timeout, return_exceptions=return_exceptions
        )

    def configure(self, **options: Unpack[ConfigureTaskOptions]) -> jobs.JobDeferrer:
        """
        Configure the job with all the specific settings, defining how the job
        should be launched.

        You should call the `defer` method (see `Task.defer`) on the resulting
        object, with the job task parameters.

        Parameters
        ----------
        lock :
            No two jobs with the same lock string can run simultaneously
        queueing_lock :
            No two jobs with the same queueing lock can be waiting in the queue.
            `Task.defer` will raise an `AlreadyEnqueued` exception if there already
            is a job waiting in the queue with same queueing lock.
        task_kwargs :
            Arguments for the job task. You can also pass them to `Task.defer`.
            If you pass both, they will be updated (`Task.defer` has priority)
        schedule_at :
            A datetime before which the job should not be launched (incompatible
            with schedule_in)
        schedule_in :
            A dict with kwargs for a python timedelta, for example ``{'minutes': 5}``.
            Converted to schedule_at internally. See `python timedelta documentation
            <https://docs.python.org/3/library/datetime.html#timedelta-objects>`_
            (incompatible with schedule_at)
        queue :
            By setting a queue on the job launch, you override the task default queue
        priority :
            Set the priority of the job as an integer. Jobs with higher priority are run
            first. Priority can be positive or negative. The default priority is 0.
        connection :
            An optional external database connection. When provided, the job INSERT will
            run on this connection instead of the connector's pool, allowing atomic
            deferral within a user-managed transaction. The user is responsible for
            committing. Supported by `SyncPsycopgConnector`, `PsycopgConnector`, and
            `SQLAlchemyPsycopg2Connector`.
        key :
            A name that no other job may have while this one waits or runs. `Task.defer`
            raises `KeyInUse` if one has it.
        group_key :
            At most one job of a group runs at a time in each queue. A delayed job of a group
            does not hold back the others, as one with a lock does. Not with ``lock``.
        timeout :
            A run that takes longer is cancelled and fails: seconds or a ``timedelta``. This
            and what follows override the task's own options; `App.task` says more.
        heartbeat :
            So does a run that gives no sign of life for longer (`JobContext.touch`).
        ttl :
            How long what the task returns is kept; 0 is for ever, less is not at all.
        store_result :
            Whether it is kept at all, for a day if there is no ttl.
        keep_result :
            Whether it outlives the job.
        max_attempts :
            How often the job runs in all, if it fails and the task has no ``retry``.
        retry_delay :
            The pause before the second run.
        retry_backoff :
            The factor by which each further pause is longer.
        retry_delay_cap :
            The longest pause.
        retry_jitter :
            Whether each pause is a random part of that.

        Returns
        -------
        jobs.JobDeferrer
            An object with a ``defer`` method, identical to `Task.defer`

        Raises
        ------
        ValueError
            If you try to define both schedule_at and schedule_in, or an option is out of bounds
        """
        self.blueprint.will_configure_task()
        app = cast("app_module.App", self.blueprint)  # Any other blueprint has just raised.

        # None asks for the task's own default. That is also how 3.x reads it, so a lock can't
        # be unset here.
        for option, default in (
            ("lock", self.lock),
            ("queueing_lock", self.queueing_lock),
            ("queue", self.queue),
            ("priority", self.priority),
        ):
            if options.get(option) is None:
                cast("dict[str, Any]", options)[option] = default
        return configure_task(
            name=self.name, job_manager=app.job_manager, defaults=self.options, **options
        )

    def get_retry_exception(
        self, exception: BaseException, job: jobs.Job
    ) -> exceptions.JobRetry | None:
        """
        Return what tells the worker to retry the job, or None if there is to be no retry.

        Parameters
        ----------
        exception
            What the task raised.
        job
            The job that failed.
        """
        if self.retry_strategy is None:
            return None
        return self.retry_strategy.get_retry_exception(exception=exception, job=job)
