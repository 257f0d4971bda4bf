"""The way back to 3.x, with all that 3.x can hold."""

from __future__ import annotations

import psycopg
import pytest

import procrastinate
from procrastinate import exceptions
from tests.python.adoption import old
from tests.python.adoption.bare import Bare
from tests.python.adoption.mortal import migrate_until
from tools import upstream


def revert(dsn: str, script: str) -> None:
    with procrastinate.App(
        connector=procrastinate.SyncPsycopgConnector(conninfo=dsn)
    ).open() as app:
        app.schema_manager.revert(script)


def test_the_way_back_leads_where_3_10_s_own_schema_does_and_forth_again(
    empty_dsn: str,
) -> None:
    upstream.apply_schema(empty_dsn)
    old.fill(empty_dsn)
    schema, data = old.described(empty_dsn), old.held(empty_dsn)
    bare = Bare(empty_dsn)
    nothing = bare.fetch()
    old.migrate(empty_dsn)
    assert bare.fetch() == nothing

    revert(empty_dsn, upstream.read_schema())

    assert bare.fetch() == nothing
    assert old.described(empty_dsn) == schema
    assert old.held(empty_dsn) == data
    old.migrate(empty_dsn)
    assert bare.fetch() == nothing
    bare.connection.close()
    assert old.held(empty_dsn) == data
    assert old.breaches(empty_dsn) == []


def test_what_was_made_since_goes_back_too(empty_dsn: str) -> None:
    upstream.apply_schema(empty_dsn)
    old.migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
        connection.execute(
            "select procrastinate_fetch_jobs_v1(procrastinate_register_worker_v2('w'), null, 1)"
        )
        connection.execute("delete from procrastinate_workers")
        connection.execute("select procrastinate_defer_job('q', 't')")

    revert(empty_dsn, upstream.read_schema())

    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute("select status::text from procrastinate_jobs order by id")
        assert rows.fetchall() == [("doing",), ("todo",)]
        # its triggers are at work again
        connection.execute("update procrastinate_jobs set status = 'succeeded' where id = 1")
        rows = connection.execute(
            "select type::text from procrastinate_events where job_id = 1 order by id"
        )
        assert rows.fetchall() == [("deferred",), ("started",), ("succeeded",)]


@pytest.mark.parametrize("before", ["procrastinate_adoption_notes", "_procrastinate_adopt(20"])
def test_the_way_back_ends_an_adoption_that_was_begun(empty_dsn: str, before: str) -> None:
    upstream.apply_schema(empty_dsn)
    old.fill(empty_dsn)
    schema, data = old.described(empty_dsn), old.held(empty_dsn)
    assert migrate_until(empty_dsn, lambda _, query: before in query)
    assert old.described(empty_dsn) != schema

    revert(empty_dsn, upstream.read_schema())

    assert old.described(empty_dsn) == schema
    assert old.held(empty_dsn) == data


def test_only_a_schema_of_3_x_is_taken_for_one(dsn: str) -> None:
    before = old.described(dsn)
    with pytest.raises(exceptions.SchemaMismatch, match="schema --read"):
        revert(dsn, "create table procrastinate_jobs_of_mine (id integer);")
    assert old.described(dsn) == before
