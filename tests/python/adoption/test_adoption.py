"""A database of 3.x becomes one of ours, with all that it holds."""

from __future__ import annotations

import psycopg
import pytest

from procrastinate import exceptions, migrations
from tests.python.adoption import old
from tools import upstream


@pytest.mark.parametrize("state", old.STATES)
def test_every_state_of_3_x_leads_where_a_fresh_install_does(
    empty_dsn: str, state: str
) -> None:
    old.bring(empty_dsn, state)
    old.fill(empty_dsn)
    before = old.held(empty_dsn)

    assert old.migrate(empty_dsn) == ["adoption of the schema of 3.x"]

    found = old.described(empty_dsn)
    differences = migrations.compare(migrations.locked_objects(), found)
    assert [str(each) for each in differences if not each.harmless] == []
    assert old.held(empty_dsn) == before
    assert old.breaches(empty_dsn) == []
    assert old.migrate(empty_dsn) == []


@pytest.mark.parametrize("version", [upstream.OLDEST, upstream.VERSION])
def test_what_the_published_package_has_installed_is_adopted(
    empty_dsn: str, version: str
) -> None:
    with psycopg.connect(empty_dsn) as connection:
        if version == upstream.OLDEST and connection.info.server_version < 160000:
            pytest.skip(
                f"{version} needs PostgreSQL 16: its schema says json_object(key: value)"
            )
    upstream.apply_schema(empty_dsn, version)
    old.migrate(empty_dsn)
    assert old.described(empty_dsn) == migrations.locked_objects()


def test_what_was_given_numbers_goes_on_from_them(empty_dsn: str) -> None:
    old.bring(empty_dsn, "03.04.00_50_post")
    old.fill(empty_dsn)
    old.migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        for table in old.TABLES:
            newest = f"select max(id) < nextval('{table}_id_seq') from {table}"
            assert connection.execute(newest.encode()).fetchone() == (True,)


def test_foreign_keys_of_users_still_hold(empty_dsn: str) -> None:
    old.bring(empty_dsn, "03.04.00_50_post")
    old.fill(empty_dsn)
    old.migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("delete from procrastinate_jobs where id = 250")
        connection.rollback()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("insert into orders (job_id) values (-1)")


def test_a_status_that_2_x_has_left_is_the_one_that_3_x_means(empty_dsn: str) -> None:
    old.bring(empty_dsn, "no post")
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name, status)"
            " values ('q', 't', 'aborting')"
        )
    old.migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute(
            "select status::text, abort_requested from procrastinate_jobs"
        )
        assert rows.fetchall() == [("doing", True)]
    assert old.breaches(empty_dsn) == []


def test_older_ones_are_refused_and_told_what_to_step_through(empty_dsn: str) -> None:
    old.bring(empty_dsn, "02.99")
    before = old.described(empty_dsn)
    with pytest.raises(exceptions.SchemaMismatch, match=r"Step through procrastinate 3\.0\.2"):
        old.migrate(empty_dsn)
    assert old.described(empty_dsn) == before


def test_a_role_that_wrote_jobs_can_still_use_the_old_functions(empty_dsn: str) -> None:
    old.bring(empty_dsn, "03.04.00_50_post")
    role = "adoption_writer"
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f"drop role if exists {role}; create role {role}".encode())
        try:
            for name in (*old.TABLES, "procrastinate_workers"):
                grant = f"grant select, insert, update, delete on {name} to {role}"
                connection.execute(grant.encode())
            usage = f"grant usage on all sequences in schema public to {role}"
            connection.execute(usage.encode())
            old.migrate(empty_dsn)
            connection.execute(f"set role {role}".encode())
            connection.execute(
                "select procrastinate_defer_jobs_v1(array[('q', 't', 0, 'l', null, '{}', null)"
                "::procrastinate_job_to_defer_v1])"
            )
            fetched = connection.execute(
                "select j.status::text from procrastinate_register_worker_v1() as w,"
                " procrastinate_fetch_job_v2(null, w.worker_id) as j"
            )
            assert fetched.fetchall() == [("doing",)]
            connection.execute("select procrastinate_finish_job_v1(1, 'succeeded', false)")
            connection.execute("reset role")
            public = connection.execute(
                "select count(*) from pg_proc as p, aclexplode(p.proacl) as x"
                " where p.proname = 'procrastinate_finish_job_v1' and x.grantee = 0"
            )
            assert public.fetchone() == (0,)
        finally:
            connection.execute(f"reset role; drop owned by {role}; drop role {role}".encode())
    assert old.breaches(empty_dsn) == []


def test_a_role_that_only_wrote_new_jobs_can_do_no_more(empty_dsn: str) -> None:
    """The functions run as the owner: whoever may call one needs no rights on its tables."""
    old.bring(empty_dsn, "03.04.00_50_post")
    role = "adoption_producer"
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute(f"drop role if exists {role}; create role {role}".encode())
        try:
            connection.execute(
                f"grant insert, select on procrastinate_jobs to {role};"
                f"grant usage on all sequences in schema public to {role}".encode()
            )
            old.migrate(empty_dsn)
            connection.execute(f"set role {role}".encode())
            connection.execute(
                "select procrastinate_defer_jobs_v1(array[('q', 't', 0, 'l', null, '{}', null)"
                "::procrastinate_job_to_defer_v1])"
            )
            for call in (
                "procrastinate_cancel_job(1)",
                "procrastinate_purge_jobs('1 day')",
                "procrastinate_register_worker_v1()",
                "procrastinate_finish_job_v1(1, 'succeeded', true)",
                "procrastinate_create_roles()",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"select {call}".encode())
        finally:
            connection.execute(f"reset role; drop owned by {role}; drop role {role}".encode())
    assert old.breaches(empty_dsn) == []
