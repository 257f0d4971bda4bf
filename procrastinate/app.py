"""The app: what a project has one of."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

from procrastinate import (
    blueprints,
    builtin_tasks,
    exceptions,
    handles,
    jobs,
    loops,
    manager,
    tasks,
    utils,
)
from procrastinate import connector as connector_module

if TYPE_CHECKING:
    import datetime
    from collections.abc import Generator, Iterable
    from types import TracebackType

    from procrastinate import middleware, schema, worker
    from procrastinate.rpc import values
    from procrastinate.worker import recovery

logger: logging.Logger = logging.getLogger(__name__)


class WorkerOptions(TypedDict):
    """
    The options of `App.run_worker_async`, which says what they mean, and of ``worker_defaults``.
    """

    queues: NotRequired[Iterable[str]]
    name: NotRequired[str]
    concurrency: NotRequired[int]
    wait: NotRequired[bool]
    fetch_job_polling_interval: NotRequired[float]
    abort_job_polling_interval: NotRequired[float]
    shutdown_graceful_timeout: NotRequired[float]
    listen_notify: NotRequired[bool]
    delete_jobs: NotRequired[str | jobs.DeleteJobCondition]
    additional_context: NotRequired[dict[str, Any]]
    install_signal_handlers: NotRequired[bool]
    update_heartbeat_interval: NotRequired[float]
    stalled_worker_timeout: NotRequired[float]
    task_middleware: NotRequired[list[middleware.TaskMiddleware]]
    worker_middleware: NotRequired[list[middleware.WorkerMiddleware]]
    stalled_jobs: NotRequired[recovery.Policies]
    retention: NotRequired[datetime.timedelta | float | None]
    prefetch: NotRequired[int]


class App(blueprints.Blueprint):
    """
    The App is the main entry point for procrastinate integration.

    Instantiate a single `App` in your code and use it to decorate your tasks with
    `App.task`.

    You can run a worker with `App.run_worker`.

    Parameters
    ----------
    connector :
        Typically a `PsycopgConnector`. It will be responsible for all communications
        with the database. Mandatory.
    import_paths :
        List of python dotted paths of modules to import, to make sure that the workers
        know about all possible tasks. If there are tasks in a module that is neither
        imported as a side effect of importing the App, nor specified in this list, and a
        worker encounters a task defined in that module, the task will fail
        (`TaskNotFound`). While it is not mandatory to specify paths to modules that you
        know have already been imported, it's a good idea to do so.
    worker_defaults :
        All the values passed here will override the default values sent when launching a
        worker. See `App.run_worker` for details.
    periodic_defaults :
        Parameters for fine tuning the periodic tasks deferrer. Available parameters are:

        - ``max_delay``: ``float``, in seconds. When a worker starts and there's a periodic
          task that hasn't been deferred yet, it will try to defer the task only if it has
          been overdue for less time than specified by this parameter. If the task has been
          overdue for longer, the worker will wait until the next scheduled execution. This
          mechanism prevents newly added periodic tasks from being immediately deferred.
          Additionally, it ensures that periodic tasks, which were not deferred due to
          system outages, are not deferred upon application recovery (provided that the
          outage duration is longer than ``max_delay``), that's especially important for
          tasks intended to run during off-peak hours, such as intensive nightly tasks.
          (defaults to 10 minutes)
    """

    job_manager: manager.JobManager
    """The `JobManager` linked to the application"""

    @classmethod
    def from_path(cls, dotted_path: str) -> App:
        """
        Create an `App` object by dynamically loading the object at the given path.

        Parameters
        ----------
        dotted_path :
            Dotted path to the object to load (e.g. ``mymodule.submodule.procrastinate_app``)

        Raises
        ------
        exceptions.LoadFromPathError
            Nothing could be imported from there, or it is no app.
        """
        return utils.load_from_path(dotted_path, cls)

    def __init__(
        self,
        *,
        connector: connector_module.BaseConnector,
        import_paths: Iterable[str] | None = None,
        worker_defaults: WorkerOptions | None = None,
        periodic_defaults: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()

        self.connector: connector_module.BaseConnector = connector
        self.import_paths: Iterable[str] = import_paths or []
        self.worker_defaults: WorkerOptions = worker_defaults or {}
        self.periodic_defaults: dict[str, Any] = periodic_defaults or {}
        self.job_manager = manager.JobManager(self.connector)
        self._has_imported = False

        builtin_tasks.add_to(self)

    def with_connector(self, connector: connector_module.BaseConnector) -> App:
        """
        Create another app instance synchronized with this one, with a different connector.

        .. deprecated:: 2.14.0
            Use `replace_connector` instead. Because this method creates a new app that
            references the same tasks, and the task have a link back to the app, using this
            method can lead to unexpected behavior.

        Parameters
        ----------
        connector :
            The new connector to use.

        Returns
        -------
        `App`
            A new app with the same tasks.
        """
        app = App(
            connector=connector,
            import_paths=self.import_paths,
            worker_defaults=self.worker_defaults,
            periodic_defaults=self.periodic_defaults,
        )
        app.tasks = self.tasks
        app.periodic_registry = self.periodic_registry
        return app

    @contextlib.contextmanager
    def replace_connector(
        self, connector: connector_module.BaseConnector
    ) -> Generator[App, None, None]:
        """
        Replace the connector of the app while the block runs.

        Parameters
        ----------
        connector :
            The connector to use meanwhile.

        Yields
        ------
        `App`
            This same app.
        """
        previous = self.connector
        self.connector = connector
        self.job_manager.connector = connector
        try:
            yield self
        finally:
            self.connector = previous
            self.job_manager.connector = previous

    def will_configure_task(self) -> None:
        """Let tasks be configured: they belong to an app."""

    def configure_task(
        self, name: str, *, allow_unknown: bool = True, **kwargs: Any
    ) -> jobs.JobDeferrer:
        """
        Configure a task for deferring, using its name

        The modules of ``import_paths`` are imported first, if that has not been done.

        Parameters
        ----------
        name :
            Name of the task. If not explicitly defined, this will be the dotted path to the
            task (``my.module.my_task``)
        allow_unknown :
            Whether a name that this app does not know may be deferred, too.
        **kwargs :
            Parameters from `Task.configure`

        Returns
        -------
        `jobs.JobDeferrer`
            Launch ``.defer(**task_kwargs)`` on this object to defer your job.

        Raises
        ------
        exceptions.TaskNotFound
            This app does not know the name, and ``allow_unknown`` is False.
        """
        self.perform_import_paths()
        try:
            task = self.tasks[name]
        except KeyError as exc:
            if not allow_unknown:
                raise exceptions.TaskNotFound from exc
            return tasks.configure_task(name=name, job_manager=self.job_manager, **kwargs)
        return task.configure(**kwargs)

    def handle(self, job_id: int) -> handles.JobHandle[Any]:
        """
        Return a handle of a job, to wait for it or for what its task returns.

        `Task.handle` knows the type of that.

        Parameters
        ----------
        job_id :
            The id of the job, as ``defer`` returned it
        """
        return handles.JobHandle(job_id, self.job_manager)

    async def wait_for(
        self, job_ids: Iterable[int], timeout: float | None = None
    ) -> list[values.JobReport]:
        """
        Wait until all of some jobs have ended, however they do.

        Thousands may wait at once: all waiters of the app share one connection that listens
        and one that asks. A database that can't be reached is waited for.

        Parameters
        ----------
        job_ids :
            The ids of the jobs
        timeout :
            Seconds to wait; None is no limit

        Returns
        -------
        list[JobReport]
            What is known of each job, in the same order: its status, result, last error, …

        Raises
        ------
        TimeoutError
            They have not ended by then. They go on.
        exceptions.JobNotFound
            One of the jobs is not there (any more).
        """
        return await self.job_manager.wait_for_async(job_ids, timeout)

    def perform_import_paths(self) -> None:
        """Import the modules of ``import_paths``, once, so that their tasks are known."""
        if self._has_imported:
            return
        utils.import_all(self.import_paths)
        logger.debug(
            "All tasks imported",
            extra={"action": "imported_tasks", "tasks": list(self.tasks)},
        )
        self._has_imported = True

    def _worker(self, **kwargs: Unpack[WorkerOptions]) -> worker.Worker:
        # Here and not at the top: who only defers does not need the engine.
        from procrastinate import worker  # noqa: PLC0415

        options: WorkerOptions = {**self.worker_defaults, **kwargs}
        return worker.Worker(self, **options)

    async def run_worker_async(self, **kwargs: Unpack[WorkerOptions]) -> None:
        """
        Run a worker. This worker will run in the foreground and execute the jobs in the
        provided queues. If wait is True, the function will not return until the worker
        stops (most probably when it receives a stop signal). The default values of all
        parameters presented here can be overridden at the `App` level.

        Cancelling it stops the worker as a signal would; cancelling it once more aborts
        the jobs that still run.

        Parameters
        ----------
        queues : Iterable[str] | None
            List of queues to listen to, or None to listen to every queue (defaults to
            ``None``).
        wait : bool
            If False, the worker will terminate as soon as it has caught up with the queues.
            If True, the worker will work until it is stopped by a signal (``ctrl+c``,
            ``SIGINT``, ``SIGTERM``) (defaults to ``True``).
        concurrency : int
            How many jobs the worker runs at the same time: coroutines in its event loop,
            other functions in as many threads. (defaults to ``1``).
        name : str | None
            Name of the worker. Will be passed in the `JobContext` and used in the logs
            (defaults to ``None`` which will result in the worker named ``worker``).
        fetch_job_polling_interval : float
            Maximum time (in seconds) between database job polls.

            Controls the frequency of database queries for new jobs to start.

            When `listen_notify` is True, the polling interval acts as a fallback mechanism
            and can reasonably be set to a higher value.

            (defaults to 5.0)
        abort_job_polling_interval : float
            Maximum time (in seconds) between database abort request polls.

            Controls the frequency of database queries for abort requests.

            When `listen_notify` is True, the polling interval acts as a fallback mechanism
            and can reasonably be set to a higher value.

            (defaults to 5.0)
        shutdown_graceful_timeout : float
            Indicates the maximum duration (in seconds) the worker waits for jobs to complete
            when requested to stop. Jobs that have not been completed by that time are
            aborted. A value of None corresponds to no timeout.

            (defaults to None)
        listen_notify : bool
            If ``True``, allocates a connection from the pool to listen for:

            - new job availability
            - job abort requests

            Provides lower latency for job updates compared to polling alone.

            Note: Worker polls the database regardless of this setting. (defaults to
            ``True``)
        delete_jobs : str
            If ``always``, the worker will automatically delete all jobs on completion.
            If ``successful`` the worker will only delete successful jobs.
            If ``never``, the worker will keep the jobs in the database.
            (defaults to ``never``)
        additional_context : dict[str, Any] | None
            If set extend the context received by the tasks when ``pass_context`` is set to
            ``True`` in the task definition.
        install_signal_handlers : bool
            If ``True``, the worker will install signal handlers to gracefully stop the
            worker. Use ``False`` if you want to handle signals yourself (e.g. if you run the
            work as an async task in a bigger application) (defaults to ``True``)
        update_heartbeat_interval : float
            Time in seconds between heartbeat updates of the worker. (defaults to 10)
        stalled_worker_timeout : float
            Time in seconds after which a worker is considered stalled if no heartbeat has
            been received. A worker prunes stalled workers from the database when it starts
            and then regularly.
            (defaults to 30)
        task_middleware : list[TaskMiddleware] | None
            A list of middlewares wrapping every task this worker runs. Sync middlewares
            apply to sync tasks, async middlewares to async tasks.
            (defaults to no middleware)
        worker_middleware : list[WorkerMiddleware] | None
            A list of always-async middlewares wrapping every job this worker runs, on the
            event loop (both sync and async tasks). (defaults to no middleware)
        stalled_jobs : str | Mapping[str, str] | None
            What becomes of a job whose worker died: ``leave`` it in doing, ``retry`` it as
            often as the task's retry strategy allows, or let it ``fail``. One word for all
            tasks of the app, or a mapping from names of tasks, ``"*"`` being all others.
            (defaults to ``leave``)
        retention : timedelta | float | None
            If set, the worker deletes jobs that ended (whatever their status) longer ago, a
            ``timedelta`` or a number of seconds. It does so now and then, for all queues.
            (defaults to ``None``: jobs are kept)
        prefetch : int
            How many jobs the worker may claim beyond ``concurrency``. They wait in the worker
            and begin as others end: one of a higher priority that is deferred meanwhile comes
            after them, no other worker can take them, and they hold their locks.
            (defaults to 0)
        """
        await self._worker(**kwargs).run()

    def run_worker(self, **kwargs: Any) -> None:
        """
        Synchronous version of `App.run_worker_async`.
        Create the event loop and open the app, then run the worker.
        The app and the event loop are closed at the end of the function.

        An app with a `SyncPsycopgConnector` works, too: the worker then uses a
        `PsycopgConnector` with the same arguments. The loop is uvloop's if it is installed,
        unless the variable ``PROCRASTINATE_UVLOOP`` is ``off``.

        Parameters
        ----------
        **kwargs :
            The options of `App.run_worker_async`.
        """
        loops.run(self._open_and_run_worker(**kwargs))

    async def _open_and_run_worker(self, **kwargs: Any) -> None:
        with contextlib.ExitStack() as stack:
            if not isinstance(self.connector, connector_module.BaseAsyncConnector):
                # docs/decisions: the project page promises it, and 3.10 refuses.
                stack.enter_context(self.replace_connector(self.connector.get_async_twin()))
            async with self.open_async():
                await self.run_worker_async(**kwargs)

    async def check_connection_async(self) -> bool:
        """Tell whether the database has our main table; raise if it can't be reached."""
        return await self.job_manager.check_connection_async()

    def check_connection(self) -> bool:
        """Tell whether the database has our main table; raise if it can't be reached."""
        return self.job_manager.check_connection()

    @property
    def schema_manager(self) -> schema.SchemaManager:
        """What installs and migrates the schema of this app's database."""
        # Here and not at the top: who only defers does not need the migrations.
        from procrastinate import schema  # noqa: PLC0415

        return schema.SchemaManager(connector=self.connector)

    def open(
        self,
        pool_or_engine: connector_module.Pool | connector_module.Engine | None = None,
    ) -> App:
        """
        Open the app synchronously.

        Parameters
        ----------
        pool_or_engine :
            Optional pool. Procrastinate can use an existing pool.
            Connection parameters passed in the constructor will be ignored.
            In case the SQLAlchemy connector is used, this can be an engine.
        """
        self.connector.get_sync_connector().open(pool_or_engine)
        return self

    def close(self) -> None:
        """Close what `App.open` opened."""
        self.connector.get_sync_connector().close()

    def open_async(
        self, pool: connector_module.Pool | None = None
    ) -> utils.AwaitableContext[App]:
        """
        Open the app asynchronously.

        Parameters
        ----------
        pool :
            Optional pool. Procrastinate can use an existing pool.
            Connection parameters passed in the constructor will be ignored.
        """
        return utils.AwaitableContext(
            open_coro=functools.partial(self.connector.open_async, pool),
            close_coro=self.close_async,
            return_value=self,
        )

    async def close_async(self) -> None:
        """Close what `App.open_async` opened."""
        await self.job_manager.close_waiters_async()
        await self.connector.close_async()

    def __enter__(self) -> App:
        """Return the app, opened by `App.open` or not."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the app."""
        self.close()
