"""The options of jobs: which can be meant, and what is computed of them."""

from __future__ import annotations

import datetime
import decimal
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions, jobs
from procrastinate.connectors.memory import refusals

if TYPE_CHECKING:
    from procrastinate.connectors.memory.store import JobRow

LONGEST = 1e10  # seconds: some 300 years

#: The kind of each option, and its bounds: of a number the value, of a string the length.
_KINDS: dict[str, tuple[str, float, float]] = {
    "timeout": ("number", 0.001, LONGEST),
    "heartbeat": ("number", 0.001, LONGEST),
    "ttl": ("number", -LONGEST, LONGEST),
    "max_attempts": ("number", 1, 2**31 - 1),
    "retry_delay": ("number", 0, LONGEST),
    "retry_backoff": ("number", 0, 1e6),
    "retry_delay_cap": ("number", 0, LONGEST),
    "retry_jitter": ("boolean", 0, 1),
    "keep_result": ("boolean", 0, 1),
    "key": ("string", 1, 500),
    "group_key": ("string", 1, 500),
    "meta": ("object", 0, 0),
}

#: Options that are times: the front door takes intervals.
SECONDS = ("timeout", "heartbeat", "ttl", "retry_delay", "retry_delay_cap")


def with_options(rows: Sequence[JobRow], all_options: Sequence[Any]) -> list[JobRow]:
    """Return rows of new jobs with their options, and with the locks of their groups."""
    for options in all_options:
        _check(options)
    found = [None if not options else _read(options) for options in all_options]
    for row, options in zip(rows, found, strict=True):
        if options is not None and options.group_key is not None and row["lock"] is not None:
            raise exceptions.InvalidArgument("A job has a lock and a group")
    return [
        row if options is None else _with(row, options)
        for row, options in zip(rows, found, strict=True)
    ]


def _with(row: JobRow, options: jobs.JobOptions) -> JobRow:
    lock = group_lock(row["queue_name"], options.group_key)
    return {**row, "lock": row["lock"] if lock is None else lock, "options": options}


def taken_from(values: dict[str, Any]) -> dict[str, Any]:
    """Take the options out of the arguments of the front door."""
    options = {name: values.pop(name) for name in _KINDS if name in values}
    for name in SECONDS:
        if options.get(name) is not None:
            # As PostgreSQL has the seconds of an interval.
            options[name] = decimal.Decimal(f"{options[name].total_seconds():.6f}")
    return {name: value for name, value in options.items() if value is not None}


def _check(options: Mapping[str, Any] | None) -> None:
    for name, value in (options or {}).items():
        kind, least, most = _KINDS[name]
        size = len(value) if kind == "string" and isinstance(value, str) else value
        if (
            not _is(kind, value)
            or (kind in ("number", "string") and not least <= size <= most)
            or (name == "max_attempts" and value % 1 != 0)
        ):
            raise exceptions.InvalidArgument(
                f'The option "{name}" of a job cannot be {_json_text(value)[:60]}'
            )
        if kind == "string" and "\0" in value:
            refusals.refuse("unsupported Unicode escape sequence")


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, tuple[type, ...]] = {
        "number": (int, float, decimal.Decimal),
        "string": (str,),
        "object": (Mapping,),
        "boolean": (),
    }
    return isinstance(value, kinds[kind])


def _json_text(value: Any) -> str:
    if isinstance(value, decimal.Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _read(options: Mapping[str, Any]) -> jobs.JobOptions:
    read = {**options}
    for name in SECONDS:
        if name in read:
            read[name] = round(float(read[name]), 6)  # an interval has microseconds
    return jobs.JobOptions.from_json(read)


def group_lock(queue_name: str | None, group_key: str | None) -> str | None:
    """Return the lock of the jobs of one queue and group; None without either."""
    if queue_name is None or group_key is None:
        return None
    return "group " + json.dumps([queue_name, group_key], ensure_ascii=False)


def after(now: datetime.datetime, seconds: float | None) -> datetime.datetime | None:
    """Return the moment that is so many seconds later; None if there is no such time."""
    if seconds is None:
        return None
    try:
        return now + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return None  # PostgreSQL has more years: it will not be met either


def retry_delay(options: jobs.JobOptions, attempts: int) -> float:
    """Return the seconds before the next run, of which so many have ended before this one."""
    delay = options.retry_delay or 0.0
    factor = 1.0 if options.retry_backoff is None else options.retry_backoff
    if attempts > 0 and factor == 0:
        delay = 0.0
    elif attempts > 0 and delay > 0:
        # By logarithms: a power may be too large for a number.
        delay = math.exp(min(math.log(delay) + attempts * math.log(factor), math.log(LONGEST)))
    if options.retry_delay_cap is not None:
        delay = min(delay, options.retry_delay_cap)
    delay = min(delay, LONGEST)
    return delay * random.random() if options.retry_jitter else delay  # noqa: S311 (no secret)
