"""Several migrators at once: each step is done by one of them, and none fails."""

from __future__ import annotations

import collections
import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import attrs
import psycopg
import pytest

import procrastinate
from procrastinate import adopting, adoption, exceptions, migrations, sql
from tests.conftest import TEMPLATE, Janitor, Server
from tests.python.adoption import old
from tests.python.adoption.mortal import migrate_until
from tests.python.adoption.test_interruptions import READY, soundly_ours, work_as_3_x

Copy = Callable[[], contextlib.AbstractContextManager[str]]
#: Says its name when it has begun, and when it has ended what it did.
MIGRATE = """
import sys
import procrastinate
from procrastinate import adopting
adopting.BATCH = 20
app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=sys.argv[1]))
with app.open():
    print("did", app.schema_manager.migrate(lambda name: print(name, flush=True)), flush=True)
"""


@pytest.fixture(scope="module")
def copy_of_3_x(server: Server, make_database: Callable[..., Janitor]) -> Iterator[Copy]:
    """Make a database of 3.10 with jobs in all states, again and again."""
    kept = f"{TEMPLATE}_kept"

    @contextlib.contextmanager
    def copy() -> Generator[str]:
        name = f"{TEMPLATE}_copy"
        with make_database(name, template=kept):
            yield server.database(name)

    with make_database(kept):
        old.bring(server.database(kept), READY)
        old.fill(server.database(kept))
        yield copy


@attrs.define
class Migrator:
    """One that takes a step when it is told to, and may end in the midst of all."""

    connector: procrastinate.SyncPsycopgConnector
    steps: adopting.Steps[list[str]]
    answer: Any = None
    did: list[str] | None = None

    def step(self) -> bool:
        """Run one statement; whether more are left."""
        try:
            first = self.answer is None
            asked = next(self.steps) if first else self.steps.send(self.answer)
        except StopIteration as stop:
            self.did = stop.value
            return False
        text = sql.literal(asked.text.replace("%", "%%"))
        self.answer = []
        try:
            if isinstance(asked, migrations.Query):
                self.answer = self.connector.execute_query_all(text)
            else:
                self.connector.execute_query(text)
        except exceptions.ConnectorException as error:
            self.answer = error
        return True


@pytest.mark.parametrize("seed", [1])
def test_migrators_that_take_turns_by_chance_do_it_once(
    copy_of_3_x: Copy, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(adopting, "BATCH", 100)
    chance = random.Random(seed)
    ended: list[list[str]] = []
    with copy_of_3_x() as dsn, contextlib.ExitStack() as stack:
        connector = procrastinate.SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
        stack.enter_context(procrastinate.App(connector=connector).open())

        def join() -> Migrator:
            return Migrator(
                connector=connector, steps=adopting.migrating(migrations.known(), None)
            )

        crew = [join() for _ in range(4)]
        for turn in range(1000):
            if not crew:
                break
            one = chance.choice(crew)
            if not one.step():
                assert one.did is not None
                ended.append(one.did)
                crew.remove(one)
            elif chance.random() < 0.02:  # it is killed, and another comes
                crew[crew.index(one)] = join()
            if turn % 20 == 0:
                work_as_3_x(dsn)
        assert not crew
        assert soundly_ours(dsn)
    assert [names for names in ended if names] in ([], [[adopting.NAME]])


def test_nobody_builds_beside_a_backend_whose_migrator_was_killed(copy_of_3_x: Copy) -> None:
    """The server goes on with an index though nobody is left who asked for it."""
    building = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and state = 'active' and query like 'CREATE UNIQUE INDEX CONCURRENTLY%'"
    )
    looking_on = (
        "select from pg_stat_activity where datname = current_database()"
        " and query like 'select pg_sleep(0.5)%' having count(*) = 2"
    )
    with copy_of_3_x() as dsn, contextlib.ExitStack() as stack:
        assert migrate_until(dsn, lambda _, query: "INDEX CONCURRENTLY" in query)
        holder = stack.enter_context(psycopg.connect(dsn))
        watcher = stack.enter_context(psycopg.connect(dsn, autocommit=True))

        def start() -> subprocess.Popen[str]:
            command = [sys.executable, "-c", MIGRATE, dsn]
            return stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            )

        def until(query: str) -> list[tuple[int, ...]]:
            deadline = time.monotonic() + 30
            while not (rows := watcher.execute(query.encode()).fetchall()):
                assert time.monotonic() < deadline, query
            return rows

        # the build waits for whoever writes events
        holder.execute("insert into procrastinate_events values (default, 1, null, null)")
        first = start()
        built = until(building)
        first.send_signal(signal.SIGKILL)
        others = [start(), start()]
        until(looking_on)
        assert watcher.execute(building.encode()).fetchall() == built
        holder.rollback()
        said = [other.communicate()[0].splitlines() for other in others]

        assert [other.returncode for other in others] == [0, 0]
        assert {lines[-1] for lines in said} == {"did []", f"did {[adopting.NAME]}"}
        assert soundly_ours(dsn)


def test_migrators_that_are_started_at_once_all_end_well(copy_of_3_x: Copy) -> None:
    with copy_of_3_x() as dsn, contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", MIGRATE, dsn]
        crew = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        said = [each.communicate()[0].splitlines() for each in crew]
        assert [each.returncode for each in crew] == [0, 0]
        did = collections.Counter(lines[-1] for lines in said)
        assert did == {"did []": 1, f"did {[adopting.NAME]}": 1}
        assert soundly_ours(dsn)


@pytest.mark.parametrize(
    ("done", "next_"),
    [
        (
            adoption.pinned("create table procrastinate_migrations ();", guard=""),
            adoption.pinned("select 1;"),
        ),
        (migrations.known()[0].text, migrations.known()[0].text),
    ],
    ids=["adoption", "migration"],
)
def test_who_waited_for_another_sees_what_it_has_done(
    empty_dsn: str, done: str, next_: str
) -> None:
    """Also what it has looked for before, and has remembered not to be there."""
    with psycopg.connect(empty_dsn) as first, psycopg.connect(empty_dsn) as second:
        looked = second.execute("select to_regclass('procrastinate_migrations')").fetchall()
        assert looked == [(None,)]
        second.rollback()
        first.execute(done.encode())
        waits = second.info.backend_pid

        def go_on() -> None:
            with psycopg.connect(empty_dsn, autocommit=True) as watcher:
                waiting = "select 1 from pg_locks where not granted and pid = %s"
                while not watcher.execute(waiting, [waits]).fetchall():
                    pass
            first.commit()

        thread = threading.Thread(target=go_on)
        thread.start()
        with pytest.raises(psycopg.Error) as error:
            second.execute(next_.encode())
        thread.join()
    assert error.value.sqlstate == adoption.OVERTAKEN
