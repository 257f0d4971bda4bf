"""Which middlewares may wrap what, and in which order."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import exceptions, middleware
from procrastinate.blueprints import Blueprint

if TYPE_CHECKING:
    from collections.abc import Callable


def sync_middleware(call_next: Callable[[], Any], context: Any, worker: Any) -> Any:
    return "sync", call_next(), context, worker


async def async_middleware(call_next: Callable[[], Any], context: Any, worker: Any) -> Any:
    return await call_next()


class AsyncObject:
    async def __call__(self, call_next: Any, context: Any, worker: Any) -> Any:
        return await call_next()


class SyncObject:
    def __call__(self, call_next: Any, context: Any, worker: Any) -> Any:
        return call_next()


@pytest.mark.parametrize(
    "candidate", [async_middleware, functools.partial(async_middleware), AsyncObject()]
)
def test_a_middleware_is_async_however_its_coroutine_function_is_wrapped(
    candidate: Any,
) -> None:
    assert middleware.is_async_middleware(candidate)


@pytest.mark.parametrize(
    "candidate", [sync_middleware, functools.partial(sync_middleware), SyncObject()]
)
def test_a_middleware_is_sync_however_its_function_is_wrapped(candidate: Any) -> None:
    assert not middleware.is_async_middleware(candidate)


def test_the_first_middleware_is_the_outermost() -> None:
    def second(call_next: Callable[[], Any], context: Any, worker: Any) -> Any:
        return "second", call_next(), context, worker

    context: Any = "context"
    worker: Any = "worker"
    call = middleware.compose([sync_middleware, second], lambda: 7, context, worker)

    assert call() == (
        "sync",
        ("second", 7, "context", "worker"),
        "context",
        "worker",
    )


def test_without_middlewares_the_task_itself_is_called() -> None:
    assert middleware.compose([], lambda: 7, None, None)() == 7


def a_sync_task() -> None: ...


async def an_async_task() -> None: ...


def test_an_async_middleware_can_not_wrap_a_sync_task() -> None:
    with pytest.raises(
        exceptions.MiddlewareKindMismatch,
        match=r"^async middleware 'async_middleware' cannot wrap sync task 'm1'; "
        r"sync tasks require sync middleware\.$",
    ):
        Blueprint().task(name="m1", task_middleware=[async_middleware])(a_sync_task)


def test_a_sync_middleware_can_not_wrap_an_async_task() -> None:
    with pytest.raises(
        exceptions.MiddlewareKindMismatch,
        match=r"^sync middleware 'sync_middleware' cannot wrap async task 'm1'; "
        r"async tasks require async middleware\.$",
    ):
        Blueprint().task(name="m1", task_middleware=[sync_middleware])(an_async_task)


def test_a_middleware_that_is_not_callable_is_named_with_its_task() -> None:
    nonsense: Any = 3

    with pytest.raises(TypeError, match=r"^Task middleware 3 of task 'm3' is not callable\.$"):
        Blueprint().task(name="m3", task_middleware=[nonsense])(an_async_task)


def test_a_task_that_was_refused_leaves_nothing_behind() -> None:
    blueprint = Blueprint()

    with pytest.raises(exceptions.MiddlewareKindMismatch):
        blueprint.task(name="m1", task_middleware=[sync_middleware])(an_async_task)

    assert blueprint.tasks == {}


def test_middlewares_of_the_right_kind_are_kept_in_order() -> None:
    other = SyncObject()

    task = Blueprint().task(task_middleware=[sync_middleware, other])(a_sync_task)

    assert task.task_middleware == [sync_middleware, other]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"task_middleware": [3]}, r"^Task middleware 3 is not callable\.$"),
        ({"worker_middleware": [3]}, r"^Worker middleware 3 is not callable\.$"),
    ],
)
def test_a_worker_refuses_a_middleware_that_is_not_callable(
    kwargs: dict[str, Any], message: str
) -> None:
    lists: dict[str, Any] = {"task_middleware": [], "worker_middleware": [], **kwargs}

    with pytest.raises(TypeError, match=message):
        middleware.check_worker_middlewares(**lists)


def test_a_worker_refuses_a_sync_worker_middleware() -> None:
    with pytest.raises(
        exceptions.MiddlewareKindMismatch,
        match=r"^Worker middleware 'sync_middleware' must be async \(async def\); "
        r"worker middleware always runs on the event loop\.$",
    ):
        middleware.check_worker_middlewares(
            task_middleware=[], worker_middleware=[async_middleware, sync_middleware]
        )


def test_a_worker_takes_task_middlewares_of_both_kinds() -> None:
    middleware.check_worker_middlewares(
        task_middleware=[sync_middleware, async_middleware],
        worker_middleware=[async_middleware],
    )
