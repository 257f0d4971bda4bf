"""What a client of 3.10 finds in the catalogue is there, under its name and of its type (I8)."""

from __future__ import annotations

import pathlib

import psycopg
import pytest

from tools import upstream

TABLES = (
    "procrastinate_jobs",
    "procrastinate_events",
    "procrastinate_workers",
    "procrastinate_periodic_defers",
)
COLUMNS = """
select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    a.attidentity::text, pg_get_expr(d.adbin, d.adrelid)
from pg_class as c
join pg_attribute as a on a.attrelid = c.oid
left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
where c.relnamespace = 'public'::regnamespace and a.attnum > 0
    and (c.relkind = 'c' or c.relname = any(%s))
"""
# Their fetch returns a row of the table, ours a row with just those columns, of a type that
# stays when the table gets more: docs/decisions/0135-a-row-for-the-old-fetch.md.
FUNCTIONS = """
select p.proname, pg_get_function_arguments(p.oid),
    replace(pg_get_function_result(p.oid), 'procrastinate_fetched_job_v2', 'procrastinate_jobs')
from pg_proc as p
where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
"""
FETCHED = """
select a.attnum, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_attribute as a
join pg_type as t on t.typrelid = a.attrelid
join pg_proc as p on p.prorettype = t.oid
where p.proname = 'procrastinate_fetch_job_v2' and a.attnum > 0
order by a.attnum
"""
LABELS = """
select t.typname, e.enumsortorder, e.enumlabel
from pg_enum as e
join pg_type as t on t.oid = e.enumtypid
"""
SEQUENCES = "select sequencename, data_type::text from pg_sequences"
# the names that clients look for in errors, and check the text of
UNIQUE = """
select i.relname
from pg_index as x
join pg_class as i on i.oid = x.indexrelid
where x.indisunique and not x.indisprimary and i.relnamespace = 'public'::regnamespace
"""
# Our triggers raise it, by the same name and code: docs/decisions/0067-few-statements.md.
RAISED = {("check_not_todo_abort_requested",)}
CHECKS = "select conname from pg_constraint where contype in ('c', 'u') and conrelid > 0"


@pytest.fixture
def old(old_python: pathlib.Path, empty_dsn: str) -> psycopg.Connection:
    """A connection to a database that holds 3.10's schema."""
    assert old_python.exists()
    upstream.apply_schema(empty_dsn)
    return psycopg.connect(empty_dsn, autocommit=True)


def test_all_that_3_10_has_in_the_catalogue_is_in_ours(
    old: psycopg.Connection, conn: psycopg.Connection
) -> None:
    with old:
        for query, args in (
            (COLUMNS, [list(TABLES)]),
            (FUNCTIONS, None),
            (LABELS, None),
            (SEQUENCES, None),
            (UNIQUE, None),
            (CHECKS, None),
        ):
            theirs = set(old.execute(query.encode(), args).fetchall())
            ours = set(conn.execute(query.encode(), args).fetchall())
            assert theirs
            assert theirs - ours == (RAISED if query is CHECKS else set())


def test_a_fetch_returns_the_columns_that_it_returns_there(
    old: psycopg.Connection, conn: psycopg.Connection
) -> None:
    with old:
        theirs = old.execute(FETCHED).fetchall()
    assert len(theirs) == 12
    assert conn.execute(FETCHED).fetchall() == theirs


def test_no_new_column_is_ambiguous_where_two_of_the_old_tables_are_joined(
    old: psycopg.Connection, conn: psycopg.Connection
) -> None:
    """3.10's statements, and users' own, name columns without their table."""
    names = """
    select attname from pg_attribute
    where attrelid = any(%s::regclass[]) and attnum > 0 and not attisdropped
    group by attname having count(*) > 1
    """
    with old:
        theirs = old.execute(names, [list(TABLES)]).fetchall()
    assert set(conn.execute(names, [list(TABLES)]).fetchall()) == set(theirs)
