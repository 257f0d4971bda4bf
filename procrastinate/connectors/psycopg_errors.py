"""psycopg's errors in our words."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg
import psycopg.conninfo
import psycopg_pool

from procrastinate import exceptions
from procrastinate.rpc import errors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from typing import Any


def translate(exc: psycopg.Error) -> exceptions.ConnectorException:
    """Return what an error of psycopg's is in our words."""
    errors.keep_data(exc, sqlstate=exc.sqlstate, message=exc.diag.message_primary)
    return errors.exception_for(
        sqlstate=exc.sqlstate,
        message=exc.diag.message_primary,
        detail=exc.diag.message_detail,
        constraint_name=exc.diag.constraint_name,
        # A pool that was closed stays closed; all else of this kind may heal.
        connection_lost=isinstance(exc, psycopg.OperationalError)
        and not isinstance(exc, psycopg_pool.PoolClosed),
    )


def raise_unless_repeated(exc: psycopg.Error, attempt: int) -> None:
    """Raise an error of an attempt as ours, unless others caused it and another one is due."""
    if exc.sqlstate not in errors.TO_BE_REPEATED or attempt >= errors.MAX_TRIES:
        raise translate(exc) from exc


@contextlib.contextmanager
def translated() -> Generator[None, None, None]:
    """Raise psycopg's errors as ours."""
    try:
        yield
    except psycopg.Error as exc:
        raise translate(exc) from exc


def check_conninfo(pool_args: Mapping[str, Any]) -> None:
    """
    Refuse a connection string that can't be read.

    libpq's own complaint quotes the string, password and all, and would end up in a log.
    """
    conninfo = pool_args.get("conninfo")
    if not isinstance(conninfo, str):
        return  # psycopg_pool also takes a function that makes one.
    try:
        psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        raise exceptions.ConnectorException(
            "The connection string can't be read (it is not shown: it may hold a password)"
        ) from None
