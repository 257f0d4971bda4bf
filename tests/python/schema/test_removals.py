"""
What a live worker calls is removed by no migration, and what only adds does not wait for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo
import pytest

import procrastinate
from procrastinate import exceptions, migrations, sql
from procrastinate.rpc import spoken
from tests.python.schema.managers import Manager
from tools import lock

if TYPE_CHECKING:
    import pathlib
    import subprocess

    from tests.conftest import Connect

Psql = Callable[..., "subprocess.CompletedProcess[str]"]

ADD = "04.01.00_01_pre_add_a_table"
REMOVE = "04.01.00_50_post_remove_the_walk"
REMOVE_OLD = "04.01.00_51_post_remove_3_x"
ADD_MORE = "04.02.00_01_pre_add_another_table"
REGISTER = "select procrastinate_register_worker_v2('w', null, %s)"
CALLS_IT = '{"wire": ["walk_v1", "fetch_jobs_v1"], "procrastinate": "4.0.0", "pid": 7}'
CALLS_OTHERS = '{"wire": ["fetch_jobs_v1"]}'


@pytest.fixture
def manager() -> Manager:
    """A schema manager of one colour: the steps are those that test_migrate.py sees in both."""
    return Manager(colour="async")


@pytest.fixture
def later(tree: pathlib.Path) -> pathlib.Path:
    """A tree with a function that later migrations remove; returns the migrations' directory."""
    directory = tree / "sql" / "migrations"
    newest = migrations.known()[-1].name
    walk = "create function procrastinate_walk_v1() returns void language sql as 'select'"
    for migration in (
        migrations.compose(ADD, f"create table procrastinate_a (); {walk};", after=newest),
        migrations.compose(
            REMOVE,
            "drop function procrastinate_walk_v1();",
            after=[ADD],
            removes=["walk_v1"],
        ),
        migrations.compose(
            REMOVE_OLD,
            "drop function procrastinate_fetch_job_v2;",
            after=[ADD, REMOVE],
            removes=["fetch_job_v2"],
        ),
        migrations.compose(ADD_MORE, "create table procrastinate_b ();", after=[ADD]),
    ):
        (directory / f"{migration.name}.sql").write_text(migration.text)
    return directory


@pytest.fixture
async def added(
    manager: Manager, empty_dsn: str, later: pathlib.Path
) -> Callable[[], Awaitable[None]]:
    """Bring the database to where the first removal is the next thing to do."""

    async def bring() -> None:
        names = (REMOVE, REMOVE_OLD, ADD_MORE)
        aside = [(later / f"{name}.sql").rename(later / name) for name in names]
        await manager(empty_dsn, "migrate")
        for path in aside:
            path.rename(f"{path}.sql")

    return bring


async def applied(admin: psycopg.AsyncConnection) -> set[str]:
    rows = await (await admin.execute("select name from procrastinate_migrations")).fetchall()
    return {row[0] for row in rows} & {ADD, REMOVE, REMOVE_OLD, ADD_MORE}


async def test_a_removal_waits_for_who_needs_it_and_additions_do_not_wait_for_the_removal(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
) -> None:
    await added()
    await admin.execute(REGISTER, [CALLS_IT])
    await admin.execute(REGISTER, [CALLS_OTHERS])

    refusal = (
        f"migration {REMOVE} is held back: it removes what live workers need: "
        "worker 1 (w, version 4.0.0, process 7) calls walk_v1. Stop them, or start them in "
        "a version that does not call it; then migrate again"
    )
    for _ in range(2):
        with pytest.raises(exceptions.SchemaMismatch) as refused:
            await manager(empty_dsn, "migrate")
        assert str(refused.value) == refusal
        assert await applied(admin) == {ADD, ADD_MORE}  # nor what removes other things later
    assert await manager(empty_dsn, "plan") == [REMOVE, REMOVE_OLD]
    sentences = await manager(empty_dsn, "explain")
    assert sentences == [REMOVE, REMOVE_OLD, f"  {refusal}"]

    await admin.execute("select procrastinate_unregister_worker_v2(1)")
    assert await manager(empty_dsn, "migrate") == [REMOVE, REMOVE_OLD]
    assert await manager(empty_dsn, "explain") == []


