"""
A call of one SQL function, as a value.

Nothing here talks to a database: a connector sends the call, sync or async, and hands the rows
to its ``decode``. Arguments travel by name and as text, each cast to its SQL type by the
statement: so every driver sends the same, and PostgreSQL prepares each statement once, whatever
the values are.
"""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import attrs

if TYPE_CHECKING:
    import datetime

    from procrastinate import types

T_co = TypeVar("T_co", covariant=True)

Row: TypeAlias = Sequence[Any]
Rows: TypeAlias = Sequence[Row]
Dumps: TypeAlias = Callable[[Any], Any]
Text: TypeAlias = "str | None"


class Written(str):
    """JSON that was written before, for a call of many that is made of many calls of one."""

    __slots__ = ()


def dumped(value: Any, json_dumps: Dumps | None) -> str:
    """
    Write JSON.

    Parameters
    ----------
    value
        What JSON can say, or what was :class:`Written` before.
    json_dumps
        How to write it, instead of with :func:`json.dumps`.
    """
    if isinstance(value, Written):
        return value
    written = json_dumps(value) if json_dumps else json.dumps(value)
    return written.decode() if isinstance(written, bytes) else str(written)


def _text(value: Any, _: Dumps | None) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    return str(value)


def _boolean(value: bool, _: Dumps | None) -> str:
    return "t" if value else "f"


def _moment(value: datetime.datetime, _: Dumps | None) -> str:
    return value.isoformat()


def _interval(value: datetime.timedelta, _: Dumps | None) -> str:
    # Never as days: a day is not 24 hours for PostgreSQL when the clocks change.
    return f"{value.total_seconds():.6f} seconds"


def _job_to_defer(job: types.JobToDefer, json_dumps: Dumps | None) -> str:
    fields = (
        *(None if value is None else str(value) for value in job[:5]),
        dumped(job.args, json_dumps),
        None if job.scheduled_at is None else _moment(job.scheduled_at, None),
    )
    return "(" + ",".join("" if field is None else _quoted(field) for field in fields) + ")"


_Encode: TypeAlias = Callable[[Any, "Dumps | None"], str]

_ENCODERS: dict[str, _Encode] = {
    "boolean": _boolean,
    "timestamp with time zone": _moment,
    "interval": _interval,
    "jsonb": dumped,
    "procrastinate_job_to_defer_v1": _job_to_defer,
}

# An element of an array of these needs no quotes, whatever its value.
_BARE = {"bigint", "integer", "boolean", "double precision"}

# Columns of a call for many in which a few values come again and again: a queue, a priority.
_REPETITIVE = {"text", "timestamp with time zone", "procrastinate_job_status"}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _whole_numbers(values: Sequence[int | None], _: Dumps | None) -> str:
    return "{" + ",".join(map(str, values)).replace("None", "NULL") + "}"


@functools.cache
def _encoder(sql_type: str) -> _Encode:
    """Find how values of a type are written, none of them null."""
    element_type = sql_type.removesuffix("[]")
    encode = _ENCODERS.get(element_type, _text)
    if element_type == sql_type:
        return encode
    if element_type in {"bigint", "integer"}:
        return _whole_numbers
    is_bare = element_type in _BARE
    is_repetitive = element_type in _REPETITIVE

    def element(value: Any, json_dumps: Dumps | None) -> str:
        if value is None:
            return "NULL"
        text = encode(value, json_dumps)
        return text if is_bare else _quoted(text)

    def array(values: Sequence[Any], json_dumps: Dumps | None) -> str:
        if len(values) == 1:
            return "{" + element(values[0], json_dumps) + "}"
        if is_repetitive:
            written = {value: element(value, json_dumps) for value in set(values)}
            elements = [written[value] for value in values]
        else:
            elements = [element(value, json_dumps) for value in values]
        return "{" + ",".join(elements) + "}"

    return array


def encode_argument(sql_type: str, value: Any, json_dumps: Dumps | None = None) -> Text:
    """
    Write an argument as PostgreSQL reads it.

    Parameters
    ----------
    sql_type
        The type's name as ``format_type`` writes it; ``[]`` at its end makes it an array.
    value
        None is null, also inside of an array.
    json_dumps
        How ``jsonb`` is written, instead of with :func:`json.dumps`.
    """
    return None if value is None else _encoder(sql_type)(value, json_dumps)


@attrs.frozen(kw_only=True, slots=False)
class Function:
    """
    What is the same for every call of a SQL function.

    Parameters
    ----------
    name
        The function's name, or that of a query that is no function.
    arguments
        The SQL type of each argument, in order.
    columns
        The columns that ``decode`` gets, in order; empty when there is only the result itself.
    body
        For a query that is no function: its text, with ``%(name)s`` for the arguments.
    """

    name: str
    arguments: Mapping[str, str] = attrs.field(factory=dict[str, str])
    columns: tuple[str, ...] = ()
    body: str | None = None

    @functools.cached_property
    def text(self) -> str:
        """The statement, with ``%(name)s`` for each argument."""
        if self.body is not None:
            return self.body
        arguments = ", ".join(
            f"{name} => %({name})s::{sql_type}" for name, sql_type in self.arguments.items()
        )
        columns = ", ".join(self.columns) if self.columns else "*"
        return f"select {columns} from {self.name}({arguments})"  # noqa: S608 (our own names)

    @functools.cached_property
    def numbered_text(self) -> str:
        """The statement as the server reads it, with ``$1`` for the first argument."""
        return self.text % {
            name: f"${number}" for number, name in enumerate(self.arguments, start=1)
        }

    @functools.cached_property
    def encoders(self) -> tuple[tuple[str, _Encode], ...]:
        """How each argument is written, by its name."""
        return tuple((name, _encoder(sql_type)) for name, sql_type in self.arguments.items())


@attrs.frozen(kw_only=True)
class Call(Generic[T_co]):
    """
    One call: a value that a connector sends, and that knows how to read the answer.

    Parameters
    ----------
    function
        What is called.
    args
        A value for each of its arguments, by name, as Python has them.
    decode
        Makes the result of the rows. It raises :class:`exceptions.NoResult` if it needs a row
        that is not there.
    """

    function: Function
    args: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    decode: Callable[[Rows], T_co]

    def encode(self, json_dumps: Dumps | None = None) -> dict[str, Text]:
        """Return the arguments as PostgreSQL reads them, by name."""
        args = self.args
        return {
            name: None if (value := args[name]) is None else encode(value, json_dumps)
            for name, encode in self.function.encoders
        }
