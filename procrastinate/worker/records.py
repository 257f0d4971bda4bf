"""What is kept of a run: the value that the task returned, or the error that it raised."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions
from procrastinate.rpc import call, values

if TYPE_CHECKING:
    from procrastinate import jobs

#: Bytes of a traceback, or of a message, that are kept: the first half and the last.
MOST_OF_ERROR = 65_536

#: Characters of a result that are sent at all. What the database accepts is a setting there,
#: and far less; but a statement that it can't even read would take the others down with it.
MOST_OF_RESULT = 64 * 1024 * 1024

_CUT = "\n[… cut …]\n"

# An escape of its own, not the end of one of a backslash.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")


def error_of(exc: BaseException, attempt: int) -> values.ErrorRecord:
    """
    Return what is kept of an error.

    Parameters
    ----------
    exc
        What the run raised.
    attempt
        Which run it was, from 1.
    """
    cls = type(exc)
    try:
        message = str(exc)
    except Exception as again:  # The user's own __str__.
        message = f"<{cls.__qualname__} without a message: str() raised {again!r}>"
    return values.ErrorRecord(
        cls=f"{cls.__module__}.{cls.__qualname__}",
        message=_storable(message),
        traceback=_storable(_traceback_of(exc)),
        attempt=attempt,
    )


def _traceback_of(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(exc))
    except Exception as again:  # The user's own notes, or the text of a cause.
        return f"<the traceback could not be written: {again!r}>"


def _storable(text: str) -> str:
    """Return text that PostgreSQL accepts in JSON, and that is not too long."""
    encoded = text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace")
    if len(encoded) > MOST_OF_ERROR:
        half = (MOST_OF_ERROR - len(_CUT.encode())) // 2
        head, tail = encoded[:half], encoded[-half:]
        return f"{head.decode('utf-8', 'ignore')}{_CUT}{tail.decode('utf-8', 'ignore')}"
    return encoded.decode()


def result_of(job: jobs.Job, value: Any, json_dumps: call.Dumps | None) -> call.Written:
    """
    Write what a task returned as JSON that the database can read.

    Parameters
    ----------
    job
        Whose result it is, for the words of an error.
    value
        What the task returned.
    json_dumps
        How JSON is written, instead of with :func:`json.dumps`.

    Raises
    ------
    TypeError
        JSON has no word for it.
    ValueError
        PostgreSQL's JSON has no place for it: a NUL character, NaN, a lone surrogate.
    exceptions.ResultTooLarge
        It is longer than anything that the database accepts.
    """
    try:
        written = _written(value, json_dumps)
        _check(written, is_ours=json_dumps is None)
    except (TypeError, ValueError, RecursionError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else ValueError
        raise kind(
            f"What job {job.log_string} returned can't be stored as JSON: {exc}. Return what "
            "JSON can hold, or don't store the result (store_result=False)"
        ) from exc
    if len(written) > MOST_OF_RESULT:
        raise exceptions.ResultTooLarge(
            f"What job {job.log_string} returned is {len(written)} characters of JSON: too "
            "much to be stored. Keep it elsewhere, and return where it is"
        )
    return call.Written(written)


def meta_of(job: jobs.Job, meta: Any, json_dumps: call.Dumps | None) -> call.Written:
    """
    Write the meta that a task tells as JSON that the database can read.

    Raises
    ------
    TypeError
        It is no mapping, or JSON has no word for what is in it.
    ValueError
        PostgreSQL's JSON has no place for it.
    """
    if not isinstance(meta, Mapping):
        raise TypeError(f"meta must be a mapping, not {meta!r}")
    try:
        written = _written({**meta}, json_dumps)
        _check(written, is_ours=json_dumps is None)
    except (TypeError, ValueError, RecursionError) as exc:
        kind = TypeError if isinstance(exc, TypeError) else ValueError
        raise kind(f"The meta of job {job.log_string} can't be stored: {exc}") from exc
    return call.Written(written)


def _written(value: Any, json_dumps: call.Dumps | None) -> str:
    if json_dumps is None:
        return json.dumps(value, allow_nan=False)
    return call.dumped(value, json_dumps)


def _check(written: str, *, is_ours: bool) -> None:
    """Refuse what the database would refuse, along with the whole statement."""
    if not is_ours:
        json.loads(written, parse_constant=_no_constant)
    if "\\u" in written:
        if _NUL.search(written):
            raise ValueError("it contains a NUL character, which PostgreSQL can't store")
        if _SURROGATE.search(written):
            # Half of a pair has no encoding; a whole one has.
            json.dumps(json.loads(written), ensure_ascii=False).encode()
    elif not written.isascii():
        written.encode()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")