@pytest.mark.parametrize(
    ("version", "needed", "removed"),
    [("v1", "fetch_job_v2", {REMOVE}), ("v2", "walk_v1", set[str]())],
    ids=["3.x", "a worker that does not say what it calls"],
)
async def test_a_worker_of_3_x_needs_its_wire_and_one_that_says_nothing_needs_all(
    version: str,
    needed: str,
    removed: set[str],
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
) -> None:
    await added()
    await admin.execute(f"select procrastinate_register_worker_{version}()".encode())

    with pytest.raises(exceptions.SchemaMismatch, match=rf"worker 1 .* calls {needed}"):
        await manager(empty_dsn, "migrate")

    assert await applied(admin) == {ADD, ADD_MORE, *removed}


async def test_a_worker_that_slept_too_long_must_register_and_is_refused(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
) -> None:
    await added()
    await admin.execute(REGISTER, [CALLS_IT])
    await admin.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 min'"
    )

    await manager(empty_dsn, "migrate")

    with pytest.raises(psycopg.Error) as unknown:
        await admin.execute("select procrastinate_heartbeat_v1(1)")
    assert unknown.value.sqlstate == "PQ004"
    with pytest.raises(psycopg.Error, match="the schema does not have: walk_v1") as refused:
        await admin.execute(REGISTER, [CALLS_IT])
    assert refused.value.sqlstate == "PQ008"


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_who_registers_while_a_removal_runs_waits_and_is_refused_if_it_was_done(
    ends: str,
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
) -> None:
    await added()
    outcome: list[Any] = []

    def register() -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as worker:
            worker.execute("set application_name = 'worker'")
            try:
                outcome.append(worker.execute(REGISTER, [CALLS_IT]).fetchone())
            except psycopg.Error as exc:
                outcome.append(exc.sqlstate)

    async with await psycopg.AsyncConnection.connect(empty_dsn) as removal:
        (migration,) = (each for each in migrations.known() if each.name == REMOVE)
        await removal.execute(migration.text.encode())
        thread = threading.Thread(target=register)
        thread.start()
        await until_waiting(admin, "worker")
        await removal.execute(ends.encode())
    thread.join()
    assert outcome == (["PQ008"] if ends == "commit" else [(1,)])


async def test_a_removal_waits_for_who_is_registering_and_is_refused_if_it_did(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
    connect_named: Callable[[str], str],
) -> None:
    await added()
    (migration,) = (each for each in migrations.known() if each.name == REMOVE)
    outcome: list[str | None] = []

    def remove() -> None:
        with psycopg.connect(connect_named("removal"), autocommit=True) as runner:
            try:
                runner.execute(migration.text.encode())
            except psycopg.Error as exc:
                outcome.append(exc.sqlstate)

    async with await psycopg.AsyncConnection.connect(empty_dsn) as worker:
        await worker.execute(REGISTER, [CALLS_IT])
        thread = threading.Thread(target=remove)
        thread.start()
        await until_waiting(admin, "removal")
        await worker.commit()
    thread.join()
    assert outcome == ["PQ008"]
    assert await applied(admin) == {ADD}


@pytest.fixture
def connect_named(empty_dsn: str) -> Callable[[str], str]:
    """A connection string whose sessions can be told from others."""
    return lambda name: psycopg.conninfo.make_conninfo(empty_dsn, application_name=name)


async def until_waiting(admin: psycopg.AsyncConnection, name: str) -> None:
    """Wait until a session waits for a lock."""
    query = (
        "select 1 from pg_stat_activity where application_name = %s"
        " and wait_event_type = 'Lock' and datname = current_database()"
    )
    async with asyncio.timeout(30):  # seconds; a step takes milliseconds
        while await (await admin.execute(query, [name])).fetchone() is None:
            pass


async def test_a_removal_is_not_done_by_a_snapshot_that_may_lack_a_worker(
    manager: Manager, empty_dsn: str, added: Callable[[], Awaitable[None]]
) -> None:
    await added()
    dsn = psycopg.conninfo.make_conninfo(
        empty_dsn, options=r"-c default_transaction_isolation=repeatable\ read"
    )
    with pytest.raises(exceptions.WrongIsolation):
        await manager(dsn, "migrate")


