"""Calls that need no schema: they say whether there is one."""

from __future__ import annotations

from procrastinate.rpc import decode
from procrastinate.rpc.call import Call, Function

_HAS_JOBS_TABLE = Function(
    name="check_connection",
    body="select to_regclass('procrastinate_jobs') is not null",
)


def has_jobs_table() -> Call[bool]:
    """Return whether ``procrastinate_jobs`` is found on the search_path."""
    return Call(function=_HAS_JOBS_TABLE, decode=decode.one)
