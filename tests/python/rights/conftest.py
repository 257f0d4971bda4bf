"""A login for each role; roles are the cluster's, and go when the test ends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import psycopg
import psycopg.conninfo
import pytest

import procrastinate

PARTS = ("producer", "worker", "operator", "auditor")


@attrs.frozen
class Logins:
    """Connection strings: of the owner, and of a login with each role."""

    owner: str
    producer: str
    worker: str
    operator: str
    auditor: str
    roles: dict[str, str]

    def app(self, part: str) -> procrastinate.App:
        """An app, not open, that connects as that login."""
        return procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=getattr(self, part), min_size=1, max_size=6
            )
        )


@pytest.fixture
def logins(dsn: str) -> Iterator[Logins]:
    roles = {part: f"procrastinate_{part}_{os.getpid()}" for part in PARTS}
    names = [*roles.values(), *(f"{name}_login" for name in roles.values())]
    owner = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=dsn))
    with psycopg.connect(dsn, autocommit=True) as connection:
        try:
            with owner.open():
                owner.schema_manager.create_roles(**roles)
            for name in roles.values():
                connection.execute(
                    f"create role {name}_login login password 'x' in role {name}".encode()
                )
            yield Logins(
                owner=dsn,
                roles=roles,
                **{
                    part: psycopg.conninfo.make_conninfo(
                        dsn, user=f"{name}_login", password="x"
                    )
                    for part, name in roles.items()
                },
            )
        finally:
            for name in names:
                if connection.execute(
                    "select from pg_roles where rolname = %s", [name]
                ).rowcount:
                    connection.execute(f"drop owned by {name}; drop role {name}".encode())
