"""Calls that need no schema: whether there is one, and what a server's process does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from procrastinate.rpc import decode
from procrastinate.rpc.call import Call, Function

if TYPE_CHECKING:
    from procrastinate.rpc.call import Rows

_HAS_JOBS_TABLE = Function(
    name="check_connection",
    body="select to_regclass('procrastinate_jobs') is not null",
)


def has_jobs_table() -> Call[bool]:
    """Return whether ``procrastinate_jobs`` is found on the search_path."""
    return Call(function=_HAS_JOBS_TABLE, decode=decode.one)


_LOOK_AT_PROCESS = Function(
    name="look_at_process",
    arguments={"process": "integer"},
    columns=("asking", "is_there", "state"),
    body="""
        select pg_backend_pid() as asking, a.pid is not null as is_there, a.state
        from (values (%(process)s::integer)) as asked (process)
        left join pg_stat_activity as a on a.pid = asked.process
    """,
)


def is_process_at_rest(process: int, *, asking: int) -> Call[bool]:
    """
    Return whether a server's process is gone, or waits for its client to say something.

    Parameters
    ----------
    process
        What the client was told that its process is.
    asking
        The same for the connection that asks. It says something else of itself behind a pooler,
        which makes the numbers up: then nothing is known, and the answer is False.
    """

    def decode_state(rows: Rows) -> bool:
        ((own, is_there, state),) = rows
        if own != asking:
            return False
        # There is no state where one's rights are too few, or track_activities is off.
        return not is_there or (state is not None and state.startswith("idle"))

    return Call(function=_LOOK_AT_PROCESS, args={"process": process}, decode=decode_state)
