"""
What the database's error codes are in Python: the one table, SQLSTATE to class.

Connectors translate their driver's errors with :func:`exception_for` and raise what it returns
``from`` the driver's error. ``sql/sqlstates.md`` says when each code of ours is raised.
"""

from __future__ import annotations

import re
from typing import Any

from procrastinate import disclosure, exceptions

UNIQUE_VIOLATION = "23505"
TOO_LONG = "54000"  # program_limit_exceeded

READ_ONLY = "25006"  # a standby, most often

BY_SQLSTATE: dict[str, type[exceptions.ConnectorException]] = {
    "PQ001": exceptions.IllegalTransition,
    "PQ002": exceptions.JobNotFound,
    "PQ003": exceptions.InvalidArgument,
    "PQ004": exceptions.WorkerNotRegistered,
    "PQ005": exceptions.WrongIsolation,
    "PQ006": exceptions.JobIdChange,
    "PQ007": exceptions.LocksBusy,
    "PQ008": exceptions.SchemaMismatch,
    "57014": exceptions.DatabaseUnavailable,  # query_canceled: a statement timeout, most often
    "57P01": exceptions.DatabaseUnavailable,  # admin_shutdown
    "57P02": exceptions.DatabaseUnavailable,  # crash_shutdown
    "57P03": exceptions.DatabaseUnavailable,  # cannot_connect_now
    "57P05": exceptions.DatabaseUnavailable,  # idle_session_timeout
    "25P03": exceptions.DatabaseUnavailable,  # idle_in_transaction_session_timeout
    "55P03": exceptions.DatabaseUnavailable,  # lock_not_available
    READ_ONLY: exceptions.DatabaseUnavailable,  # read_only_sql_transaction: no primary any more
}

BY_SQLSTATE_CLASS: dict[str, type[exceptions.ConnectorException]] = {
    "08": exceptions.DatabaseUnavailable,  # connection exceptions
    "40": exceptions.DatabaseUnavailable,  # rolled back: deadlock, serialization failure
    "53": exceptions.DatabaseUnavailable,  # out of connections, memory, disk
    "58": exceptions.DatabaseUnavailable,  # the server's own system failed it
}

#: The whole statement was undone because of others: doing it again at once is right.
TO_BE_REPEATED = frozenset({"40001", "40P01"})

# A function, a table, a column, a type or a schema is not there.
_MISSING = frozenset({"42883", "42P01", "42703", "42704", "3F000"})

#: How often a statement is sent in all while others get in its way.
MAX_TRIES = 4


def is_to_be_repeated(exc: exceptions.ConnectorException) -> bool:
    """Whether a connector's error says that its statement was undone because of others."""
    cause: Any = exc.__cause__
    original = getattr(cause, "orig", None) or cause  # SQLAlchemy wraps its driver's errors
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return code in TO_BE_REPEATED


# What the functions of 3.x's wire raise has no code of its own, yet names the job.
RAISED = "P0001"
_OF_JOB = re.compile(r"\(job id: \d+\)$")

# not_null_violation, check_violation: "Failing row contains (...)".
_SHOW_THE_ROW = frozenset({"23502", "23514"})

# The sentence around it is in the server's language, but the column's name is not.
_TAKEN = re.compile(r"\((queueing_lock|key)\)=\((.*)\)", re.DOTALL)


def names_its_job(message: str) -> bool:
    """Whether a message is one of the old wire's own: those end with the job."""
    return _OF_JOB.search(message) is not None


def keep_data(exc: BaseException, *, sqlstate: str | None, message: str | None) -> None:
    """
    Take the data out of what a driver's error says, as long as nobody asked to see it.

    Of data that can't be read or stored PostgreSQL shows a piece, which may be an argument of a
    job: ``JSON data, line 1: {"card": "4000...``. What remains is the primary message.
    """
    shows_data = (sqlstate or "")[:2] == "22" or sqlstate in _SHOW_THE_ROW
    if shows_data and not disclosure.args_are_shown():
        exc.args = (message or "Data that can't be stored",)


def exception_for(
    *,
    sqlstate: str | None,
    message: str | None,
    detail: str | None = None,
    constraint_name: str | None = None,
    connection_lost: bool = False,
) -> exceptions.ConnectorException:
    """
    Return what an error of the database is in Python.

    Parameters
    ----------
    sqlstate
        The error's code, if the server raised it.
    message
        The primary message; shown for the codes of ours.
    detail
        The DETAIL; for a queueing lock or a key that is taken it has its value.
    constraint_name
        For a unique violation: whose.
    connection_lost
        The driver has no code, but knows that it has no connection.
    """
    if sqlstate == UNIQUE_VIOLATION:
        found = _TAKEN.search(detail or "")
        taken = {found[1]: found[2]} if found else {}
        return exceptions.UniqueViolation(
            constraint_name=constraint_name,
            queueing_lock=taken.get("queueing_lock"),
            key=taken.get("key"),
        )
    if sqlstate is None:
        return (
            exceptions.DatabaseUnavailable()
            if connection_lost
            else exceptions.ConnectorException()
        )
    # The sentence is in the server's language, but the name in it is ours.
    if sqlstate in _MISSING and "procrastinate_" in (message or ""):
        return exceptions.SchemaMismatch(
            "The database does not have the schema of this version, or its search_path does not "
            f"lead there ({message}). `procrastinate schema --apply` installs it, "
            "`procrastinate schema --migrate` brings it up to date"
        )
    if sqlstate == TOO_LONG:
        return exceptions.InvalidArgument(
            "A lock, queueing lock, key or group is too long for an index: at most some 2700 bytes "
            f"once compressed ({message})"
        )
    if sqlstate == READ_ONLY:
        return exceptions.DatabaseUnavailable(
            "The server takes no writes: it is a standby, or default_transaction_read_only is on "
            f"({message}). A connection string with all servers and "
            "target_session_attrs=read-write finds the primary"
        )
    by_class = BY_SQLSTATE_CLASS.get(sqlstate[:2], exceptions.ConnectorException)
    # What PostgreSQL says itself stays in the cause: 3.x showed "Database error." and no more.
    ours = sqlstate.startswith("PQ") or (sqlstate == RAISED and names_its_job(message or ""))
    return BY_SQLSTATE.get(sqlstate, by_class)(message if ours else None)
