"""psycopg2's errors in our words, for whoever stands on psycopg2."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import psycopg2

from procrastinate.rpc import errors

if TYPE_CHECKING:
    from collections.abc import Generator

    from procrastinate import exceptions


def translate(exc: psycopg2.Error) -> exceptions.ConnectorException:
    """Return what an error of psycopg2's is in our words."""
    diagnostics = exc.diag
    errors.keep_data(exc, sqlstate=exc.pgcode, message=diagnostics.message_primary)
    return errors.exception_for(
        sqlstate=exc.pgcode,
        message=diagnostics.message_primary,
        detail=diagnostics.message_detail,
        constraint_name=diagnostics.constraint_name,
        connection_lost=isinstance(exc, (psycopg2.OperationalError, psycopg2.InterfaceError)),
    )


@contextlib.contextmanager
def translated() -> Generator[None, None, None]:
    """Raise psycopg2's errors as ours."""
    try:
        yield
    except psycopg2.Error as exc:
        raise translate(exc) from exc
