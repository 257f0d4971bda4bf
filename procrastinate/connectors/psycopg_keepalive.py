"""How long TCP waits for a peer that went away without a word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping

#: libpq's parameters. Without them the kernel lets a connection through a dead router or a
#: forgetful firewall live for a quarter of an hour when it writes, and for two hours when it
#: waits. Sockets that are no TCP ignore them.
DEFAULTS: Mapping[str, int] = {
    "connect_timeout": 15,  # seconds; a firewall that drops packets says nothing either
    "keepalives_idle": 30,  # seconds; below the 60 s after which the first firewalls forget
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds without an acknowledgement of what was sent
}

#: Those that libpq also reads from the environment, which a keyword would beat.
VARIABLES: Mapping[str, str] = {"connect_timeout": "PGCONNECT_TIMEOUT"}


def defaults_beside(conninfo: object) -> dict[str, int]:
    """Return the parameters that a connection string leaves open; keywords would beat it."""
    if not isinstance(conninfo, str):
        # A function that makes one: what it will say, nobody knows.
        if conninfo:
            return {}
        conninfo = ""
    try:
        given: Mapping[str, Any] = psycopg.conninfo.conninfo_to_dict(conninfo)
    except psycopg.Error:
        return {}  # It is refused when it is used.
    return {
        name: value
        for name, value in DEFAULTS.items()
        if name not in given and not (name in VARIABLES and VARIABLES[name] in os.environ)
    }
