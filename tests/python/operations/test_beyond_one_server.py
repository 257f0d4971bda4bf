"""What docs/decisions/0131 says that the schema asks for is what the catalogue has."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from .conftest import value


def test_triggers_are_of_statements(conn: psycopg.Connection[Any]) -> None:
    rows = conn.execute(
        "select tgrelid::regclass::text, tgtype & 1 = 1 as each_row, tgtype & 2 = 2 as before"
        " from pg_trigger where not tgisinternal"
    ).fetchall()
    assert set(rows) == {("procrastinate_jobs", False, False)}
    with_tables = "select count(*) from pg_trigger where tgnewtable is not null"
    assert value(conn, with_tables) == 2


def test_only_the_queues_are_unique_by_queue(conn: psycopg.Connection[Any]) -> None:
    rows = conn.execute(
        "select distinct i.indrelid::regclass::text from pg_index as i"
        " join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)"
        " where i.indisunique and a.attname = 'queue_name'"
        " and i.indrelid::regclass::text like 'procrastinate%'"
    ).fetchall()
    assert rows == [("procrastinate_queues",)]


def test_no_foreign_key_and_no_extension(conn: psycopg.Connection[Any]) -> None:
    assert value(conn, "select count(*) from pg_constraint where contype = 'f'") == 0
    assert value(conn, "select string_agg(extname, ' ') from pg_extension") == "plpgsql"


@pytest.mark.parametrize(
    "needed",
    [
        "pg_advisory_xact_lock",
        "pg_try_advisory_xact_lock_shared",
        "skip locked",
        "pg_current_snapshot",
        "pg_locks",
        "pg_notify",
        "nextval|procrastinate_claims_seq",
    ],
)
def test_it_is_asked_for(conn: psycopg.Connection[Any], needed: str) -> None:
    query = (
        "select count(*) from pg_proc where pronamespace = 'public'::regnamespace and prosrc ~ "
    )
    assert value(conn, f"{query} '{needed}'") >= 1
