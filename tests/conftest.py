"""
The server that all tests share, and a database of its own for each.

The server is the one that PROCRASTINATE_DSN names, else an embedded one that lives as long as
the run. Databases are copies of a template that holds the schema, made and dropped here.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, cast

import attrs
import psycopg
import psycopg.conninfo
import pytest
from psycopg import pq, sql
from pytest_postgresql import factories
from pytest_postgresql.janitor import DatabaseJanitor

import procrastinate
from procrastinate import migrations
from procrastinate.contrib.embedded import ChosenServer, EmbeddedServer, choose_server
from tools import pgtap

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background by a shell: the processes that tests start would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).parent.parent
TEMPLATE = f"procrastinate_test_{os.getpid()}"  # several runs may share a given server
PATCH = (
    "PROCRASTINATE_TEST_PATCH"  # a file of SQL to break the schema with: tools/mutate_sql.py
)
NUMBERS = itertools.count(1)  # of databases: one that can't be dropped fails only its own test
CHOSEN = pytest.StashKey[ChosenServer]()

Connect = Callable[..., psycopg.Connection]
AsyncConnect = Callable[..., Awaitable[psycopg.AsyncConnection]]


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


@attrs.frozen(kw_only=True)
class Server:
    """A server that runs, in the words of pytest-postgresql."""

    dsn: str  # of its maintenance database
    host: str
    port: str
    user: str
    password: str
    maintenance_dbname: str
    options: str = ""
    template_dbname: str | None = None

    def database(self, name: str) -> str:
        """The connection string of a database on it."""
        return psycopg.conninfo.make_conninfo(self.dsn, dbname=name)


class Janitor(DatabaseJanitor):
    """pytest-postgresql's, with the strategy that is the faster one without fsync."""

    durable = True

    def _build_create_database_sql(self) -> sql.Composed:
        create = super()._build_create_database_sql()
        return create if self.durable else create + sql.SQL(" strategy file_copy")


@pytest.fixture(scope="session")
def embedded_server() -> EmbeddedServer:
    """The embedded server that the tests use if no other is given; not started by this."""
    return EmbeddedServer(
        durable=False,
        settings={
            "max_connections": "200",
            "autovacuum_naptime": "1min",
            "max_prepared_transactions": "10",
        },
        bin_directory=os.environ.get("PROCRASTINATE_TEST_BIN"),
    )


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, embedded_server: EmbeddedServer) -> Iterator[Server]:
    """The server of this run."""
    with (
        pytest.MonkeyPatch.context() as environment,
        choose_server(libpq=False, embedded=embedded_server) as chosen,
    ):
        for option in pq.Conninfo.get_defaults():
            if option.envvar:  # it could send a test to another database
                environment.delenv(option.envvar.decode(), raising=False)
        request.config.stash[CHOSEN] = chosen
        parts = psycopg.conninfo.conninfo_to_dict(chosen.dsn)
        yield Server(
            dsn=chosen.dsn,
            host=str(parts.get("host") or parts.get("hostaddr") or ""),
            port=str(parts.get("port") or 5432),
            user=str(parts.get("user") or "postgres"),
            password=str(parts.get("password") or ""),
            maintenance_dbname=str(parts.get("dbname") or "postgres"),
        )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    chosen = config.stash.get(CHOSEN, None)
    if chosen is not None:
        terminalreporter.write_line(f"PostgreSQL: {chosen}")


