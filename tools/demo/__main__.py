"""
Starts a server, applies the schema, runs the quickstart, works off orders that SQL deferred.

It prints what it runs and what comes of it; the status tells whether all of it was as it
should be. The server is embedded, unless PROCRASTINATE_DSN names one; the database is made for
this run and dropped in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, LiteralString, cast

import attrs
import psycopg
import psycopg.conninfo
from psycopg import sql

from procrastinate.contrib.embedded import EmbeddedServer, EmbeddedServerError, choose_server

if TYPE_CHECKING:
    from collections.abc import Generator

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT = 60.0  # seconds for each step; all of them together take some ten


class DemoError(Exception):
    """Something did not come out as it should."""


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"=== {text}\n")


def show(source: pathlib.Path) -> None:
    """The code of an example, without what only Python needs to read."""
    for line in source.read_text().strip().splitlines():
        say(f"    | {line}".rstrip())
    say()


def find_psql() -> str:
    try:
        return str(EmbeddedServer().bin_directory / "psql")
    except EmbeddedServerError as exc:
        if found := shutil.which("psql"):
            return found
        raise DemoError("There is no psql, neither installed nor embedded") from exc


@contextlib.contextmanager
def own_database(server: str) -> Generator[str]:
    """A database that is there for this run only."""
    name = f"procrastinate_demo_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield psycopg.conninfo.make_conninfo(server, dbname=name)
        finally:
            admin.execute(
                sql.SQL("drop database if exists {} (force)").format(sql.Identifier(name))
            )


@attrs.frozen
class Demo:
    """The steps, on one database."""

    dsn: str
    psql_program: str
    orders: int
    concurrency: int

    @property
    def environment(self) -> dict[str, str]:
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PROCRASTINATE_", "PG"))
        }
        path = os.pathsep.join(filter(None, [str(ROOT), others.get("PYTHONPATH")]))
        return {**others, "PYTHONPATH": path, "DATABASE_URL": self.dsn}

    def run(self, *command: str, shown: str) -> str:
        """Run a program to its end, and print what it prints."""
        say(shown if shown.startswith("=#") else f"$ {shown}")
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        say(f"{done.stdout.rstrip()}\n".lstrip("\n"))
        if done.returncode:
            raise DemoError(f"{command[0]} ended with status {done.returncode}")
        return done.stdout

    def python(self, code: str) -> str:
        return self.run(sys.executable, "-c", code, shown=shlex.join(["python", "-c", code]))

    def cli(self, *arguments: str, quiet: bool = False) -> list[str]:
        app = ["--app=tools.demo.shop.app", *(["--log-level=warning"] if quiet else [])]
        return [sys.executable, "-m", "procrastinate", *app, *arguments]

    def procrastinate(self, *arguments: str, quiet: bool = False) -> str:
        return self.run(
            *self.cli(*arguments, quiet=quiet),
            shown=shlex.join(["procrastinate", *arguments]),
        )

    def psql(self, *arguments: str, shown: str) -> str:
        return self.run(
            *(self.psql_program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-P", "pager=off"),
            *("-d", self.dsn, *arguments),
            shown=shown,
        )

    def query(self, statement: str) -> str:
        """A statement and its answer, as psql prints them."""
        first, *others = statement.splitlines()
        shown = "\n".join([f"=# {first}", *(f"-# {line}" for line in others)])
        return self.psql("-c", statement, shown=f"{shown};")

    def ask(self, statement: LiteralString, *values: Any) -> Any:
        """One value, for what this program itself has to know."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(statement, values).fetchone()
        return cast("Any", row)[0]

    def wait_for(self, what: str, statement: LiteralString, *values: Any) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.ask(statement, *values):
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not within {TIMEOUT:.0f} s")
            time.sleep(0.05)

    @contextlib.contextmanager
    def worker(self, *arguments: str) -> Generator[None]:
        """A worker in the background, stopped as an operator stops it."""
        command = self.cli("worker", *arguments, quiet=True)
        say(f"$ {shlex.join(['procrastinate', 'worker', *arguments])} &")
        with subprocess.Popen(command, env=self.environment, cwd=ROOT) as process:
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(TIMEOUT)
                except subprocess.TimeoutExpired:
                    process.kill()
        if process.returncode:
            raise DemoError(f"the worker ended with status {process.returncode}")

    # The acts

    def schema(self) -> None:
        title("The schema: everything that a job goes through, as SQL")
        self.procrastinate("schema", "--apply")
        self.procrastinate("healthchecks")

    def quickstart(self) -> None:
        title("Python: a task, a job, a worker")
        show(HERE / "sync_example.py")
        output = self.python("from tools.demo.sync_example import main; main()")
        expect("3 + 5 = 8" in output, "the synchronous job did not run")

        title("The same, asynchronous")
        show(HERE / "async_example.py")
        output = self.python(
            "import asyncio; from tools.demo.async_example import main; asyncio.run(main())"
        )
        expect("20 + 22 = 42" in output, "the asynchronous job did not run")

        title("The command line")
        self.procrastinate("defer", "greet", '{"name": "world"}')
        output = self.procrastinate("worker", "-q", "hello", "--one-shot", quiet=True)
        expect("Hello, world!" in output, "the job of the command line did not run")

    def work_off_orders(self) -> None:
        title(f"No Python: a trigger defers a job for each of {self.orders:,} orders")
        show(HERE / "orders.sql")
        began = time.monotonic()
        script = str(HERE / "orders.sql")
        self.psql(
            *("-v", f"orders={self.orders}", "-f", script),
            shown=f"psql -v orders={self.orders} -f orders.sql",
        )
        took = time.monotonic() - began
        say(f"{self.orders:,} rows and their jobs in {took:.2f} s, in one transaction.\n")
        self.query(OVERVIEW)

        title("One worker runs them all, one job a customer at a time")
        self.procrastinate(
            *("worker", "-q", "orders", "-c", str(self.concurrency), "--one-shot"), quiet=True
        )
        self.query(OVERVIEW)
        succeeded = self.ask(
            "select count(*) from procrastinate_jobs "
            "where queue_name = 'orders' and status = 'succeeded'"
        )
        expect(succeeded == self.orders, f"{succeeded} of {self.orders} orders were confirmed")

        say("The history of one of them:")
        job = self.ask("select max(id) from procrastinate_jobs where queue_name = 'orders'")
        self.query(HISTORY.format(job=job))

    def explain(self) -> None:
        title("Why does this job not run?")
        with self.worker("-q", "audits"):
            holder = self.ask(DEFER, "audit", "customer-7")
            self.wait_for(
                "the audit's start",
                "select status = 'doing' from procrastinate_jobs where id = %s",
                holder,
            )
            blocked = self.ask(DEFER, "close_account", "customer-7")
            answer = self.query(EXPLAIN.format(job=blocked))
            expect(f"Job {holder} holds the lock" in answer, "the lock was not explained")

            say("So that one is asked to abort, which releases the lock:")
            self.query(ABORT.format(job=holder))
            self.wait_for(
                "the next job of the lock",
                "select status = 'succeeded' from procrastinate_jobs where id = %s",
                blocked,
            )
        self.query(BOTH.format(first=holder, second=blocked))

    def finish(self) -> None:
        title("How fast that was")
        seconds = float(self.ask(SECONDS))
        rate = self.orders / seconds
        say(
            f"{self.orders:,} orders, each with a lock and a history of three events, in "
            f"{seconds:.2f} s:\n{rate:,.0f} jobs a second, by one worker process of "
            f"{self.concurrency} jobs at a time, from the\nfirst start to the last end."
        )
        breaches = self.ask("select count(*) from procrastinate_check()")
        say(f"procrastinate_check() finds {breaches} breaches of what must be true.")
        expect(breaches == 0, "procrastinate_check() is not empty")


