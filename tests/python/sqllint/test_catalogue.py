"""What holds for every object of the schema, read from the catalogue."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

import procrastinate.sql

OURS = "pronamespace = 'public'::regnamespace and p.proname ~ '^_?procrastinate_'"

# Helpers used inside queries: a setting would forbid inlining, and their bodies are bound to
# their objects when they are created.
BOUND = "p.prosqlbody is not null"

# Declared strict: a null has no answer. None of them changes anything.
PURE = {
    "_procrastinate_lock_key",
    "_procrastinate_all_locks_key",
    "_procrastinate_channel",
}

# Anyone may call these: they read and write nothing, and say what is wrong with an argument to
# whoever may call a function that takes it.
OPEN = {
    "_procrastinate_derives"
}  # the condition of a trigger: whoever may update jobs calls it

FILTERS = [
    "queue_name",
    "task_name",
    "status",
    "lock",
    "queueing_lock",
    "older_than",
    "newer_than",
    "job_ids",
    "all_jobs",
]

FRONT_PARAMETERS = {
    "procrastinate_abort_job": ["job_id"],
    "procrastinate_cancel_job": ["job_id", "abort", "delete_job"],
    "procrastinate_cancel_jobs": [
        *FILTERS,
        "abort",
        "delete_jobs",
        "dry_run",
        "after_id",
        "max_jobs",
    ],
    "procrastinate_check": [],
    "procrastinate_create_roles": ["producer", "worker", "operator", "auditor"],
    "procrastinate_defer_job": [
        "queue_name",
        "task_name",
        "priority",
        "lock",
        "queueing_lock",
        "args",
        "scheduled_at",
        "timeout",
        "heartbeat",
        "ttl",
        "max_attempts",
        "retry_delay",
        "retry_backoff",
        "retry_delay_cap",
        "retry_jitter",
        "key",
        "group_key",
        "keep_result",
    ],
    "procrastinate_defer_jobs": ["jobs"],
    "procrastinate_explain_job": ["job_id"],
    "procrastinate_get_result": ["job_id"],
    "procrastinate_now": [],
    "procrastinate_pause_queue": ["queue_name", "reason", "until"],
    "procrastinate_prune_stalled_workers": ["older_than"],
    "procrastinate_purge_jobs": ["older_than", "queue_name", "statuses", "max_jobs"],
    "procrastinate_recover_stalled_jobs": ["older_than", "max_jobs"],
    "procrastinate_repair": [],
    "procrastinate_reschedule_job": ["job_id", "scheduled_at"],
    "procrastinate_resume_queue": ["queue_name"],
    "procrastinate_retry_job": ["job_id", "retry_at", "priority", "queue_name", "lock"],
    "procrastinate_retry_jobs": [
        *FILTERS,
        "retry_at",
        "dry_run",
        "after_id",
        "max_jobs",
    ],
    "procrastinate_version": [],
    "procrastinate_watch_job": ["job_id"],
}


def rows(conn: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return conn.execute(query.encode()).fetchall()


def names(conn: psycopg.Connection, condition: str) -> list[str]:
    return [
        name
        for (name,) in rows(
            conn, f"select p.proname from pg_proc as p where {OURS} and {condition} order by 1"
        )
    ]


def family(name: str) -> str:
    """The directory of the file that a function is in."""
    found = [
        path.relative_to(procrastinate.sql.root).parts
        for path in procrastinate.sql.root.rglob("*.sql")
        if path.parent.name != "migrations"
        and re.search(rf"^create function {name}\(", path.read_text(), re.MULTILINE)
    ]
    assert len(found) == 1, f"{name} is created in {len(found)} files"
    return found[0][-2]


def test_every_object_has_a_comment(conn: psycopg.Connection) -> None:
    bare = rows(
        conn,
        """
        select 'function ' || p.oid::regprocedure
        from pg_proc as p
        where p.pronamespace = 'public'::regnamespace
            and obj_description(p.oid, 'pg_proc') is null
        union all
        select 'type ' || t.oid::regtype
        from pg_type as t
        left join pg_class as c on c.oid = t.typrelid
        where t.typnamespace = 'public'::regnamespace
            and (t.typtype = 'e' or c.relkind = 'c')
            and obj_description(t.oid, 'pg_type') is null
        union all
        select 'relation ' || c.oid::regclass
        from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
            and obj_description(c.oid, 'pg_class') is null
        """,
    )

    assert not bare


def test_a_comment_is_one_sentence_or_two(conn: psycopg.Connection) -> None:
    for name, comment in rows(
        conn,
        f"select p.proname, obj_description(p.oid, 'pg_proc') from pg_proc as p where {OURS}",
    ):
        assert comment.endswith("."), name
        assert "\n" not in comment, name
        assert len(comment) <= 120, name


def test_nothing_is_open_to_public_but_the_condition_of_a_trigger(
    conn: psycopg.Connection,
) -> None:
    assert set(names(conn, "has_function_privilege('public', p.oid, 'execute')")) == OPEN
    assert not rows(
        conn,
        """
        select c.oid::regclass::text
        from pg_class as c
        cross join lateral aclexplode(c.relacl) as a
        where c.relnamespace = 'public'::regnamespace and a.grantee = 0
        """,
    )


def test_what_is_open_touches_no_table(conn: psycopg.Connection) -> None:
    for name in OPEN:
        ((source,),) = rows(
            conn, f"select p.prosrc from pg_proc as p where p.proname = '{name}'"
        )
        assert not re.search(r"\b(from|into|update|table)\s+procrastinate_", source), name


def test_what_others_are_granted_runs_as_the_owner_and_nothing_else(
    conn: psycopg.Connection,
) -> None:
    """An inner function that did would be a door; a front one that did not would need tables."""
    of_caller = {"procrastinate_now", "procrastinate_channels_v1", "procrastinate_create_roles"}
    assert {
        name
        for name, definer in rows(
            conn,
            f"""
            select p.proname, p.prosecdef
            from pg_proc as p where {OURS} and p.prorettype <> 'trigger'::regtype
            """,
        )
        if definer == (name.startswith("_") or name in of_caller)
    } == set()


def test_what_updates_jobs_as_the_owner_obeys_no_setting_of_the_caller(
    conn: psycopg.Connection,
) -> None:
    """The setting says that a statement derives all by itself: an update beside it does not."""
    sets_it_itself = {
        "procrastinate_fetch_jobs_v1",
        "procrastinate_finish_and_fetch_v1",
        "procrastinate_finish_and_fetch_v2",
        "procrastinate_finish_jobs_v1",
    }
    writes_no_job_that_there_is = {
        "procrastinate_announce_ends_v1",
        "procrastinate_heartbeat_v1",
        "procrastinate_heartbeat_v2",
        "procrastinate_list_writers_v1",
        "procrastinate_pause_queue",
        "procrastinate_register_worker_v1",
        "procrastinate_register_worker_v2",
        "procrastinate_resume_queue",
        "procrastinate_set_quiet_v1",
        "procrastinate_update_heartbeat_v1",
        "procrastinate_watch_job",
    }
    pinned = set(names(conn, r"p.prosrc ~ 'perform _procrastinate_clear_derived\(\)'"))
    volatile = set(names(conn, "p.prosecdef and p.provolatile = 'v'"))
    volatile -= set(names(conn, "p.prorettype = 'trigger'::regtype"))
    volatile -= {name for name in volatile if "defer" in name}
    assert volatile - pinned == sets_it_itself | writes_no_job_that_there_is


def test_a_trigger_that_writes_derived_tables_runs_as_the_owner(
    conn: psycopg.Connection,
) -> None:
    assert not names(conn, "p.prorettype = 'trigger'::regtype and not p.prosecdef")


def test_no_function_is_overloaded(conn: psycopg.Connection) -> None:
    assert not rows(
        conn,
        f"select p.proname from pg_proc as p where {OURS} group by 1 having count(*) > 1",
    )


def test_every_body_resolves_names_in_the_schema_that_it_was_installed_in(
    conn: psycopg.Connection,
) -> None:
    for name, config, bound in rows(
        conn, f"select p.proname, p.proconfig, {BOUND} from pg_proc as p where {OURS}"
    ):
        settings: list[str] = config or []
        path = [entry for entry in settings if entry.startswith("search_path=")]
        if not bound:
            assert path == ["search_path=public, pg_temp"], name
        else:
            assert path in ([], ["search_path=public, pg_temp"]), name


def test_plpgsql_or_a_bound_sql_body_and_nothing_else(conn: psycopg.Connection) -> None:
    assert not names(
        conn,
        f"""
        not (
            (select l.lanname from pg_language as l where l.oid = p.prolang) = 'plpgsql'
            or {BOUND}
        )
        """,
    )


def test_strict_is_for_pure_helpers(conn: psycopg.Connection) -> None:
    assert set(names(conn, "p.proisstrict")) <= PURE


def test_what_is_immutable_reads_no_table_clock_or_setting(conn: psycopg.Connection) -> None:
    for name, source in rows(
        conn,
        f"""
        select p.proname, pg_get_functiondef(p.oid)
        from pg_proc as p where {OURS} and p.provolatile = 'i'
        """,
    ):
        assert not re.search(
            r"\b(from\s+(public\.)?procrastinate_|now\(|current_setting|clock_timestamp)",
            source,
            re.IGNORECASE,
        ), name


def test_what_writes_is_volatile_and_runs_in_no_parallel_worker(
    conn: psycopg.Connection,
) -> None:
    writes = re.compile(
        r"^\s*(insert into|update|delete from|lock table)\s|pg_notify|advisory|nextval|"
        r"set_config|for (no key )?update|for (key )?share",
        re.MULTILINE,
    )
    for name, volatility, parallel, source in rows(
        conn,
        f"""
        select p.proname, p.provolatile, p.proparallel, p.prosrc
        from pg_proc as p where {OURS}
        """,
    ):
        if writes.search(source):
            assert (volatility, parallel) == ("v", "u"), name


def test_attributes_are_written_out_even_when_default() -> None:
    for path in sorted(procrastinate.sql.root.glob("**/*.sql")):
        if path.parent.name == "migrations":
            continue
        for header in re.findall(
            r"^create function .*?(?=^as \$\$|^return |^begin atomic)",
            path.read_text(),
            re.MULTILINE | re.DOTALL,
        ):
            assert re.search(r"language (plpgsql|sql)\b", header), path
            assert re.search(r"\b(volatile|stable|immutable)\b", header), path
            assert re.search(r"\bparallel (unsafe|restricted|safe)\b", header), path
            if "language plpgsql" in header:
                assert "set search_path from current" in header, path


@pytest.mark.parametrize("where", ["wire", "inner"])
def test_arguments_of_wire_and_inner_cannot_be_taken_for_columns(
    conn: psycopg.Connection, where: str
) -> None:
    for name, arguments, modes in rows(
        conn,
        f"""
        select p.proname, coalesce(p.proargnames, '{{}}'), p.proargmodes::text[]
        from pg_proc as p where {OURS} and p.prorettype <> 'trigger'::regtype
        """,
    ):
        if name == "procrastinate_now" or family(name) != where:
            continue
        for argument, mode in zip(arguments, modes or ["i"] * len(arguments), strict=True):
            if mode in {"i", "b"}:
                assert argument.startswith("p_"), f"{name}({argument})"


def test_the_front_door_is_stable_for_ever(conn: psycopg.Connection) -> None:
    """Plain words, which people type; new ones only at the end, with a default."""
    found = {
        name: [
            argument
            for argument, mode in zip(
                arguments or [], modes or ["i"] * len(arguments or []), strict=True
            )
            if mode == "i"
        ]
        for name, arguments, modes in rows(
            conn,
            f"""
            select p.proname, p.proargnames, p.proargmodes::text[]
            from pg_proc as p
            where {OURS} and p.proname !~ '^_' and p.proname !~ '_v[0-9]+$'
            """,
        )
    }

    assert found == FRONT_PARAMETERS


def test_functions_are_where_their_names_say(conn: psycopg.Connection) -> None:
    for (name,) in rows(conn, f"select p.proname from pg_proc as p where {OURS}"):
        where = family(name)
        if where in {"triggers", "inner"}:
            assert name.startswith("_procrastinate_") or name == "procrastinate_now", name
            assert not re.search(r"_v\d+$", name), name
        elif where == "front":
            assert not re.search(r"_v\d+$", name), name
        else:
            assert re.search(r"_v\d+$", name), name


def test_a_function_has_a_file_of_its_name() -> None:
    for path in sorted(procrastinate.sql.root.glob("functions/*/*.sql")):
        created = re.findall(
            r"^create function _?procrastinate_(\w+)\(", path.read_text(), re.M
        )
        assert created == [path.stem], path


def test_files_have_at_most_150_lines() -> None:
    for path in sorted(procrastinate.sql.root.glob("**/*.sql")):
        if path.parent.name != "migrations":
            assert len(path.read_text().splitlines()) <= 150, path


def test_no_dynamic_sql() -> None:
    for path in sorted(procrastinate.sql.root.glob("functions/**/*.sql")):
        if path.stem == "create_roles":  # a role has no other way to get its name
            continue
        assert not re.search(r"^\s*execute\b", path.read_text(), re.MULTILINE), path


def test_the_time_is_that_of_the_queue() -> None:
    """now() is for its definition, for defaults of columns, and clock_timestamp() for costs."""
    for path in sorted(procrastinate.sql.root.glob("**/*.sql")):
        if path.parent.name in {"migrations", "tables"} or path.stem in {
            "now",
            "travelled_now",
        }:
            continue
        code = re.sub(r"--[^\n]*|'[^']*'", "", path.read_text())
        assert not re.search(r"(?<!procrastinate_)\bnow\(\)|current_timestamp", code), path


def test_indexes_and_constraints_are_ours_by_name(conn: psycopg.Connection) -> None:
    """Or PostgreSQL's."""
    for (name,) in rows(
        conn,
        """
        select c.relname from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('i', 'S', 'r', 'v')
        union all
        select c.conname from pg_constraint as c
        where c.connamespace = 'public'::regnamespace and c.contype <> 'n'
        """,
    ):
        assert name.startswith("procrastinate_"), name


