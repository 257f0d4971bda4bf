"""
``check`` names what is missing, extra or changed in a database, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procrastinate import exceptions, migrations, sql
from tests.python.schema.managers import NEXT, Manager

if TYPE_CHECKING:
    import psycopg

# What somebody does to the database -> how the difference is told.
DAMAGES = (
    (
        "create index procrastinate_todo_more on procrastinate_todo (scheduled_at)",
        "extra: index procrastinate_todo_more",
    ),
    (
        "alter table procrastinate_jobs alter column priority set default 1",
        (
            "changed: column procrastinate_jobs.priority "
            "(expected: integer not null default 0; found: integer not null default 1)"
        ),
    ),
    (
        "alter table procrastinate_jobs drop column timeout",
        "missing: column procrastinate_jobs.timeout",
    ),
    (
        "alter table procrastinate_sweep drop constraint procrastinate_sweep_id_check",
        "missing: constraint procrastinate_sweep.procrastinate_sweep_id_check",
    ),
    (
        "alter table procrastinate_jobs reset (fillfactor)",
        "changed: table procrastinate_jobs ",
    ),
    (
        "alter table procrastinate_jobs replica identity full",
        "changed: table procrastinate_jobs ",
    ),
    (
        "alter table procrastinate_jobs disable trigger user",
        "changed: trigger procrastinate_jobs.",
    ),
    (
        (
            "create or replace function procrastinate_version() returns text "
            "language sql stable parallel safe return 'another'"
        ),
        "changed: function procrastinate_version() ",
    ),
    (
        "alter function procrastinate_version() volatile",
        "changed: function procrastinate_version() ",
    ),
    (
        "alter function procrastinate_resume_queue(text) reset all",
        "changed: function procrastinate_resume_queue(text) ",
    ),
    (
        "create function procrastinate_other(integer) returns integer language sql return 1",
        "extra: function procrastinate_other(integer)",
    ),
    ("drop view procrastinate_overview", "missing: view procrastinate_overview"),
    (
        "comment on table procrastinate_jobs is 'Something else.'",
        "changed: comment on table procrastinate_jobs ",
    ),
    (
        "grant select on procrastinate_jobs to public",
        "extra: rights of public on table procrastinate_jobs",
    ),
    (
        "grant update (priority) on procrastinate_jobs to public",
        "extra: rights of public on column procrastinate_jobs.priority",
    ),
    (
        "alter type procrastinate_job_status add value 'lost'",
        "changed: type procrastinate_job_status ",
    ),
    (
        "alter sequence procrastinate_jobs_id_seq increment 2",
        "changed: sequence procrastinate_jobs_id_seq ",
    ),
)


# What they may add all the same.
ADDITIONS = (
    ("create index mine on procrastinate_jobs (task_name)", "extra: index mine"),
    (
        (
            "create trigger theirs before update on procrastinate_jobs for each row "
            "execute function suppress_redundant_updates_trigger()"
        ),
        "extra: trigger procrastinate_jobs.theirs",
    ),
    (
        "alter table procrastinate_jobs add constraint short check (length(lock) < 99)",
        "extra: constraint procrastinate_jobs.short",
    ),
)


async def test_a_fresh_install_agrees_with_the_lock(manager: Manager, empty_dsn: str) -> None:
    await manager(empty_dsn, "apply_schema")
    assert await manager(empty_dsn, "check") == []


def differences_after(conn: psycopg.Connection, statement: str) -> list[migrations.Difference]:
    with conn.transaction(force_rollback=True):
        conn.execute(statement.encode())
        rows = conn.execute(sql.catalogue_query().encode()).fetchall()
    return migrations.compare(migrations.locked_objects(), dict(rows))


def test_each_damage_is_named(conn: psycopg.Connection) -> None:
    found = {statement: differences_after(conn, statement) for statement, _ in DAMAGES}
    for statement, said in DAMAGES:
        assert any(str(each).startswith(said) for each in found[statement]), statement
        assert not any(each.harmless for each in found[statement]), statement


def test_what_users_add_under_names_of_their_own_is_told_and_harmless(
    conn: psycopg.Connection,
) -> None:
    for statement, said in ADDITIONS:
        found = differences_after(conn, statement)
        assert [(str(each), each.harmless) for each in found] == [(said, True)]


async def test_a_manager_tells_what_is_damaged(
    manager: Manager, dsn: str, aconn: psycopg.AsyncConnection
) -> None:
    await aconn.execute("drop view procrastinate_overview")
    assert "missing: view procrastinate_overview" in [
        str(each) for each in await manager(dsn, "check")
    ]


async def test_tables_that_refer_to_ours_and_rights_of_roles_are_no_difference(
    manager: Manager, dsn: str, aconn: psycopg.AsyncConnection
) -> None:
    await aconn.execute(
        "create table orders (job_id bigint references procrastinate_jobs);"
        "grant select on procrastinate_jobs to pg_monitor"
    )
    assert await manager(dsn, "check") == []


@pytest.mark.usefixtures("two_more")
async def test_a_migration_that_is_pending_is_a_difference(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    first = migrations.known()[0]
    await admin.execute(first.text.encode())
    missing = [str(each) for each in await manager(empty_dsn, "check")]
    assert f"missing: migration {NEXT}" in missing


async def test_a_database_without_a_schema_is_refused(manager: Manager, empty_dsn: str) -> None:
    with pytest.raises(exceptions.SchemaMismatch, match="there is no schema of procrastinate"):
        await manager(empty_dsn, "check")
