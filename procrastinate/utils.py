"""Small tools without an opinion on jobs. Nothing here knows a database."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import functools
import importlib
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from procrastinate import exceptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from concurrent.futures import Executor
    from types import TracebackType

    from procrastinate.types import TimeDeltaParams

T = TypeVar("T")
U = TypeVar("U")

logger: logging.Logger = logging.getLogger(__name__)

_SYNC_CALL_IN_LOOP = (
    "You cannot use AsyncToSync in the same thread as an async event loop - "
    "just await the async function directly."
)

# The loop that a thread works for. A sync call made in that thread which needs the loop finds
# it here; contextvars travel into threads with the copied context.
_home_loop: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar(
    "procrastinate_home_loop", default=None
)


def load_from_path(path: str, allowed_type: type[T] | None = None) -> T:
    """
    Import the object at a dotted path, whose last component is the attribute.

    Parameters
    ----------
    path
        The dotted path: ``package.module.attribute``.
    allowed_type
        The type that the object must be of; None for any.

    Raises
    ------
    exceptions.LoadFromPathError
        The path has no dot, can't be imported, or leads to another type of object. Any other
        exception raised while the module is imported comes through as it is, an
        `AttributeError` too.
    """
    module_path, dot, name = path.rpartition(".")
    if not dot or not module_path or not name:
        raise exceptions.LoadFromPathError(f"{path} is not a valid path")

    try:
        module = importlib.import_module(module_path)
    except ImportError as exc:
        raise exceptions.LoadFromPathError(str(exc)) from exc
    try:
        loaded = getattr(module, name)
    except AttributeError as exc:
        raise exceptions.LoadFromPathError(str(exc)) from exc

    if allowed_type is not None and not isinstance(loaded, allowed_type):
        raise exceptions.LoadFromPathError(
            f"Object at {path} is not of type {allowed_type.__name__} "
            f"but {type(loaded).__name__}"
        )
    return cast("T", loaded)


def import_all(import_paths: Iterable[str]) -> None:
    """
    Import modules for what their import does, here: registering tasks.

    Parameters
    ----------
    import_paths
        The modules' dotted paths.
    """
    for import_path in import_paths:
        logger.debug(
            "Importing module %s",
            import_path,
            extra={"action": "import_module", "module_name": import_path},
        )
        importlib.import_module(import_path)


def get_full_path(obj: Any) -> str:
    """
    Name an object by its module and its own ``__name__``.

    Parameters
    ----------
    obj
        A function, or whatever else has both.

    Raises
    ------
    exceptions.FunctionPathError
        It has no name of its own, like a partial or an instance.
    """
    try:
        return f"{obj.__module__}.{obj.__name__}"
    except AttributeError as exc:
        raise exceptions.FunctionPathError(
            f"Couldn't extract a relevant task name for {obj}. "
            "Try passing `name=` to the task decorator"
        ) from exc


def caller_module_name(prefix: str = "procrastinate") -> str:
    """
    Find the first module up the stack that is not one of ours.

    Parameters
    ----------
    prefix
        The package whose modules are ours.

    Raises
    ------
    exceptions.CallerModuleUnknown
        Every frame is ours, or has no module.
    """
    own = inspect.currentframe()
    frame = own.f_back if own is not None else None
    try:
        while frame is not None:
            name = frame.f_globals.get("__name__")
            if isinstance(name, str) and not _is_inside(name, prefix):
                return name
            frame = frame.f_back
    finally:
        del own, frame  # A frame that refers to itself keeps all its locals alive.
    raise exceptions.CallerModuleUnknown


def _is_inside(module: str, package: str) -> bool:
    return not package or module == package or module.startswith(f"{package}.")


def main_module_path() -> str:
    """Name the program that is running, for messages about its ``__main__`` module."""
    return sys.argv[0] if sys.argv else ""


def utcnow() -> datetime.datetime:
    """Return the present time, with the timezone UTC."""
    return datetime.datetime.now(tz=datetime.UTC)


def utcmax() -> datetime.datetime:
    """Return the last moment that Python can write down, with the timezone UTC."""
    return datetime.datetime.max.replace(tzinfo=datetime.UTC)


def parse_datetime(raw: str) -> datetime.datetime:
    """
    Read a date, with or without a time. Without an offset it is in UTC.

    Parameters
    ----------
    raw
        The date as text: ISO 8601, or what people write.

    Raises
    ------
    ValueError
        No date could be made of it.
    """
    try:
        parsed = datetime.datetime.fromisoformat(raw)
    except ValueError:
        # All that people write and ISO 8601 does not know. Imported here: only the command
        # line comes this way.
        from dateutil import parser  # noqa: PLC0415

        parsed = parser.parse(raw)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.UTC)
    return parsed


def datetime_from_timedelta_params(params: TimeDeltaParams) -> datetime.datetime:
    """
    Return the moment that is so far from now, given the arguments of a timedelta.

    Parameters
    ----------
    params
        The arguments.
    """
    return utcnow() + datetime.timedelta(**params)


def add_namespace(name: str, namespace: str) -> str:
    """
    Prefix a task's name with the namespace of a blueprint.

    Parameters
    ----------
    name
        The task's name.
    namespace
        The namespace, without the colon.
    """
    return f"{namespace}:{name}"


def queues_display(queues: Iterable[str] | None) -> str:
    """
    Say which queues a worker serves: ``all queues`` or ``queues a, b``.

    Parameters
    ----------
    queues
        Their names; None, or no name, for all.
    """
    names = list(queues or ())
    return f"queues {', '.join(names)}" if names else "all queues"


def causes(exc: BaseException | None) -> Generator[BaseException, None, None]:
    """
    Yield an exception, then what it was raised from or in, and so on.

    Parameters
    ----------
    exc
        The exception to begin with.
    """
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def async_to_sync(awaitable: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
    """
    Call an async function from sync code and wait for its result.

    It runs on the event loop that this thread works for, if there is one (a sync task, or
    anything else called through `sync_to_async`), or else on a loop of its own.

    Parameters
    ----------
    awaitable
        The function.
    *args
        Its positional arguments.
    **kwargs
        Its keyword arguments.

    Raises
    ------
    RuntimeError
        A loop is running in this very thread, and would wait for itself.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError(_SYNC_CALL_IN_LOOP)

    async def call() -> T:
        return await awaitable(*args, **kwargs)

    loop = _home_loop.get()
    if loop is not None and loop.is_running():
        return asyncio.run_coroutine_threadsafe(call(), loop).result()
    return asyncio.run(call())