def test_every_table_keeps_a_replica_identity(conn: psycopg.Connection) -> None:
    """Logical replication: an update of a table without one is refused."""
    assert not rows(
        conn,
        """
        select c.relname
        from pg_class as c
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
            and c.relreplident <> 'f'
            and not (
                c.relreplident = 'd'
                and exists (
                    select from pg_index as i where i.indrelid = c.oid and i.indisprimary
                )
            )
        """,
    )


def test_what_changes_while_a_job_runs_is_in_no_index_of_jobs(conn: psycopg.Connection) -> None:
    """So that each transition is a HOT update: a job keeps its id and its key."""
    assert rows(
        conn,
        """
        select array_agg(distinct a.attname)
        from pg_index as i
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
        where i.indrelid = 'procrastinate_jobs'::regclass
        """,
    ) == [(["id", "key"],)]


def test_columns_of_3_x_keep_their_names_types_and_order(conn: psycopg.Connection) -> None:
    """Users' SQL, Django's models and processes of 3.x read and write them."""
    expected = {
        "procrastinate_jobs": (
            "id bigint, queue_name character varying(128), task_name character varying(128), "
            "priority integer, lock text, queueing_lock text, args jsonb, "
            "status procrastinate_job_status, scheduled_at timestamp with time zone, "
            "attempts integer, abort_requested boolean, worker_id bigint"
        ),
        "procrastinate_events": (
            "id bigint, job_id bigint, type procrastinate_job_event_type, "
            "at timestamp with time zone"
        ),
        "procrastinate_workers": "id bigint, last_heartbeat timestamp with time zone",
        "procrastinate_periodic_defers": (
            "id bigint, task_name character varying(128), defer_timestamp bigint, "
            "job_id bigint, periodic_id character varying(128)"
        ),
    }
    for table, columns in expected.items():
        ((found,),) = rows(
            conn,
            f"""
            select string_agg(
                a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum
            )
            from pg_attribute as a
            where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped
            """,
        )
        assert found.startswith(columns), table


