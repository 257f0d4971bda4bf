"""
What the database refuses, in its words.

The causes stand in for a driver's errors: they have the text that PostgreSQL would say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from procrastinate import exceptions, jobs, types
from procrastinate.rpc import errors

if TYPE_CHECKING:
    import datetime

    from procrastinate.rpc.call import Function

QUEUEING_LOCK_CONSTRAINT = "procrastinate_jobs_queueing_lock_idx_v1"
KEY_CONSTRAINT = "procrastinate_keys_pkey"
MAX_NAME = 128  # characters: varchar(128)
END_STATUSES = ("succeeded", "failed", "aborted")

_STATUSES = {status.value for status in jobs.Status}
_BITS = {"integer": 31, "bigint": 63}


class RefusalError(Exception):
    """What PostgreSQL would have said."""


def refuse(message: str) -> NoReturn:
    """Refuse as a function does that 3.x calls: the text is in the cause."""
    said = message if errors.names_its_job(message) else None
    raise exceptions.ConnectorException(said) from RefusalError(message)


def refuse_taken(queueing_lock: str) -> NoReturn:
    """Refuse a second waiting job of a queueing lock."""
    raise exceptions.UniqueViolation(
        constraint_name=QUEUEING_LOCK_CONSTRAINT, queueing_lock=queueing_lock
    ) from RefusalError(
        f'duplicate key value violates unique constraint "{QUEUEING_LOCK_CONSTRAINT}"\n'
        f"DETAIL:  Key (queueing_lock)=({queueing_lock}) already exists."
    )


def refuse_key(key: str) -> NoReturn:
    """Refuse a second job of a key that waits or runs."""
    raise exceptions.UniqueViolation(
        constraint_name=KEY_CONSTRAINT, queueing_lock=None, key=key
    ) from RefusalError(
        f'duplicate key value violates unique constraint "{KEY_CONSTRAINT}"\n'
        f"DETAIL:  Key (key)=({key}) already exists."
    )


def check_values(function: Function, args: Mapping[str, Any]) -> None:
    """
    Refuse what a SQL type can't hold, as the cast of the argument does.

    What a job's arguments hold is nobody's business here: any object passes.
    """
    for name, sql_type in function.arguments.items():
        value = args[name]
        element_type = sql_type.removesuffix("[]")
        for item in (value,) if value is None or element_type is sql_type else value:
            if isinstance(item, types.JobToDefer):
                for text in (item.queue_name, item.task_name, item.lock, item.queueing_lock):
                    _check_value("text", text)
                _check_value("integer", item.priority)
            else:
                _check_value(element_type, item)


def _check_value(sql_type: str, value: Any) -> None:
    if value is None:
        return
    if sql_type in _BITS:
        bits = _BITS[sql_type]
        if not -(2**bits) <= value < 2**bits:
            refuse(f'value "{value}" is out of range for type {sql_type}')
    elif sql_type in ("text", "character varying"):
        if "\0" in value:
            refuse("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    elif sql_type == "procrastinate_job_status" and plain_status(value) not in _STATUSES:
        refuse(f'invalid input value for enum procrastinate_job_status: "{value}"')


def plain_status(status: str | jobs.Status) -> str:
    """Return a status as the database has it."""
    return status.value if isinstance(status, jobs.Status) else status


def check_text(value: str | None, what: str, *, required: bool = True) -> None:
    """Refuse a name that is missing, empty or too long."""
    if value is None:
        if required:
            raise exceptions.InvalidArgument(f"The {what} is null")
    elif value == "" and required:
        raise exceptions.InvalidArgument(f"The {what} is empty")
    elif len(value) > MAX_NAME:
        raise exceptions.InvalidArgument(
            f"The {what} has {len(value)} characters: at most {MAX_NAME} are allowed"
        )


def check_column(value: str | None) -> None:
    """Refuse a name that its column can't hold, where no function looked at it before."""
    if value is not None and len(value) > MAX_NAME:
        refuse(f"value too long for type character varying({MAX_NAME})")


def check_args(args: Any) -> None:
    """Refuse arguments that have no names."""
    if not isinstance(args, Mapping):
        raise exceptions.InvalidArgument(
            f"The arguments of a job are a JSON object, not {kind_of(args)}"
        )


def kind_of(value: Any) -> str:
    """Return what JSON calls a value that is no object."""
    kinds: dict[type, str] = {
        type(None): "null",
        bool: "boolean",
        int: "number",
        float: "number",
        str: "string",
    }
    return next((kind for known, kind in kinds.items() if isinstance(value, known)), "array")


def check_report(worker_id: int | None, statuses: Sequence[str] = ()) -> None:
    """Refuse a report of ended jobs that can't be meant."""
    if worker_id is None:
        raise exceptions.InvalidArgument("The worker's id is null")
    if any(status not in END_STATUSES for status in statuses):
        raise exceptions.InvalidArgument(
            'End status should be either "succeeded", "failed" or "aborted"'
        )


def check_worker(workers: Mapping[int, Any], worker_id: int | None) -> None:
    """Refuse a worker that is not registered."""
    if worker_id not in workers:
        named = "null" if worker_id is None else worker_id
        raise exceptions.WorkerNotRegistered(f"Worker {named} is not registered")


def check_limit(limit: int | None) -> None:
    """Refuse a number of jobs that nobody can fetch."""
    if limit is None or not 0 <= limit <= 10_000:
        raise exceptions.InvalidArgument(
            f"The number of jobs to fetch is {'null' if limit is None else limit}"
        )


def check_job(known: Mapping[int, Any], job_id: int | None) -> None:
    """Refuse the id of no job."""
    if job_id not in known:
        raise exceptions.JobNotFound(f"There is no job {'null' if job_id is None else job_id}")


def interval_text(interval: datetime.timedelta | None) -> str:
    """Write an interval as PostgreSQL does."""
    if interval is None:
        return "null"
    microseconds = round(interval.total_seconds() * 1_000_000)
    sign = "-" if microseconds < 0 else ""
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{sign}{hours:02}:{minutes:02}:{seconds:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


def refuse_sql() -> NoReturn:
    """Refuse a query that is none of the published ones."""
    raise exceptions.ConnectorException(
        "InMemoryConnector understands no SQL: only the queries of procrastinate.sql.queries. "
        "To install or migrate a schema, or to run SQL of your own, use a PostgreSQL connector."
    )