def load_schema(
    *, host: str, port: str, user: str, password: str, dbname: str, **_: Any
) -> None:
    """Install the schema, as strictly as PL/pgSQL can be asked to look at it."""
    dsn = psycopg.conninfo.make_conninfo(
        host=host, port=port, user=user, password=password, dbname=dbname
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set plpgsql.extra_errors = 'all'")
        connection.execute(migrations.one_file_schema().encode())
        if patch := os.environ.get(PATCH):
            connection.execute(pathlib.Path(patch).read_bytes())


template = cast(Any, factories).postgresql_noproc(
    dbname=TEMPLATE, depends_on="server", load=[load_schema]
)


@pytest.fixture(scope="session")
def make_database(server: Server) -> Callable[..., Janitor]:
    """Describe a database on the server: entering what this returns makes it."""

    with psycopg.connect(server.dsn) as connection:
        durable = connection.execute("show fsync").fetchone() != ("off",)

    def make(name: str, *, template: str | None = None) -> Janitor:
        janitor = Janitor(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            maintenance_dbname=server.maintenance_dbname,
            dbname=name,
            template_dbname=template,
        )
        janitor.durable = durable
        return janitor

    return make


@pytest.fixture
def dsn(server: Server, template: Any, make_database: Callable[..., Janitor]) -> Iterator[str]:
    """The connection string of a database of this test's own, with the schema."""
    name = f"{TEMPLATE}_own{next(NUMBERS)}"
    janitor = make_database(name, template=template.template_dbname)
    with janitor:
        yield server.database(name)


@pytest.fixture
def empty_dsn(server: Server, make_database: Callable[..., Janitor]) -> Iterator[str]:
    """The connection string of an empty database of this test's own."""
    name = f"{TEMPLATE}_empty{next(NUMBERS)}"
    with make_database(name):
        yield server.database(name)


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """Open a connection (autocommit, unless told otherwise); closed after the test."""
    opened: list[psycopg.Connection] = []

    def open_one(conninfo: str = dsn, **options: Any) -> psycopg.Connection:
        keywords: dict[str, Any] = {"autocommit": True, **options}
        connection = psycopg.connect(conninfo, **keywords)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def conn(connect: Connect) -> psycopg.Connection:
    """One synchronous connection in autocommit."""
    return connect()


@pytest.fixture
async def aconnect(dsn: str) -> AsyncIterator[AsyncConnect]:
    """Open an asynchronous connection; closed after the test."""
    opened: list[psycopg.AsyncConnection] = []

    async def open_one(conninfo: str = dsn, **options: Any) -> psycopg.AsyncConnection:
        keywords: dict[str, Any] = {"autocommit": True, **options}
        connection = await psycopg.AsyncConnection.connect(conninfo, **keywords)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        await connection.close()


@pytest.fixture
async def aconn(aconnect: AsyncConnect) -> psycopg.AsyncConnection:
    """One asynchronous connection in autocommit."""
    return await aconnect()


@pytest.fixture(scope="session")
def tap_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the schema and pgTAP. Its tests roll back: one is enough for all."""
    script = pgtap.find()
    if script is None:
        if os.environ.get(pgtap.REQUIRED):
            pytest.fail(f"{pgtap.MISSING}, and {pgtap.REQUIRED} is set", pytrace=False)
        pytest.skip(pgtap.MISSING)
    server: Server = request.getfixturevalue("server")
    template = request.getfixturevalue("template")
    make_database: Callable[..., Janitor] = request.getfixturevalue("make_database")
    name = f"{TEMPLATE}_tap"
    with make_database(name, template=template.template_dbname):
        dsn = server.database(name)
        pgtap.install(dsn, script)
        yield dsn


@pytest.fixture(scope="session")
def psql(embedded_server: EmbeddedServer) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run psql, the embedded wheel's: no start-up file, stop at the first error."""
    program = str(embedded_server.bin_directory / "psql")

    def run(
        dsn: str, *arguments: str, script: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "-X", "-v", "ON_ERROR_STOP=1", *arguments, "-d", dsn],
            input=script or "",
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    return run


#: Files and rooms that take longest, first: the two processes then end at the same time.
LONGEST = (
    "tests/python/races/test_stopped_statements",
    "tests/python/races/test_locks",
    "tests/python/docs/test_snippets",
    "tests/python/models/",
    "tests/python/sqllint/",
    "tests/python/fleet/",
    "tests/python/docs/",
    "tests/python/adoption/",
    "tests/python/races/",
    "tests/python/operations/",
    "tests/python/failover/",
    "tests/python/upgrade/",
    "tests/python/chaos/",
    "tests/python/histories/",
    "tests/python/packaging/",
    "tests/python/tooling/",
    "tests/python/typing/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        found = (n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path))
        return next(found, len(LONGEST))

    items.sort(key=rank)


@pytest.fixture
def logins(dsn: str) -> Iterator[Logins]:
    """A login for each role; roles are the cluster's, and go when the test ends."""
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged may hold half a character: no process can send that to another."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode())
        for name, text in report.sections
    ]
    return report