def test_new_columns_ask_nothing_of_writers_of_3_x(conn: psycopg.Connection) -> None:
    """They are nullable, or have a default."""
    assert not rows(
        conn,
        """
        select a.attrelid::regclass::text, a.attname
        from pg_attribute as a
        where
            a.attrelid in (
                'procrastinate_jobs'::regclass, 'procrastinate_events'::regclass,
                'procrastinate_workers'::regclass, 'procrastinate_periodic_defers'::regclass
            )
            and a.attnum > 0 and a.attnotnull and not a.atthasdef and a.attidentity = ''
            and a.attname not in ('queue_name', 'task_name', 'job_id')
        """,
    )


def test_enums_have_the_labels_of_3_x(conn: psycopg.Connection) -> None:
    assert rows(
        conn,
        """
        select t.typname, array_agg(e.enumlabel::text order by e.enumsortorder)
        from pg_enum as e join pg_type as t on t.oid = e.enumtypid
        where t.typname ~ '^procrastinate_' group by 1 order by 1
        """,
    ) == [
        (
            "procrastinate_job_event_type",
            [
                *("deferred", "started", "deferred_for_retry", "failed", "succeeded"),
                *("cancelled", "abort_requested", "aborted", "scheduled", "retried"),
            ],
        ),
        (
            "procrastinate_job_status",
            ["todo", "doing", "succeeded", "failed", "cancelled", "aborting", "aborted"],
        ),
    ]
