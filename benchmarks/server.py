"""The server that is measured, and the databases that a run creates there and drops."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import TYPE_CHECKING, TypeAlias

import attrs
import psycopg
from psycopg import conninfo, sql

from procrastinate import migrations
from procrastinate.contrib.embedded import EmbeddedServer, choose_server

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks import figures

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]

# of the embedded server: a run is about the engine, not about checkpoints every few seconds
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "max_connections": "260"}
CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


@attrs.frozen(kw_only=True)
class Server:
    """A server by the DSN of its maintenance database."""

    dsn: str

    def dsn_of(self, database: str) -> str:
        return conninfo.make_conninfo(self.dsn, dbname=database)

    def connect(self, database: str | None = None) -> Connection:
        dsn = self.dsn if database is None else self.dsn_of(database)
        return psycopg.connect(dsn, autocommit=True)

    def drop(self, database: str) -> None:
        with self.connect() as conn:
            conn.execute(
                sql.SQL("drop database if exists {} with (force)").format(
                    sql.Identifier(database)
                )
            )

    def create(self, database: str, template: str = "template0") -> None:
        self.drop(database)
        with self.connect() as conn:
            conn.execute(
                sql.SQL("create database {} template {}").format(
                    sql.Identifier(database), sql.Identifier(template)
                )
            )

    @contextlib.contextmanager
    def database(self, name: str, template: str = "template0") -> Generator[str]:
        """A database of our own, named after this process: two runs may share a server."""
        full = f"procrastinate_bench_{os.getpid()}_{name}"
        self.create(full, template)
        try:
            yield full
        finally:
            self.drop(full)

    def describe(self, report: figures.Report) -> None:
        with self.connect() as conn:
            rows = conn.execute(
                "select name, current_setting(name) from unnest(array['server_version',"
                " 'fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size']) as name"
            ).fetchall()
            settings = {str(name): str(value) for name, value in rows}
            report.fact("server", "PostgreSQL " + settings.pop("server_version"))
            report.fact("settings", ", ".join(f"{k} = {v}" for k, v in settings.items()))
            if settings["fsync"] != "on" or settings["synchronous_commit"] == "off":
                report.say("WARNING: commits are not synced; figures of small batches flatter")
        report.fact("machine", f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


@contextlib.contextmanager
def chosen(dsn: str | None, report: figures.Report) -> Generator[Server]:
    """Choose an explicit DSN, PROCRASTINATE_DSN, or an embedded server, in that order."""
    # libpq's variables do not count: databases are created and dropped here
    with choose_server(dsn, libpq=False, embedded=EmbeddedServer(settings=SETTINGS)) as server:
        report.fact("chosen", str(server))
        yield Server(dsn=server.dsn)


def install_ours(server: Server, database: str) -> None:
    """Load the schema of this checkout."""
    with server.connect(database) as conn:
        conn.execute(migrations.one_file_schema().encode())
