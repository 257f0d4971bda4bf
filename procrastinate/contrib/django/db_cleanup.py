"""The app that looks after Django's connections around each task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from asgiref.sync import sync_to_async
from django import db

from procrastinate.app import App

if TYPE_CHECKING:
    from procrastinate import job_context, middleware, worker
    from procrastinate.app import WorkerOptions


def close_db_connections(
    call_next: middleware.SyncCallNext,
    context: job_context.JobContext,
    worker: worker.Worker,
) -> Any:
    """
    Close this thread's connections that are broken or older than ``CONN_MAX_AGE``.

    As Django does around each request: before, for one that grew old while the thread waited,
    and after, so that no thread holds on to one that it may not keep.
    """
    db.close_old_connections()
    try:
        return call_next()
    finally:
        db.close_old_connections()


async def close_db_connections_async(
    call_next: middleware.AsyncCallNext,
    context: job_context.JobContext,
    worker: worker.Worker,
) -> Any:
    """
    Close, around an async task, the connections that its ``await``s on the ORM use.

    All of them live in one thread, which ``sync_to_async`` leads to: see
    `close_db_connections`.
    """
    close = sync_to_async(db.close_old_connections)
    await close()
    try:
        return await call_next()
    finally:
        await close()


def with_db_cleanup(worker_defaults: WorkerOptions | None) -> WorkerOptions:
    """
    Add `close_db_connections` in both colours to a worker's options, after what is there.
    """
    options: WorkerOptions = {**worker_defaults} if worker_defaults else {}
    given = list(options.get("task_middleware") or [])
    ours: list[middleware.TaskMiddleware] = [close_db_connections, close_db_connections_async]
    return {
        **options,
        "task_middleware": given + [each for each in ours if each not in given],
    }


class DjangoApp(App):
    """
    A `procrastinate.App` preconfigured to manage Django's per-thread database connections
    around each task (see ``close_db_connections()``).

    This is the app the Django contrib runs (`procrastinate.contrib.django.app`). It is also
    the app to use when building a throwaway app in a test — e.g. to avoid leaving a task
    registered on the global app — so that tasks run by a worker get the same connection
    cleanup and don't leak connections at test database teardown::

        from procrastinate.contrib.django import DjangoApp, app

        new_app = DjangoApp(connector=app.connector)

    The cleanup is configured by merging the DB-cleanup middlewares into ``worker_defaults``
    (see ``with_db_cleanup()``); any ``worker_defaults`` you pass are preserved.

    Parameters
    ----------
    worker_defaults :
        See `App`.
    **kwargs :
        The other parameters of `App`.
    """

    def __init__(self, *, worker_defaults: WorkerOptions | None = None, **kwargs: Any) -> None:
        super().__init__(worker_defaults=with_db_cleanup(worker_defaults), **kwargs)

    def _worker(self, **kwargs: Unpack[WorkerOptions]) -> worker.Worker:
        # One who gives a worker middlewares does not ask for connections that stay open.
        options = with_db_cleanup(kwargs) if "task_middleware" in kwargs else kwargs
        return super()._worker(**options)
