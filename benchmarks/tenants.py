"""A schema or a database for each tenant: what ten of them cost beside one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from psycopg import conninfo, sql

from benchmarks import figures, wires
from procrastinate import migrations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.options import Options
    from benchmarks.server import Server

# One process with an app and a worker for each of the connection strings.
PROGRAM = """\
import asyncio, logging, sys, time
import procrastinate

logging.disable()

def make(dsn):
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

    @app.task(name="task", queue="q")
    async def task(a): pass

    return app

async def work(app):
    async with app.open_async():
        await app.run_worker_async(
            queues=["q"], concurrency=50, wait=False, install_signal_handlers=False
        )

async def main():
    apps = [make(dsn) for dsn in sys.argv[1:]]
    start = time.perf_counter()
    await asyncio.gather(*(work(app) for app in apps))
    print(time.perf_counter() - start)

asyncio.run(main())
"""
# A worker that is idle but for what it hears of others; it ends with its standard input.
LISTENER = """\
import asyncio, logging, sys
import procrastinate

logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))

async def main():
    async with app.open_async():
        worker = asyncio.create_task(app.run_worker_async(install_signal_handlers=False))
        await asyncio.to_thread(sys.stdin.read)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

asyncio.run(main())
"""
TENANTS = 10
JOBS = 40_000  # of all tenants together
HEARD = 2_000  # jobs deferred one by one to a tenant without a worker
PATIENCE = 600  # seconds for one drain


def within(dsn: str, schema: str) -> str:
    return conninfo.make_conninfo(dsn, options=f"-c search_path={schema} -c track_functions=pl")


def install(server: Server, database: str, schema: str) -> float:
    """Return how long it took."""
    with server.connect(database) as conn:
        name = sql.Identifier(schema)
        conn.execute(sql.SQL("create schema if not exists {}").format(name))
        conn.execute(sql.SQL("set search_path to {}").format(name))
        script = migrations.one_file_schema().encode()
        return figures.seconds(lambda: conn.execute(script))


def drain(server: Server, places: Sequence[tuple[str, str]], jobs: int) -> float:
    """Share out the jobs to schemas of databases; return how many a second are done in all."""
    dsns = [within(server.dsn_of(database), schema) for database, schema in places]
    each = jobs // len(places)
    for database, schema in places:
        with server.connect(database) as conn:
            conn.execute(sql.SQL("set search_path to {}").format(sql.Identifier(schema)))
            wires.empty(conn)
            wires.fill(conn, each)
    for database in {database for database, _ in places}:
        with server.connect(database) as conn:
            wires.settle(conn)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *dsns],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    for database, schema in places:
        with server.connect(database) as conn:
            conn.execute(sql.SQL("set search_path to {}").format(sql.Identifier(schema)))
            assert wires.count(conn, "succeeded") == each
    return each * len(places) / float(done.stdout)


def fetches(server: Server, database: str, schema: str) -> int:
    with server.connect(database) as conn:
        # counted when a session ends
        others = "select 1 from pg_stat_activity where datname = %s and pid <> %s"
        while conn.execute(others, [database, conn.info.backend_pid]).fetchone():
            conn.execute("select pg_sleep(0.05)")
        row = conn.execute(
            "select coalesce(max(calls), 0) from pg_stat_user_functions"
            " where schemaname = %s and funcname like 'procrastinate%%fetch%%'",
            [schema],
        ).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]


def hear(server: Server, database: str, others: str, own: str, jobs: int) -> float:
    """Fetches of an idle worker of one schema for each job deferred in another."""
    before = fetches(server, database, own)
    with subprocess.Popen(
        [sys.executable, "-c", LISTENER, within(server.dsn_of(database), own)],
        stdin=subprocess.PIPE,
    ) as listener:
        with server.connect(database) as conn:
            conn.execute(sql.SQL("set search_path to {}").format(sql.Identifier(others)))
            listening = "select 1 from pg_stat_activity where query ~* '^listen' and pid <> %s"
            while not conn.execute(listening, [conn.info.backend_pid]).fetchone():
                conn.execute("select pg_sleep(0.05)")
            for _ in range(jobs):
                conn.execute("select procrastinate_defer_job('q', 'task')")
        listener.communicate()
    assert listener.returncode == 0
    return (fetches(server, database, own) - before) / jobs


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start("tenants", "one process, a worker of concurrency 50 for each tenant", "one")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(server.database("first"))
        second = stack.enter_context(server.database("second"))
        schemas = [f"tenant_{number}" for number in range(TENANTS)]
        report.add(
            "install a schema", "ms", [install(server, first, name) * 1e3 for name in schemas]
        )
        install(server, second, schemas[0])
        with server.connect(first) as conn:
            sizes = conn.execute(
                "select sum(pg_relation_size(oid))::float8 / 1e3 from pg_class"
                " where relnamespace::regnamespace::text = any(%s) and relkind in ('r', 'i')"
                " group by relnamespace",
                [schemas],
            ).fetchall()
            report.add("an empty schema", "kB", [float(str(row[0])) for row in sizes])
        cases = {
            f"{TENANTS} schemas": [(first, name) for name in schemas],
            "2 schemas": [(first, schemas[0]), (first, schemas[1])],
            "2 databases": [(first, schemas[0]), (second, schemas[0])],
        }
        jobs = options.scaled(JOBS)
        for case, places in cases.items():
            rates: list[float] = []
            base: list[float] = []
            for _ in range(options.rounds):
                rates.append(drain(server, places, jobs))
                base.append(drain(server, [(first, schemas[0])], jobs))
            report.add(case, "jobs/s in all", rates, base)
        report.add(
            "fetches for a job of another schema",
            "fetches",
            [
                hear(server, first, schemas[0], schemas[1], options.scaled(HEARD))
                for _ in range(options.rounds)
            ],
        )
