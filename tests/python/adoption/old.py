"""Databases of 3.x: each state that its migrations leave, and data in all of it."""

from __future__ import annotations

import functools
from typing import Any

import psycopg

import procrastinate
from procrastinate import sql
from tools import upstream

#: What its migrations leave, by the name that the last one applied begins with.
STATES = (
    "03.00.00_01_pre",
    "03.00.00_50_post",
    "03.01.00_50_post",
    "03.02.00_01_pre",
    "03.04.00_01_pre",
    "no post",
)
TABLES = {
    "procrastinate_jobs": "id, queue_name, task_name, priority, lock, queueing_lock, args,"
    " status::text, scheduled_at, attempts, abort_requested",
    "procrastinate_events": "id, job_id, type::text, at",
    "procrastinate_periodic_defers": "id, task_name, defer_timestamp, job_id, periodic_id",
}

# Through the triggers of 3.x, so that it has the history that 3.x gives it.
JOBS = """
create table orders (id serial primary key, job_id bigint references procrastinate_jobs (id));

insert into procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock, args,
    scheduled_at)
select
    'q' || n % 3, 't' || n % 5, n % 4 - 1,
    case when n % 4 = 0 then 'l' || n % 7 end,
    case when n % 10 = 0 then 'ql' || n end,
    jsonb_build_object('n', n),
    case n % 6 when 0 then now() + interval '1 day' when 1 then now() - interval '1 day' end
from generate_series(1, 300) as n;

insert into procrastinate_periodic_defers (task_name, defer_timestamp, job_id, periodic_id)
values ('t1', 1000, 1, ''), ('t2', 2000, null, 'x');
insert into orders (job_id) values (7), (130), (250);

update procrastinate_jobs set status = 'doing' where id in (
    select min(id) from procrastinate_jobs group by coalesce(lock, id::text)
) and id <= 200;
update procrastinate_jobs set status = 'succeeded', attempts = 1
where status = 'doing' and id <= 100;
update procrastinate_jobs set status = 'failed', attempts = 1
where status = 'doing' and id <= 130;
update procrastinate_jobs set abort_requested = true where status = 'doing' and id <= 150;
update procrastinate_jobs set status = 'aborted', abort_requested = false, attempts = 1
where status = 'doing' and id <= 140;
update procrastinate_jobs set status = 'todo', attempts = 1,
    scheduled_at = now() + interval '1 hour'
where status = 'doing' and id between 160 and 165;
update procrastinate_jobs set status = 'cancelled' where id between 280 and 290;
delete from procrastinate_jobs where id between 20 and 30 and status = 'succeeded'
and id not in (select job_id from orders where job_id is not null);
"""
WORKERS = """
insert into procrastinate_workers default values;
update procrastinate_jobs set worker_id = 1 where status in ('doing', 'succeeded');
"""


@functools.cache
def _migrations() -> list[tuple[str, bytes]]:
    files = sorted(upstream.migrations_path().glob("*.sql"))
    return [(file.stem, file.read_bytes()) for file in files]


def bring(dsn: str, state: str) -> None:
    """Apply the migrations of 3.x, up to a state."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, text in _migrations():
            if "_post_" not in name if state == "no post" else name[: len(state)] <= state:
                connection.execute(text)


def fill(dsn: str) -> None:
    """Give it data of every kind."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(JOBS)
        if connection.execute("select to_regclass('procrastinate_workers')").fetchone() != (
            None,
        ):
            connection.execute(WORKERS)


def held(dsn: str) -> dict[str, list[Any]]:
    """Return all that clients of 3.x can read."""
    with psycopg.connect(dsn) as connection:
        return {
            table: connection.execute(
                f"select {columns} from {table} order by id".encode()
            ).fetchall()
            for table, columns in TABLES.items()
        }


def described(dsn: str) -> dict[str, str]:
    """Return what the catalogue says."""
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(sql.catalogue_query().encode()).fetchall())


def breaches(dsn: str) -> list[Any]:
    """Return what procrastinate_check() finds."""
    with psycopg.connect(dsn) as connection:
        return connection.execute("select * from procrastinate_check()").fetchall()


def migrate(dsn: str) -> list[str]:
    """Adopt, and apply what is pending."""
    with procrastinate.App(
        connector=procrastinate.SyncPsycopgConnector(conninfo=dsn)
    ).open() as app:
        return app.schema_manager.migrate()
