"""An adoption that was cut short anywhere is taken up again, with clients at work between."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import psycopg
import pytest

from procrastinate import adopting, exceptions, migrations
from tests.python.adoption import old
from tests.python.adoption.mortal import migrate_until

READY = "03.04.00_50_post"
#: What the switch begins to wait with.
SWITCH = "lock table procrastinate_jobs, procrastinate_events"


def work_as_3_x(dsn: str) -> None:
    """Defer, fetch, finish, retry, cancel and delete, as a client of 3.x does."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in (
            # jobs that were there before
            "select procrastinate_finish_job_v1(j.id, 'failed', false) from"
            " procrastinate_fetch_job_v2('{q0}', 1) as j where j.id is not null",
            "update procrastinate_jobs set priority = priority + 1, queueing_lock = null where id"
            " in (select max(id) from procrastinate_jobs where status = 'todo' and id < 280"
            " union select min(id) from procrastinate_jobs where status = 'todo')",
            "delete from procrastinate_jobs where id = (select max(id) from procrastinate_jobs"
            " where status = 'cancelled')",
            # and new ones
            "select procrastinate_defer_jobs_v1(array["
            "('q1', 't', 9, 'l1', null, '{}', null), ('q2', 't', 9, null, null, '{}', null),"
            "('q2', 't', 9, null, null, '{}', now() + interval '1 day')"
            "]::procrastinate_job_to_defer_v1[])",
            "select procrastinate_finish_job_v1(j.id, 'succeeded', j.id % 2 = 0) from"
            " procrastinate_fetch_job_v2(null, 1) as j where j.id is not null",
            "select procrastinate_retry_job_v2(j.id, now(), 3, 'q3', 'l3') from"
            " procrastinate_fetch_job_v2('{q2}', 1) as j where j.id is not null",
            "select procrastinate_cancel_job_v1(max(id), false, false) from procrastinate_jobs",
        ):
            connection.execute(statement.encode())


def soundly_ours(dsn: str) -> bool:
    return old.breaches(dsn) == [] and old.described(
        dsn
    ) == migrations.locked_objects() | fixture_of(dsn)


def fixture_of(dsn: str) -> dict[str, str]:
    """What the tests' own table of orders adds to the description: nothing of ours."""
    return {name: text for name, text in old.described(dsn).items() if "orders" in name}


def test_whatever_statement_comes_last_the_next_run_goes_on(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "BATCH", 75)
    old.bring(empty_dsn, READY)
    old.fill(empty_dsn)
    run: set[tuple[str, int]] = set()  # in any of the runs, with the how manieth batch it is

    def dies(known: int) -> Callable[[int, str], bool]:
        # each run gets one statement further than those before
        batches = 0

        def further(_: int, query: str) -> bool:
            nonlocal batches
            batches += "_procrastinate_adopt(" in query
            step = (query, batches)
            last = step not in run and len(run) > known
            if not last:
                run.add(step)
            return last

        return further

    while migrate_until(empty_dsn, dies(len(run))):
        work_as_3_x(empty_dsn)
    assert len(run) > 12
    assert soundly_ours(empty_dsn)
    work_as_3_x(empty_dsn)
    assert old.breaches(empty_dsn) == []


@pytest.mark.parametrize(
    ("before", "held"),
    [
        ("CREATE UNIQUE INDEX CONCURRENTLY", "insert into procrastinate_events values"
         " (default, 1, null, null)"),
        (SWITCH, "select from procrastinate_events"),
    ],
    ids=["index", "switch"],
)  # fmt: skip
def test_a_backend_that_is_killed_while_it_waits_leaves_nothing_in_the_way(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch, before: str, held: str
) -> None:
    monkeypatch.setattr(adopting, "PATIENCE", 1)
    old.bring(empty_dsn, READY)
    old.fill(empty_dsn)
    assert migrate_until(empty_dsn, lambda _, query: before in query)
    with psycopg.connect(empty_dsn) as holder, psycopg.connect(empty_dsn) as killer:
        killer.autocommit = True
        holder.execute(held.encode())

        def run() -> None:
            with contextlib.suppress(exceptions.ConnectorException):  # its backend is killed
                old.migrate(empty_dsn)

        thread = threading.Thread(target=run)
        thread.start()
        killed = None
        while killed is None:
            killed = killer.execute(
                "select pg_terminate_backend(l.pid) from pg_locks as l"
                " join pg_stat_activity as a on a.pid = l.pid"
                " where not l.granted and a.datname = current_database()"
            ).fetchone()
        holder.rollback()
        thread.join()
    old.migrate(empty_dsn)
    assert soundly_ours(empty_dsn)
