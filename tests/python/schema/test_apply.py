"""
The schema is installed by Python or psql, once, whole, in whatever schema comes first.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
import psycopg.conninfo
import pytest

from procrastinate import exceptions, migrations, schema, sql

if TYPE_CHECKING:
    from tests.python.schema.managers import Manager

Psql = Callable[..., "subprocess.CompletedProcess[str]"]
InSchema = Callable[[str, str], str]

OURS = """
select n.nspname, count(*)
from pg_proc as p inner join pg_namespace as n on p.pronamespace = n.oid
where p.proname ~ '^_?procrastinate'
group by n.nspname
"""


@pytest.fixture
def script(tmp_path: pathlib.Path) -> str:
    """The schema in a file, for psql."""
    path = tmp_path / "schema.sql"
    path.write_text(schema.SchemaManager.get_schema(), encoding="utf-8")
    return str(path)


async def schemas_with_ours(admin: psycopg.AsyncConnection) -> list[str]:
    return [row[0] for row in await (await admin.execute(OURS)).fetchall()]


def test_the_schema_begins_as_3_x_does() -> None:
    assert schema.SchemaManager.get_schema().startswith("-- Procrastinate Schema\n")


def test_the_path_of_migrations_is_a_directory_of_plain_sql_files() -> None:
    path = pathlib.Path(schema.SchemaManager.get_migrations_path())
    assert path.parts[-2:] == ("sql", "migrations")
    names = [file.stem for file in path.iterdir()]
    assert names
    assert all(migrations.NAME.fullmatch(name) for name in names)


async def test_applying_makes_a_queue_that_takes_jobs(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    await manager(empty_dsn, "apply_schema")
    cursor = await admin.execute("select procrastinate_defer_job('a_queue', 'a_task')")
    assert await cursor.fetchone() == (1,)


async def test_applying_records_the_migrations_that_it_stands_for(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    await manager(empty_dsn, "apply_schema")
    cursor = await admin.execute(
        "select name, sha256, applied_by = current_user "
        "from procrastinate_migrations order by name"
    )
    assert await cursor.fetchall() == [
        (each.name, each.digest, True) for each in migrations.known()
    ]


async def test_applying_twice_fails_as_3_x_does_and_changes_nothing(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    await manager(empty_dsn, "apply_schema")
    await admin.execute(
        "insert into procrastinate_jobs (queue_name, task_name) values ('q', 't')"
    )
    with pytest.raises(exceptions.ConnectorException) as caught:
        await manager(empty_dsn, "apply_schema")
    assert str(caught.value.__cause__) == 'type "procrastinate_job_status" already exists'
    cursor = await admin.execute("select count(*) from procrastinate_jobs")
    assert await cursor.fetchone() == (1,)


@pytest.mark.parametrize("options", [("-1",), ()], ids=["one transaction", "autocommit"])
async def test_psql_applies_the_file_and_gets_its_search_path_back(
    psql: Psql, empty_dsn: str, script: str, options: tuple[str, ...], in_schema: InSchema
) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create schema a")
    settings = (
        "select current_setting('search_path'), current_setting('procrastinate.caller_path')"
    )
    done = psql(
        in_schema(empty_dsn, "a, public"),
        "-q",
        "-A",
        "-t",
        *options,
        "-f",
        script,
        "-c",
        settings,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a, public|\n"
    assert done.stderr == ""
    with psycopg.connect(empty_dsn) as conn:
        assert [row[0] for row in conn.execute(OURS)] == ["a"]
        configs = conn.execute(
            "select distinct s from pg_proc as p, unnest(p.proconfig) as s "
            "where p.proname ~ '^_?procrastinate' and s ^@ 'search_path'"
        ).fetchall()
    assert configs == [("search_path=a, pg_temp",)]


def test_a_search_path_of_the_callers_transaction_ends_with_it(
    empty_dsn: str, connect: object
) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create schema a")
        with conn.transaction():
            conn.execute("set local search_path = a")
            conn.execute(migrations.one_file_schema().encode())
            assert conn.execute("show search_path").fetchone() == ("a",)
        assert conn.execute("show search_path").fetchone() == ('"$user", public',)


async def test_no_object_of_another_schema_is_taken_for_ours(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection, in_schema: InSchema
) -> None:
    # Everything by the right name, and wrong: whoever used one of them would fail.
    await admin.execute(
        """
        create schema "My Queue";
        create type procrastinate_job_status as enum ('hostile');
        create table procrastinate_jobs (hostile integer);
        create table procrastinate_migrations (hostile integer);
        create function procrastinate_now() returns integer language sql return 1 / 0;
        create function hashtext(text) returns integer language sql return 1 / 0;
        """
    )
    dsn = in_schema(empty_dsn, '"My Queue", public')
    await manager(dsn, "apply_schema")
    async with await psycopg.AsyncConnection.connect(empty_dsn) as conn:
        # By its full name, from a session whose search_path sees only the hostile ones.
        await conn.execute("select \"My Queue\".procrastinate_defer_job('q', 't', lock => 'l')")
        cursor = await conn.execute('select status::text from "My Queue".procrastinate_jobs')
        assert await cursor.fetchone() == ("todo",)
    assert await manager(dsn, "migrate") == []
    assert await manager(dsn, "check") == []


async def test_a_role_that_owns_no_more_than_the_schema_can_install_it(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection
) -> None:
    await admin.execute(
        "create role schema_owner login; create schema authorization schema_owner"
    )
    try:
        dsn = psycopg.conninfo.make_conninfo(
            empty_dsn, options=r"-c role=schema_owner -c search_path=schema_owner"
        )
        await manager(dsn, "apply_schema")
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            cursor = await conn.execute("select procrastinate_defer_job('q', 't')")
            assert await cursor.fetchone() == (1,)
        assert await manager(dsn, "check") == []
    finally:
        await admin.execute("drop owned by schema_owner; drop role schema_owner")


async def test_a_search_path_without_a_schema_is_refused(
    manager: Manager, empty_dsn: str, in_schema: InSchema
) -> None:
    with pytest.raises(exceptions.ConnectorException) as caught:
        await manager(in_schema(empty_dsn, "nowhere"), "apply_schema")
    assert isinstance(caught.value.__cause__, psycopg.errors.InvalidSchemaName)


@pytest.mark.parametrize(
    ("verb", "words"),
    [("apply_schema", "holds the tables of procrastinate 3.x"), ("migrate", "older than 3.0")],
)
async def test_tables_that_cannot_be_ours_are_refused_and_left_alone(
    manager: Manager, empty_dsn: str, admin: psycopg.AsyncConnection, verb: str, words: str
) -> None:
    await admin.execute("create table procrastinate_jobs (id bigserial)")
    with pytest.raises(exceptions.SchemaMismatch) as caught:
        await manager(empty_dsn, verb)
    assert words in str(caught.value.__cause__ or caught.value)
    assert await schemas_with_ours(admin) == []


async def test_psql_that_goes_on_after_errors_adds_nothing_to_the_tables_of_3_x(
    psql: Psql, empty_dsn: str, admin: psycopg.AsyncConnection, script: str
) -> None:
    await admin.execute("create table procrastinate_jobs (id bigserial)")
    done = psql(empty_dsn, "-q", "-v", "ON_ERROR_STOP=0", "-f", script)
    assert 'schema "public" holds the tables of procrastinate 3.x' in done.stderr
    cursor = await admin.execute(
        "select relname from pg_class where relname ~ '^_?procrastinate' and relkind = 'r'"
    )
    assert await cursor.fetchall() == [("procrastinate_jobs",)]
    assert await schemas_with_ours(admin) == []


def test_the_same_text_is_printed_without_the_command_line() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "procrastinate.sql", "--read"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == schema.SchemaManager.get_schema()
    assert sql.read("foot.sql") in printed.stdout