async def test_psql_is_refused_as_well(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    added: Callable[[], Awaitable[None]],
    later: pathlib.Path,
    psql: Psql,
) -> None:
    await added()
    await admin.execute(REGISTER, [CALLS_IT])
    done = psql(empty_dsn, "-1", "-f", str(later / f"{REMOVE}.sql"))
    assert done.returncode
    assert "needed by 1 live workers: worker 1 (w, version 4.0.0, process 7)" in done.stderr
    assert await applied(admin) == {ADD}


async def test_a_gap_before_a_removal_is_refused(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    later: pathlib.Path,
) -> None:
    await manager(empty_dsn, "migrate")
    await admin.execute("delete from procrastinate_migrations where name = %s", [REMOVE])
    with pytest.raises(exceptions.SchemaMismatch, match=f"{REMOVE} is missing .* {REMOVE_OLD}"):
        await manager(empty_dsn, "migrate")


def test_a_removal_of_what_is_called_is_declared_and_additions_remove_nothing(
    later: pathlib.Path,
) -> None:
    newest = migrations.known()[-1].name
    drop = "drop function if exists procrastinate_fetch_jobs_v1(int);"
    for name in ("04.03.00_01_pre_drop", "04.03.00_50_post_drop"):
        text = migrations.compose(name, drop, after=newest).text
        (later / f"{name}.sql").write_text(text)
    undeclared = [each for each in lock.problems() if "does not declare" in each]
    assert undeclared == [
        f"04.03.00_{phase}_drop: drops procrastinate_fetch_jobs_v1 and does not declare it"
        for phase in ("01_pre", "50_post")
    ]


def test_a_draft_declares_what_it_removes_and_an_addition_builds_upon_additions(
    tree: pathlib.Path, later: pathlib.Path
) -> None:
    for name in (ADD, REMOVE, REMOVE_OLD, ADD_MORE):
        if name != REMOVE:
            (later / f"{name}.sql").unlink(missing_ok=True)
    text = migrations.compose(REMOVE, "drop table procrastinate_x;", after=lock.BASELINE).text
    (later / f"{REMOVE}.sql").write_text(text)
    lock.release()
    (tree / "sql/functions/old_wire/fetch_job_v2.sql").unlink()
    now = tree / "sql/functions/front/now.sql"
    now.write_text(now.read_text().replace("stable", "stable ", 1))

    pre, post = lock.draft("cut", "04.05.00")

    assert (pre.removes, post.removes) == ([], ["fetch_job_v2"])
    assert f"migration {lock.BASELINE} is missing" in pre.text
    assert f"migration {REMOVE} is missing" not in pre.text
    for name in (pre.name, REMOVE):
        assert f"migration {name} is missing" in post.text


async def test_a_worker_says_what_this_version_calls(dsn: str, connect: Connect) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
    seen: list[Any] = []

    @app.task(name="look")
    async def look() -> None:
        seen.extend(connect().execute("select description from procrastinate_workers"))

    async with app.open_async():
        await look.defer_async()
        await app.run_worker_async(wait=False, listen_notify=False)
    ((description,),) = seen
    assert description["wire"] == spoken.functions()
    assert description["procrastinate"] == procrastinate.__version__


def test_what_a_worker_says_is_all_of_the_wire() -> None:
    files = (sql.root / "functions" / "wire").glob("*.sql")
    assert spoken.functions() == sorted(path.stem for path in files)


def test_what_3_x_is_known_to_call_is_all_of_its_wire(connect: Connect) -> None:
    connect().execute("select procrastinate_register_worker_v1()")
    ((wire,),) = connect().execute("select description -> 'wire' from procrastinate_workers")
    files = (sql.root / "functions" / "old_wire").glob("*.sql")
    assert wire == sorted(path.stem for path in files)


async def test_a_worker_that_is_refused_says_so_and_ends(
    dsn: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "functions", lambda: ["fetch_jobs_v1", "gone_v1"])
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
    async with app.open_async():
        with pytest.raises(exceptions.SchemaMismatch, match="does not have: gone_v1"):
            await app.run_worker_async(wait=False, listen_notify=False)
    assert list(connect().execute("select id from procrastinate_workers")) == []