async def sync_to_async(func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """
    Call a sync function in a thread of the loop's default executor.

    Parameters
    ----------
    func
        The function.
    *args
        Its positional arguments.
    **kwargs
        Its keyword arguments.
    """
    return await call_in_executor(None, func, *args, **kwargs)


async def call_in_executor(
    executor: Executor | None, func: Callable[..., T], *args: Any, **kwargs: Any
) -> T:
    """
    Call a sync function in a thread, with this task's context variables.

    Sync calls of ours made there come back to this loop.

    Parameters
    ----------
    executor
        Whose thread it is; None for the loop's default executor.
    func
        The function.
    *args
        Its positional arguments.
    **kwargs
        Its keyword arguments.
    """
    loop = asyncio.get_running_loop()
    call = for_thread(loop, functools.partial(func, *args, **kwargs))
    return await loop.run_in_executor(executor, call)


def for_thread(loop: asyncio.AbstractEventLoop, func: Callable[[], T]) -> Callable[[], T]:
    """
    Return a call to be made in a thread, with the context variables of here.

    Sync calls of ours made there come back to the loop.
    """
    context = contextvars.copy_context()
    context.run(_home_loop.set, loop)
    call: Any = context.run  # whose type does not say that it passes arguments on
    return functools.partial(call, _call_in_thread, func)


def _call_in_thread(func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return func(*args, **kwargs)
    except StopIteration as exc:
        # A future can't carry it: whoever awaits would wait for ever.
        raise RuntimeError("The function raised StopIteration") from exc


class AwaitableContext(Generic[U]):
    """
    What can be awaited, to open, or used in ``async with``, to open and close again.

    Parameters
    ----------
    open_coro
        Called without arguments to open.
    close_coro
        Called without arguments when the block is left.
    return_value
        What ``await`` returns and ``as`` binds.
    """

    def __init__(
        self,
        open_coro: Callable[[], Awaitable[Any]],
        close_coro: Callable[[], Awaitable[Any]],
        return_value: U,
    ) -> None:
        self._open_coro = open_coro
        self._close_coro = close_coro
        self._return_value = return_value

    def __await__(self) -> Generator[Any, None, U]:
        """Open, and return the value."""
        return self._open().__await__()

    async def _open(self) -> U:
        await self._open_coro()
        return self._return_value

    async def __aenter__(self) -> U:
        """Open, and return the value."""
        return await self._open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self._close_coro()


class MovedElsewhere:
    """
    Stand in for a class that has moved, and say where when it is used.

    Parameters
    ----------
    name
        The class's own name.
    new_location
        The dotted path that it is imported from now.
    """

    def __init__(self, name: str, new_location: str) -> None:
        self.name = name
        self.new_location = new_location

    def _raise(self) -> NoReturn:
        raise exceptions.MovedElsewhere(
            f"procrastinate.{self.name} has been moved to {self.new_location}"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `exceptions.MovedElsewhere`."""
        self._raise()

    def __getattr__(self, item: str) -> NoReturn:
        """Raise `exceptions.MovedElsewhere`."""
        self._raise()
