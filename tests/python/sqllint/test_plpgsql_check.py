"""Every function is read by plpgsql_check, which knows the types of every statement."""

from __future__ import annotations

import psycopg

from procrastinate import migrations
from procrastinate.contrib.embedded import EmbeddedServer

# What speaks of style of types alone (performance) is left out: a cast of a small number is not
# worth the words that avoid it.
CHECK = """
select
    p.oid::regprocedure::text, c.lineno, c.level, c.message, c.detail, c.query
from pg_proc as p
join pg_language as l on l.oid = p.prolang and l.lanname = 'plpgsql'
left join lateral (
    select t.tgrelid, t.tgoldtable, t.tgnewtable
    from pg_trigger as t
    where t.tgfoid = p.oid
    limit 1
) as t on true
cross join lateral plpgsql_check_function_tb(
    p.oid,
    coalesce(t.tgrelid, 0),
    oldtable => t.tgoldtable,
    newtable => t.tgnewtable,
    fatal_errors => false,
    other_warnings => true,
    extra_warnings => true,
    security_warnings => true,
    performance_warnings => false
) as c
where p.pronamespace = 'public'::regnamespace
    -- an assignment is a simple expression, where PERFORM would run a query
    and c.message <> 'never read variable "v_ok"'
    -- its statements are made by format(), of what the catalogue says and of names quoted by %I
    and not (p.proname = 'procrastinate_create_roles' and c.level = 'security')
order by 1, 2
"""


def test_every_function_passes(checking_server: EmbeddedServer) -> None:
    with psycopg.connect(checking_server.dsn(), autocommit=True) as connection:
        connection.execute("create database checked")
    with psycopg.connect(checking_server.dsn("checked"), autocommit=True) as connection:
        connection.execute("set plpgsql.extra_errors = 'all'")
        connection.execute(migrations.one_file_schema().encode())
        connection.execute("create schema checking")
        connection.execute("create extension plpgsql_check schema checking")
        connection.execute("set search_path to public, checking")

        faults = connection.execute(CHECK).fetchall()

    assert not faults, "\n".join(str(fault) for fault in faults)


def test_it_would_find_a_fault(checking_server: EmbeddedServer) -> None:
    with psycopg.connect(checking_server.dsn(), autocommit=True) as connection:
        connection.execute("create database faulty")
    with psycopg.connect(checking_server.dsn("faulty"), autocommit=True) as connection:
        connection.execute("create schema checking")
        connection.execute("create extension plpgsql_check schema checking")
        connection.execute("set search_path to public, checking")
        connection.execute(
            "create function f() returns void language plpgsql as"
            " $$ begin perform no_such_column from pg_class; end $$"
        )
        ((_, _, level, message, _, _),) = connection.execute(CHECK).fetchall()

        assert level == "error"
        assert "no_such_column" in message
