"""Blueprints: tasks that are declared before, or apart from, the app."""

from __future__ import annotations

import logging
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypeVar,
    Unpack,
    overload,
)

from procrastinate import exceptions, job_options, jobs, middleware, retry, utils
from procrastinate import periodic as periodic_module
from procrastinate.tasks import ConfigureTaskOptions, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from procrastinate.job_context import JobContext
    from procrastinate.periodic import Args

logger: logging.Logger = logging.getLogger(__name__)


P = ParamSpec("P")
R = TypeVar("R")

_TOP_LEVEL_APP_URL = (
    "https://procrastinate.readthedocs.io/en/stable/discussions.html#top-level-app"
)


class Blueprint:
    """
    A Blueprint provides a way to declare tasks that can be registered on an
    `App` later::

        # Create blueprint for all tasks related to the cat
        cat_blueprint = Blueprint()

        # Declare tasks
        @cat_blueprint.task(lock="...")
        def feed_cat():
            ...

        # Register blueprint (will register ``cat:path.to.feed_cat``)
        app.add_tasks_from(cat_blueprint, namespace="cat")

    A blueprint can add tasks from another blueprint::

        blueprint_a, blueprint_b = Blueprint(), Blueprint()

        @blueprint_b.task(lock="...")
        def my_task():
            ...

        blueprint_a.add_tasks_from(blueprint_b, namespace="b")

        # Registers task "a:b:path.to.my_task"
        app.add_tasks_from(blueprint_a, namespace="a")

    Raises
    ------
    UnboundTaskError:
        Calling a blueprint task before the it is bound to an `App` will raise a
        `UnboundTaskError` error::

            blueprint = Blueprint()

            # Declare tasks
            @blueprint.task
            def my_task():
                ...

            >>> my_task.defer()

            Traceback (most recent call last):
                File "..."
            UnboundTaskError: ...
    """

    tasks: dict[str, Task[Any, Any, Any]]
    """
    The mapping of all tasks known by the app. Only procrastinate is expected to make
    changes to this mapping.
    """
    periodic_registry: periodic_module.PeriodicRegistry
    """The periodic tasks among them."""

    def __init__(self) -> None:
        self.tasks = {}
        self.periodic_registry = periodic_module.PeriodicRegistry()
        self._warn_of_main_module()

    def _warn_of_main_module(self) -> None:
        # Tasks named after __main__ can't be found by a worker, whose __main__ is another.
        if utils.caller_module_name() != "__main__":
            return
        logger.warning(
            "%s is instantiated in the main Python module (%s). See %s",
            type(self).__name__,
            utils.main_module_path(),
            _TOP_LEVEL_APP_URL,
            extra={"action": "app_defined_in___main__"},
        )

    def _register_task(self, task: Task[Any, Any, Any]) -> None:
        """Register a task under its name and its aliases, or, if one is taken, not at all."""
        # Its own name may be among them, when a name has moved to the aliases too early.
        names = (task.name, *task.aliases)
        for name in names:
            if name in self.tasks:
                raise exceptions.TaskAlreadyRegistered(
                    f"A task named {name} was already registered"
                )
        self.tasks.update(dict.fromkeys(names, task))

    def add_task_alias(self, task: Task[Any, Any, Any], alias: str) -> None:
        """
        Add an alias to a task. This can be useful if a task was in a given
        Blueprint and moves to a different blueprint.

        Parameters
        ----------
        task :
            Task to alias
        alias :
            New alias (including potential namespace, separated with ``:``)
        """
        if alias in self.tasks:
            raise exceptions.TaskAlreadyRegistered(
                f"A task named {alias} was already registered"
            )
        self.tasks[alias] = task

    def add_tasks_from(self, blueprint: Blueprint, *, namespace: str) -> None:
        """
        Copies over all tasks from a different blueprint, prefixing their names
        with the given namespace (using ``:`` as namespace separator).

        Parameters
        ----------
        blueprint :
            Blueprint to copy tasks from
        namespace :
            All task names and aliases will be prefixed by this name, uniqueness will be
            enforced.

        Raises
        ------
        TaskAlreadyRegistered:
            When a task of that name exists already. Nothing is changed then.
        """
        namespaced = {
            utils.add_namespace(name, namespace): task for name, task in blueprint.tasks.items()
        }
        if self.tasks.keys() & namespaced.keys():
            raise exceptions.TaskAlreadyRegistered(
                f"A namespace named {namespace} was already registered"
            )

        distinct = {id(task): task for task in namespaced.values()}
        for task in distinct.values():
            task.add_namespace(namespace)
            task.blueprint = self
        # The same tasks, so the blueprint has to know them by their new names.
        blueprint.tasks = dict(namespaced)
        self.tasks.update(namespaced)

        logger.info(
            "Adding tasks from blueprint",
            extra={
                "action": "loading_blueprint",
                "namespace": namespace,
                "tasks": list(namespaced),
            },
        )

        for periodic_task in blueprint.periodic_registry.periodic_tasks.values():
            self.periodic_registry.register_task(
                task=periodic_task.task,
                cron=periodic_task.cron,
                periodic_id=periodic_task.periodic_id,
                configure_kwargs=periodic_task.configure_kwargs,
            )

    @overload
    def task(
        self,
        *,
        _func: None = None,
        name: str | None = None,
        aliases: list[str] | None = None,
        retry: retry.RetryValue = False,
        pass_context: Literal[False] = False,
        queue: str = jobs.DEFAULT_QUEUE,
        priority: int = jobs.DEFAULT_PRIORITY,
        lock: str | None = None,
        queueing_lock: str | None = None,
        task_middleware: list[middleware.TaskMiddleware] | None = None,
        **options: Unpack[job_options.RunOptions],
    ) -> Callable[[Callable[P, R]], Task[P, R, P]]: ...

    @overload
    def task(
        self,
        *,
        _func: None = None,
        name: str | None = None,
        aliases: list[str] | None = None,
        retry: retry.RetryValue = False,
        pass_context: Literal[True],
        queue: str = jobs.DEFAULT_QUEUE,
        priority: int = jobs.DEFAULT_PRIORITY,
        lock: str | None = None,
        queueing_lock: str | None = None,
        task_middleware: list[middleware.TaskMiddleware] | None = None,
        **options: Unpack[job_options.RunOptions],
    ) -> Callable[
        [Callable[Concatenate[JobContext, P], R]], Task[Concatenate[JobContext, P], R, P]
    ]: ...

    @overload
    def task(self, _func: Callable[P, R]) -> Task[P, R, P]: ...

    @overload
    def task(
        self,
        _func: Callable[P, R],
        *,
        name: str | None = None,
        aliases: list[str] | None = None,
        retry: retry.RetryValue = False,
        pass_context: bool = False,
        queue: str = jobs.DEFAULT_QUEUE,
        priority: int = jobs.DEFAULT_PRIORITY,
        lock: str | None = None,
        queueing_lock: str | None = None,
        task_middleware: list[middleware.TaskMiddleware] | None = None,
        **options: Unpack[job_options.RunOptions],
    ) -> Task[P, R, P]: ...

    def task(
        self,
        _func: Callable[P, R] | None = None,
        *,
        name: str | None = None,
        aliases: list[str] | None = None,
        retry: retry.RetryValue = False,
        pass_context: bool = False,
        queue: str = jobs.DEFAULT_QUEUE,
        priority: int = jobs.DEFAULT_PRIORITY,
        lock: str | None = None,
        queueing_lock: str | None = None,
        task_middleware: list[middleware.TaskMiddleware] | None = None,
        **options: Unpack[job_options.RunOptions],
    ) -> Any:
        """
        Declare a function as a task. This method is meant to be used as a decorator::

            @app.task(...)
            def my_task(args):
                ...

        or::

            @app.task
            def my_task(args):
                ...

        The second form will use the default value for all parameters.

        Parameters
        ----------
        _func :
            The decorated function, when the decorator is used without parentheses
            (``@app.task``). Don't pass it explicitly.
        name :
            Name of the task, by default the full dotted path to the decorated function.
            If the function is nested or dynamically defined, it is important to give it
            a unique name, and to make sure the module that defines this function is
            listed in the ``import_paths`` of the `procrastinate.App`.
        aliases :
            Additional names for the task.
            The main use case is to gracefully rename tasks by moving the old name to
            aliases (these tasks can have been scheduled in a distant future, so the
            aliases can remain for a long time).
        retry :
            Details how to auto-retry the task if it fails. Can be:

            - A ``boolean``: will either not retry or retry indefinitely
            - An ``int``: the number of retries before it gives up
            - A `procrastinate.RetryStrategy` instance for complex cases

            Default is no retry.
        pass_context :
            Passes the task execution context in the task as first argument.
        queue :
            The name of the queue in which jobs from this task will be launched, if
            the queue is not overridden at launch.
            Default is ``"default"``.
            When a worker is launched, it can listen to specific queues, or to all
            queues.
        priority :
            Default priority (an integer) of jobs that are deferred from this task.
            Jobs with higher priority are run first. Priority can be positive or negative.
            If no default priority is set then the default priority is 0.
        lock :
            Default value for the ``lock`` (see `Task.defer`).
        queueing_lock :
            Default value for the ``queueing_lock`` (see `Task.defer`).
        task_middleware :
            A list of middlewares wrapping this task's execution. Each must match the
            task's nature: sync middleware (a plain function) for a sync task, async
            middleware (a coroutine function) for an async task.
        **options :
            What holds for a run of each job of this task, unless the job is deferred with
            another value. Durations are seconds or a ``timedelta``:

            - ``timeout``: A run that takes longer is cancelled, and fails with `JobTimeout`.
            - ``heartbeat``: So does a run that is silent for longer: one that calls neither
              `JobContext.touch` nor `JobContext.update`.
            - ``ttl``: What the task returns is stored, and kept for so long after the job's
              end; 0 is for ever, a negative value says that it is not stored.
            - ``store_result``: True is the same as a ttl of a day, if none is given.
            - ``keep_result``: The result outlives the job, if that is deleted before.
            - ``max_attempts``: A job that fails is run again until it has run so often, by
              whatever worker. Only if ``retry`` is not given.
            - ``retry_delay``: The pause before the second run.
            - ``retry_backoff``: The factor by which each further pause is longer.
            - ``retry_delay_cap``: The longest pause.
            - ``retry_jitter``: Whether each pause is a random part of that.

        Raises
        ------
        ValueError
            An option is out of bounds, or contradicts another.
        """
        job_options.of_task(options)  # refused here and now, if they are wrong

        def wrap(func: Callable[P, R]) -> Task[P, R, P]:
            task: Task[P, R, P] = Task(
                func,
                blueprint=self,
                queue=queue,
                priority=priority,
                lock=lock,
                queueing_lock=queueing_lock,
                name=name,
                aliases=aliases,
                retry=retry,
                pass_context=pass_context,
                task_middleware=task_middleware,
                **options,
            )
            self._register_task(task)
            return task

        return wrap if _func is None else wrap(_func)

    def periodic(
        self,
        *,
        cron: str,
        periodic_id: str = "",
        **configure_kwargs: Unpack[ConfigureTaskOptions],
    ) -> Callable[[Task[P, R, Concatenate[int, Args]]], Task[P, R, Args]]:
        """
        Task decorator, marks task as being scheduled for periodic deferring.

        Parameters
        ----------
        cron :
            Cron-like string. Optionally add a 6th column for seconds.
        periodic_id :
            Task name suffix. Used to distinguish periodic tasks with different kwargs.
        **configure_kwargs :
            Options of `Task.configure` for each job that a tick defers.
        """
        return self.periodic_registry.periodic_decorator(
            cron=cron, periodic_id=periodic_id, **configure_kwargs
        )

    def will_configure_task(self) -> None:
        """Refuse to configure a task that no app has adopted."""
        raise exceptions.UnboundTaskError
