"""A side's program in a database of its own: started, spoken with, ended."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import attrs
from psycopg import conninfo

from benchmarks.peers.environments import last_line

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from benchmarks import server as servers
    from benchmarks.peers.sides import Side

Answer: TypeAlias = dict[str, Any]

PATIENCE = 180  # seconds for the jobs of one run
GRACE = 60  # seconds more for a program to start and to end

# what libpq, asyncpg and pg (of npm) all read
VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
}


class SideError(Exception):
    """A side's program did not do what it was asked for; the text says what it said at last."""


@attrs.define
class Running:
    """A program at work. Its answer is the last line that it prints."""

    verb: str
    process: subprocess.Popen[str]
    errors: IO[str]

    def _fail(self) -> SideError:
        self.errors.seek(0)
        return SideError(f"{self.verb}: {last_line(self.errors.read())}")

    def line(self) -> Answer:
        """Wait for the next line."""
        assert self.process.stdout is not None
        text = self.process.stdout.readline()
        if not text:
            self.process.wait()
            raise self._fail()
        answer: Answer = json.loads(text)
        return answer

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def answer(self) -> Answer:
        try:
            said, _ = self.process.communicate(timeout=PATIENCE + GRACE)
        except subprocess.TimeoutExpired:
            raise SideError(f"{self.verb}: no end after {PATIENCE + GRACE} s") from None
        if self.process.returncode:
            raise self._fail()
        try:
            answer: Answer = json.loads(said.splitlines()[-1])
        except (ValueError, IndexError):
            raise SideError(f"{self.verb}: no answer, but {last_line(said)!r}") from None
        return answer


@attrs.define
class Place:
    """One database, with a side's schema in it."""

    server: servers.Server
    side: Side
    database: str

    def environment(self) -> dict[str, str]:
        """Say where the database is, and nothing else that libpq or the package would read."""
        parts = conninfo.conninfo_to_dict(self.server.dsn_of(self.database))
        places = {VARIABLES[name]: str(parts[name]) for name in parts if name in VARIABLES}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("PG")
        }
        return {**inherited, **places, **self.side.environment.variables()}

    @contextlib.contextmanager
    def start(self, verb: str, **settings: object) -> Generator[Running]:
        """Run the program beside others; it has ended when this is left."""
        whole: Mapping[str, object] = {"patience": PATIENCE, **self.side.settings, **settings}
        command = self.side.environment.command(self.side.path)
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                [*command, verb, json.dumps(whole)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment(),
            ) as process,
        ):
            try:
                yield Running(verb, process, errors)
            finally:
                if process.poll() is None:
                    process.kill()

    def call(self, verb: str, **settings: object) -> Answer:
        with self.start(verb, **settings) as running:
            return running.answer()

    def settle(self) -> None:
        """What autovacuum would have done, for every side alike."""
        with self.server.connect(self.database) as conn:
            conn.execute("vacuum analyze")


@attrs.define
class Site:
    """A side that is installed, with a template of its database."""

    server: servers.Server
    side: Side
    version: str
    template: str

    @contextlib.contextmanager
    def fresh(self) -> Generator[Place]:
        """A database in which nothing has happened yet."""
        with self.server.database("run", self.template) as database:
            yield Place(self.server, self.side, database)


@contextlib.contextmanager
def opened(server: servers.Server, side: Side) -> Generator[Site]:
    """Install a side's package and its schema, or raise MissingError or SideError."""
    version = side.environment.ready()
    name = f"template_{side.key.replace('.', '_').replace('-', '_')}"
    with server.database(name) as template:
        Place(server, side, template).call("install")
        yield Site(server, side, version, template)