OVERVIEW = """\
select queue_name, todo, doing, succeeded, ready, blocked
from procrastinate_overview order by queue_name"""

HISTORY = """\
select type, to_char(at, 'HH24:MI:SS.MS') as at, attempt
from procrastinate_events where job_id = {job} order by id"""

EXPLAIN = "select * from procrastinate_explain_job({job})"

ABORT = "select procrastinate_abort_job({job})"

BOTH = """\
select id, task_name, lock, status
from procrastinate_jobs where id in ({first}, {second}) order by id"""

DEFER: LiteralString = """\
with who as (select %s as task, %s as customer)
select procrastinate_defer_job(
    'audits', task, lock => customer, args => jsonb_build_object('customer', customer)
)
from who"""

SECONDS: LiteralString = """\
select extract(epoch from max(e.at) - min(e.at) filter (where e.type = 'started'))
from procrastinate_jobs as j
join procrastinate_events as e on e.job_id = j.id
where j.queue_name = 'orders'"""


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise DemoError(otherwise)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=5000, help="how many (default: 5000)")
    parser.add_argument("--concurrency", type=int, default=50, help="jobs at a time")
    options = parser.parse_args()
    began = time.monotonic()
    try:
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[
                name
            ]  # only PROCRASTINATE_DSN names a server in which to make things
        with choose_server(libpq=False) as server:
            say(f"PostgreSQL: {server}\n")
            with own_database(server.dsn) as dsn:
                demo = Demo(dsn, find_psql(), options.orders, options.concurrency)
                demo.schema()
                demo.quickstart()
                demo.work_off_orders()
                demo.explain()
                demo.finish()
    except (DemoError, EmbeddedServerError, psycopg.Error, subprocess.TimeoutExpired) as exc:
        say(f"\nThe demo FAILED: {exc}")
        return 1
    say(f"\nThat was the demo, in {time.monotonic() - began:.0f} s. Next: docs/index.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
