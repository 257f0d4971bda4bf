"""Middlewares: code that wraps the execution of tasks."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from procrastinate import exceptions

if TYPE_CHECKING:
    from procrastinate import job_context, worker


SyncCallNext = Callable[[], Any]
AsyncCallNext = Callable[[], Awaitable[Any]]

SyncTaskMiddleware = Callable[
    [Callable[[], Any], "job_context.JobContext", "worker.Worker"], Any
]
AsyncTaskMiddleware = Callable[
    [Callable[[], Awaitable[Any]], "job_context.JobContext", "worker.Worker"], Awaitable[Any]
]

TaskMiddleware = SyncTaskMiddleware | AsyncTaskMiddleware
"""
A task middleware wraps the execution of a single task. It is a callable taking
``(call_next, context, worker)``, where ``call_next`` runs the next middleware or the task
itself, ``context`` is the `JobContext` and ``worker`` is the running worker, and must call (or
await) ``call_next()`` and return the result. Sync middlewares (plain ``def``) wrap sync tasks;
async middlewares (``async def``) wrap async tasks.
"""

WorkerMiddleware = AsyncTaskMiddleware
"""
A worker middleware wraps the execution of every job a worker runs, on the event loop. It is a
callable taking ``(call_next, context, worker)`` and must be ``async def``. Unlike a task
middleware it is always async and wraps both sync and async tasks.
"""


def is_async_callable(func: object) -> bool:
    """Whether a call makes a coroutine: also a partial's, or an instance's ``__call__``."""
    while isinstance(func, functools.partial):
        func = cast("functools.partial[object]", func).func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 (its kind is asked for, not whether it is there)
    )


def is_async_middleware(middleware: TaskMiddleware) -> bool:
    """Whether a middleware is async, and so is for async tasks."""
    return is_async_callable(middleware)


def name_of(middleware: object) -> str:
    """Name a middleware for messages."""
    return str(getattr(middleware, "__name__", None) or repr(middleware))


def check_task_middlewares(
    middlewares: Sequence[object], *, task_name: str, task_is_async: bool
) -> None:
    """
    Refuse, at a task's declaration, middlewares that can't wrap it.

    Raises
    ------
    TypeError
        One is not callable.
    exceptions.MiddlewareKindMismatch
        One is async and the task is not, or the other way round.
    """
    for middleware in middlewares:
        if not callable(middleware):
            raise TypeError(
                f"Task middleware {middleware!r} of task {task_name!r} is not callable."
            )
        if is_async_callable(middleware) == task_is_async:
            continue
        task_kind, kind = ("async", "sync") if task_is_async else ("sync", "async")
        raise exceptions.MiddlewareKindMismatch(
            f"{kind} middleware {name_of(middleware)!r} cannot wrap {task_kind} task "
            f"{task_name!r}; {task_kind} tasks require {task_kind} middleware."
        )


def check_worker_middlewares(
    *, task_middleware: Sequence[object], worker_middleware: Sequence[object]
) -> None:
    """
    Refuse, when a worker is made, middlewares that it can't use.

    Raises
    ------
    TypeError
        One is not callable.
    exceptions.MiddlewareKindMismatch
        A worker middleware is not async.
    """
    for middleware in task_middleware:
        if not callable(middleware):
            raise TypeError(f"Task middleware {middleware!r} is not callable.")
    for middleware in worker_middleware:
        if not callable(middleware):
            raise TypeError(f"Worker middleware {middleware!r} is not callable.")
        if not is_async_callable(middleware):
            raise exceptions.MiddlewareKindMismatch(
                f"Worker middleware {name_of(middleware)!r} must be async (async def); "
                "worker middleware always runs on the event loop."
            )


def compose(
    middlewares: Sequence[Callable[..., Any]],
    run_task: Callable[[], Any],
    context: job_context.JobContext | None,
    worker: worker.Worker | None,
) -> Callable[[], Any]:
    """Wrap a call in middlewares; the first one is the outermost."""
    call = run_task
    for middleware in reversed(middlewares):
        call = functools.partial(middleware, call, context, worker)
    return call
