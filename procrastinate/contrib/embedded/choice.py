"""Which PostgreSQL server to use, when several could be meant."""

from __future__ import annotations

import contextlib
import enum
import os
from typing import TYPE_CHECKING

import attrs
import psycopg.conninfo

from procrastinate.contrib.embedded.server import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

VARIABLE = "PROCRASTINATE_DSN"
# Any of these says that a server is meant; the others only say how to talk to it.
LIBPQ = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE", "PGDATABASE", "PGUSER")


class Origin(enum.Enum):
    """Who named the server, in the order of precedence."""

    ARGUMENT = "an explicit argument"
    VARIABLE = VARIABLE
    LIBPQ = "libpq's variables"
    EMBEDDED = "the embedded server"


@attrs.frozen(kw_only=True)
class ChosenServer:
    """A server, and why it is this one."""

    dsn: str = attrs.field(repr=False)  # may hold a password
    origin: Origin
    embedded: EmbeddedServer | None = None

    def __str__(self) -> str:
        return f"{self.origin.value}: {without_password(self.dsn) or 'as libpq is set'}"


@contextlib.contextmanager
def choose_server(
    dsn: str | None = None,
    *,
    libpq: bool = True,
    embedded: EmbeddedServer | None = None,
    environ: Mapping[str, str] | None = None,
) -> Generator[ChosenServer]:
    """
    Choose a server: ``dsn``, ``PROCRASTINATE_DSN``, libpq's variables, an embedded one.

    An embedded server is started if it comes to that, and closed in the end.

    Parameters
    ----------
    dsn :
        The explicit argument.
    libpq :
        Whether libpq's variables count. What creates and drops databases should say no.
    embedded :
        The embedded server to start; a throwaway one if not given.
    """
    environ = os.environ if environ is None else environ
    if dsn:
        yield ChosenServer(dsn=dsn, origin=Origin.ARGUMENT)
    elif given := environ.get(VARIABLE):
        yield ChosenServer(dsn=given, origin=Origin.VARIABLE)
    elif libpq and any(environ.get(name) for name in LIBPQ):
        yield ChosenServer(dsn="", origin=Origin.LIBPQ)
    else:
        with embedded or EmbeddedServer() as server:
            yield ChosenServer(dsn=server.dsn(), origin=Origin.EMBEDDED, embedded=server)


def without_password(dsn: str) -> str:
    """The parts of a connection string that may be shown."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    secret = {"password", "sslpassword"}
    shown = {name: value for name, value in parts.items() if name not in secret}
    return psycopg.conninfo.make_conninfo("", **shown)
