"""
Migrations lead where the fresh install leads, each once, and refuse what does not fit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.conninfo
import pytest

from procrastinate import exceptions, migrations, sql
from tests.python.schema.managers import AFTER_NEXT, NEXT, Manager

if TYPE_CHECKING:
    import pathlib
    import subprocess

Psql = Callable[..., "subprocess.CompletedProcess[str]"]
Waiting = Callable[[int], Awaitable[list[int]]]

# What the description leaves out: who may do what, spelled as the server keeps it.
RIGHTS = """
select 'relation ' || relname as name, relacl::text as acl, relowner::regrole::text as owner
from pg_class where relname ~ '^_?procrastinate'
union all
select 'function ' || p.oid::regprocedure, proacl::text, proowner::regrole::text
from pg_proc as p where proname ~ '^_?procrastinate'
union all
select 'type ' || typname, typacl::text, typowner::regrole::text
from pg_type where typname ~ '^_?procrastinate'
union all
select 'column ' || attrelid::regclass || '.' || attname, attacl::text, null
from pg_attribute where attacl is not null and attrelid::regclass::text ~ '^_?procrastinate'
"""


async def whole_catalogue(admin: psycopg.AsyncConnection) -> dict[str, Any]:
    described = await (await admin.execute(sql.catalogue_query().encode())).fetchall()
    rights = await (await admin.execute(RIGHTS)).fetchall()
    return {row[0]: row[1:] for row in described} | {
        f"rights of {row[0]}": row[1:] for row in rights
    }


async def recorded(admin: psycopg.AsyncConnection) -> list[str]:
    cursor = await admin.execute("select name from procrastinate_migrations order by name")
    return [row[0] for row in await cursor.fetchall()]


async def tables(admin: psycopg.AsyncConnection) -> set[str]:
    cursor = await admin.execute(
        "select relname from pg_class where relname ~ '^_?procrastinate'"
    )
    return {row[0] for row in await cursor.fetchall()}


async def test_every_migration_from_the_first_leads_where_a_fresh_install_does(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    await manager(empty_dsn, "apply_schema")
    fresh = await whole_catalogue(admin)
    await admin.execute("drop schema public cascade; create schema public")
    assert await manager(empty_dsn, "migrate") == [each.name for each in migrations.known()]
    migrated = await whole_catalogue(admin)
    assert migrated.keys() == fresh.keys()
    assert {name: value for name, value in migrated.items() if value != fresh[name]} == {}


async def test_migrating_twice_does_nothing_the_second_time(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    assert await manager(empty_dsn, "migrate") == [each.name for each in migrations.known()]
    cursor = await admin.execute("select * from procrastinate_migrations")
    before = await cursor.fetchall()
    assert await manager(empty_dsn, "plan") == []
    assert await manager(empty_dsn, "migrate") == []
    cursor = await admin.execute("select * from procrastinate_migrations")
    assert await cursor.fetchall() == before


async def test_a_fresh_install_has_nothing_to_migrate(manager: Manager, empty_dsn: str) -> None:
    await manager(empty_dsn, "apply_schema")
    assert await manager(empty_dsn, "migrate") == []


async def test_what_is_pending_is_applied_in_order_and_recorded_with_its_digest(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    two_more: pathlib.Path,
) -> None:
    aside = [(two_more / f"{name}.sql").rename(two_more / name) for name in (NEXT, AFTER_NEXT)]
    await manager(empty_dsn, "migrate")
    for path in aside:
        path.rename(f"{path}.sql")
    assert await manager(empty_dsn, "plan") == [NEXT, AFTER_NEXT]
    assert await manager(empty_dsn, "migrate") == [NEXT, AFTER_NEXT]
    cursor = await admin.execute("select name, sha256 from procrastinate_migrations order by 1")
    assert await cursor.fetchall() == [(each.name, each.digest) for each in migrations.known()]


async def test_an_edited_file_is_refused_by_name_before_anything_is_applied(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    two_more: pathlib.Path,
) -> None:
    path = two_more / f"{AFTER_NEXT}.sql"
    path.write_text(path.read_text().replace("drop table", "drop table if exists"))
    with pytest.raises(exceptions.SchemaMismatch, match=f"migration {AFTER_NEXT} was edited"):
        await manager(empty_dsn, "migrate")
    assert await tables(admin) == set()


async def test_a_file_edited_since_it_was_applied_is_refused_by_name(
    manager: Manager, empty_dsn: str, two_more: pathlib.Path
) -> None:
    await manager(empty_dsn, "migrate")
    path = two_more / f"{NEXT}.sql"
    other = migrations.Migration(
        name=NEXT, text=path.read_text().replace("(id integer)", "(id bigint)")
    ).stamped()
    path.write_text(other.text)
    with pytest.raises(exceptions.SchemaMismatch, match=f"{NEXT} was edited since"):
        await manager(empty_dsn, "migrate")


async def test_a_missing_file_is_refused_by_name(
    manager: Manager, empty_dsn: str, two_more: pathlib.Path
) -> None:
    await manager(empty_dsn, "migrate")
    (two_more / f"{NEXT}.sql").unlink()
    with pytest.raises(exceptions.SchemaMismatch, match=f"{NEXT} .* file is missing"):
        await manager(empty_dsn, "migrate")


async def test_a_database_of_a_newer_version_is_refused_by_the_migrations_name(
    manager: Manager, empty_dsn: str, two_more: pathlib.Path
) -> None:
    await manager(empty_dsn, "migrate")
    (two_more / f"{AFTER_NEXT}.sql").unlink()
    with pytest.raises(exceptions.SchemaMismatch, match=f"{AFTER_NEXT} .* is newer"):
        await manager(empty_dsn, "migrate")


async def test_a_gap_in_what_was_applied_is_refused_by_name(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection, two_more: pathlib.Path
) -> None:
    await manager(empty_dsn, "migrate")
    await admin.execute("delete from procrastinate_migrations where name = %s", [NEXT])
    with pytest.raises(exceptions.SchemaMismatch, match=f"migration {NEXT} is missing"):
        await manager(empty_dsn, "migrate")


async def test_a_migration_that_fails_leaves_nothing_and_the_ones_before_it(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection, two_more: pathlib.Path
) -> None:
    good = (two_more / f"{AFTER_NEXT}.sql").read_text()
    bad = migrations.compose(
        AFTER_NEXT, "create table procrastinate_half (id integer); select 1 / 0;", after=NEXT
    )
    (two_more / f"{AFTER_NEXT}.sql").write_text(bad.text)
    with pytest.raises(exceptions.ConnectorException) as caught:
        await manager(empty_dsn, "migrate")
    assert isinstance(caught.value.__cause__, psycopg.errors.DivisionByZero)
    assert "procrastinate_half" not in await tables(admin)
    assert (await recorded(admin))[-1] == NEXT
    (two_more / f"{AFTER_NEXT}.sql").write_text(good)
    assert await manager(empty_dsn, "migrate") == [AFTER_NEXT]


async def test_a_runner_killed_in_the_middle_leaves_nothing_and_the_next_one_goes_on(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    two_more: pathlib.Path,
    waiting: Waiting,
) -> None:
    stopping = migrations.compose(
        NEXT,
        "create table procrastinate_next (id integer); select pg_advisory_xact_lock(7);",
        after=migrations.known()[0].name,
    )
    (two_more / f"{NEXT}.sql").write_text(stopping.text)
    await admin.execute("select pg_advisory_lock(7)")
    run = asyncio.create_task(asyncio.to_thread(asyncio.run, manager(empty_dsn, "migrate")))
    (pid,) = await waiting(1)
    await admin.execute("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(exceptions.ConnectorException):
        await run
    await admin.execute("select pg_advisory_unlock(7)")
    assert "procrastinate_next" not in await tables(admin)
    assert await manager(empty_dsn, "migrate") == [NEXT, AFTER_NEXT]


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_of_two_runners_one_applies_and_the_other_waits_and_does_nothing(
    manager: Manager,
    empty_dsn: str,
    admin: psycopg.AsyncConnection,
    two_more: pathlib.Path,
    waiting: Waiting,
    isolation: str,
) -> None:
    dsn = psycopg.conninfo.make_conninfo(
        empty_dsn, options=r"-c default_transaction_isolation=" + isolation.replace(" ", r"\ ")
    )
    lock = "(hashtext('procrastinate_migrations'), hashtext('public'))"
    await admin.execute(f"select pg_advisory_lock{lock}")
    runs = [
        asyncio.create_task(asyncio.to_thread(asyncio.run, manager(dsn, "migrate")))
        for _ in range(2)
    ]
    await waiting(2)
    await admin.execute(f"select pg_advisory_unlock{lock}")
    done = await asyncio.gather(*runs)
    # Between two migrations the other may go first: each was applied once, by one of them.
    assert sorted(name for names in done for name in names) == [
        each.name for each in migrations.known()
    ]
    assert await recorded(admin) == [each.name for each in migrations.known()]


async def test_an_install_and_a_migration_at_once_make_one_schema(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection, waiting: Waiting
) -> None:
    lock = "(hashtext('procrastinate_migrations'), hashtext('public'))"
    await admin.execute(f"select pg_advisory_lock{lock}")
    install = asyncio.create_task(
        asyncio.to_thread(asyncio.run, manager(empty_dsn, "apply_schema"))
    )
    await waiting(1)
    migrate = asyncio.create_task(asyncio.to_thread(asyncio.run, manager(empty_dsn, "migrate")))
    await waiting(2)
    await admin.execute(f"select pg_advisory_unlock{lock}")
    await install
    assert await migrate == []
    assert await manager(empty_dsn, "check") == []


def test_psql_applies_each_file_and_python_sees_that_it_was_done(
    psql: Psql, empty_dsn: str, two_more: pathlib.Path
) -> None:
    for migration in migrations.known():
        done = psql(empty_dsn, "-q", "-1", "-f", str(two_more / f"{migration.name}.sql"))
        assert (done.returncode, done.stderr) == (0, "")
    assert asyncio.run(Manager(colour="sync")(empty_dsn, "migrate")) == []


def test_psql_can_apply_no_file_twice_and_none_before_its_time(
    psql: Psql, empty_dsn: str, two_more: pathlib.Path
) -> None:
    def apply(name: str) -> str:
        return psql(empty_dsn, "-q", "-1", "-f", str(two_more / f"{name}.sql")).stderr

    first = migrations.known()[0].name
    assert f"migration {first} is missing" in apply(NEXT)
    assert apply(first) == ""
    assert f"migration {first} was already applied" in apply(first)
    assert f"migration {NEXT} is missing" in apply(AFTER_NEXT)
    assert apply(NEXT) == ""
    assert f"migration {NEXT} was already applied" in apply(NEXT)
