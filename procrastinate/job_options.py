"""The options of jobs as users give them: read, checked, and laid over a task's own."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict

import attrs

from procrastinate import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Seconds: TypeAlias = float | datetime.timedelta
"""A number of seconds, or a timedelta."""

#: The ttl of a result that is not stored.
NOT_STORED = -1.0


class RunOptions(TypedDict):
    """The options of a job's run, of `Task.configure` and, as defaults, of `App.task`."""

    timeout: NotRequired[Seconds | None]
    heartbeat: NotRequired[Seconds | None]
    ttl: NotRequired[Seconds | None]
    store_result: NotRequired[bool | None]
    keep_result: NotRequired[bool | None]
    max_attempts: NotRequired[int | None]
    retry_delay: NotRequired[Seconds | None]
    retry_backoff: NotRequired[float | None]
    retry_delay_cap: NotRequired[Seconds | None]
    retry_jitter: NotRequired[bool | None]


class IdentityOptions(TypedDict):
    """The options that tell one job from others, of `Task.configure` alone."""

    key: NotRequired[str | None]
    group_key: NotRequired[str | None]


def seconds_of(name: str, value: Any) -> float:
    """
    Read a duration.

    Raises
    ------
    TypeError
        It is neither a number nor a timedelta.
    ValueError
        It is no finite number.
    """
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be seconds or a timedelta, not {value!r}")
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(f"{name} must be a finite number of seconds, not {value!r}")
    return seconds


def _positive(name: str, value: Any) -> float:
    seconds = seconds_of(name, value)
    if seconds <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")
    return seconds


def _not_negative(name: str, value: Any) -> float:
    seconds = seconds_of(name, value)
    if seconds < 0:
        raise ValueError(f"{name} must be 0 seconds or more, not {value!r}")
    return seconds


def _ttl(name: str, value: Any) -> float:
    seconds = seconds_of(name, value)
    return NOT_STORED if seconds < 0 else seconds


def _attempts(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} counts all runs, the first one too: at least 1, not {value}")
    return value


def _factor(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not math.isfinite(value) or value < 1:
        raise ValueError(f"{name} must be a factor of at least 1, not {value!r}")
    return float(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    if not value:
        raise ValueError(f"{name} must not be empty; None means that there is none")
    return value


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "timeout": _positive,
    "heartbeat": _positive,
    "ttl": _ttl,
    "keep_result": _flag,
    "max_attempts": _attempts,
    "retry_delay": _not_negative,
    "retry_backoff": _factor,
    "retry_delay_cap": _not_negative,
    "retry_jitter": _flag,
    "key": _name,
    "group_key": _name,
}

_NAMES = frozenset(_READERS) | {"store_result"}

_OF_TASKS = RunOptions.__annotations__.keys()

_OF_RETRIES = ("retry_delay", "retry_backoff", "retry_delay_cap", "retry_jitter")


def read(
    options: Mapping[str, Any], defaults: jobs.JobOptions | None = None
) -> jobs.JobOptions | None:
    """
    Read the options of a job; None if it has none.

    Parameters
    ----------
    options
        What was given, by name. None asks for the default; other names are passed over.
    defaults
        Those of the task.

    Raises
    ------
    TypeError
        An option is of another type than its own.
    ValueError
        An option is out of bounds, or contradicts another.
    """
    if _NAMES.isdisjoint(options):  # most defers: this is on their way
        return defaults
    changes = {
        name: read_one(name, options[name])
        for name, read_one in _READERS.items()
        if options.get(name) is not None
    }
    _read_store_result(options.get("store_result"), changes, defaults)
    if not changes:
        return defaults
    merged = attrs.evolve(defaults or jobs.JobOptions(), **changes)
    _check(merged)
    return None if merged == jobs.JobOptions() else merged


def of_task(options: RunOptions) -> jobs.JobOptions | None:
    """
    Read the options that a task was declared with; None if it has none.

    Raises
    ------
    TypeError
        There is no such option, or it is of another type than its own.
    ValueError
        An option is out of bounds, or contradicts another.
    """
    for name in options:
        if name not in _OF_TASKS:
            raise TypeError(f"task() got an unexpected keyword argument {name!r}")
    return read(options)


def _read_store_result(
    store_result: Any, changes: dict[str, Any], defaults: jobs.JobOptions | None
) -> None:
    if store_result is None:
        return
    stored = _flag("store_result", store_result)
    ttl: float | None = changes.get("ttl")
    if ttl is not None and (ttl >= 0) != stored:
        raise ValueError(
            f"store_result={stored} contradicts ttl={ttl:g}: a ttl of 0 or more says that the "
            "result is stored (0: for ever), a negative one that it is not"
        )
    if not stored:
        changes["ttl"] = None
    elif ttl is None and not stores(defaults):
        changes["ttl"] = jobs.DEFAULT_TTL


def _check(options: jobs.JobOptions) -> None:
    if options.max_attempts is None:
        for name in _OF_RETRIES:
            if getattr(options, name) is not None:
                raise ValueError(
                    f"{name} says how a job is tried again, and nothing says how often: "
                    "give max_attempts, too"
                )
    if options.keep_result and not stores(options):
        raise ValueError("keep_result needs a result that is stored: give ttl or store_result")


def check_lock(lock: str | None, options: jobs.JobOptions | None) -> None:
    """
    Refuse a lock beside a group: a group is a lock of the database's own making.

    Raises
    ------
    ValueError
        A job has both.
    """
    if lock is not None and options is not None and options.group_key is not None:
        raise ValueError(
            f"A job can't have both a lock ({lock!r}) and a group_key "
            f"({options.group_key!r}): the group takes the lock's place"
        )


def stores(options: jobs.JobOptions | None) -> bool:
    """Whether the result of a job is stored."""
    return options is not None and options.stores_result
