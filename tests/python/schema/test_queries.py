"""
``procrastinate.sql.queries`` is what 3.x published: same names, same arguments, same columns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import rows
from psycopg.types.json import Jsonb

from procrastinate import sql

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = {
    "id", "status", "task_name", "priority", "lock", "queueing_lock", "args", "scheduled_at",
    "queue_name", "attempts", "worker_id",
}  # fmt: skip
FILTERS = {"queue_name": None, "task_name": None, "status": None, "lock": None}
COUNTS = {"name", "jobs_count", "stats"}

# Query -> what 3.x sends, and the columns that it gets (none: it looks at no row).
QUERIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "cancel_job": ({"job_id": 1, "abort": False, "delete_job": False}, {"id"}),
    "check_connection": ({}, {"check"}),
    "count_jobs_status": ({}, {"count", "status"}),
    "defer_jobs": ({"jobs": []}, {"id"}),
    "defer_periodic_job": (
        {
            "task_name": "t", "defer_timestamp": 1, "periodic_id": "", "queue": "q",
            "priority": 0, "lock": None, "queueing_lock": None, "args": Jsonb({}),
        },
        {"id"},
    ),
    "delete_old_jobs": ({"nb_hours": 1, "queue": None, "statuses": ["succeeded"]}, set()),
    "fetch_job": ({"queues": None, "worker_id": 1}, JOB),
    "finish_job": ({"job_id": 1, "status": "succeeded", "delete_job": False}, set()),
    "get_job_status": ({"job_id": 1}, {"status"}),
    "list_jobs": (
        {**FILTERS, "id": None, "queueing_lock": None, "worker_id": None},
        JOB | {"abort_requested"},
    ),
    "list_jobs_to_abort": ({"queue_name": None}, {"id"}),
    "list_locks": (FILTERS, COUNTS),
    "list_queues": (FILTERS, COUNTS),
    "list_tasks": (FILTERS, COUNTS),
    "prune_stalled_workers": ({"seconds_since_heartbeat": 30}, {"worker_id"}),
    "register_worker": ({}, {"worker_id"}),
    "retry_job": (
        {
            "job_id": 1, "retry_at": "now", "new_priority": None, "new_queue_name": None,
            "new_lock": None,
        },
        set(),
    ),
    "select_stalled_jobs_by_heartbeat": (
        {"queue": None, "task_name": None, "seconds_since_heartbeat": 30},
        JOB,
    ),
    "select_stalled_jobs_by_started": (
        {"nb_seconds": 0, "queue": None, "task_name": None},
        JOB | {"started_at"},
    ),
    "unregister_worker": ({"worker_id": 2}, set()),
    "update_heartbeat": ({"worker_id": 1}, set()),
}  # fmt: skip


@pytest.fixture
def one_running(connect: Callable[..., Any]) -> psycopg.Connection[dict[str, Any]]:
    """A database with a worker and the job that it runs, whose lock another job waits for."""
    conn: psycopg.Connection[dict[str, Any]] = connect(row_factory=rows.dict_row)
    conn.execute("select procrastinate_register_worker_v1()")
    for _ in range(2):
        conn.execute("select procrastinate_defer_job('q', 't', lock => 'l')")
    conn.execute("select procrastinate_fetch_job_v2(null, 1)")
    return conn


def test_the_names_are_those_of_3_x() -> None:
    assert sql.queries.keys() == QUERIES.keys() | {"listen_queue"}


def test_each_text_is_another() -> None:
    assert len(set(sql.queries.values())) == len(sql.queries)


def test_listening_is_formatted_with_the_channel() -> None:
    assert sql.queries["listen_queue"] == "LISTEN {channel_name};"


def test_each_query_takes_the_arguments_and_gives_the_columns_of_3_x(
    one_running: psycopg.Connection[dict[str, Any]],
) -> None:
    for name, (arguments, columns) in QUERIES.items():
        query = sql.queries[name]
        assert set(re.findall(r"%\((\w+)\)s", query)) == set(arguments), name
        with one_running.transaction(force_rollback=True):
            cursor = one_running.execute(query, arguments)
        if columns:
            assert {column.name for column in cursor.description or []} == columns, name


def test_the_lists_count_each_status(one_running: psycopg.Connection[dict[str, Any]]) -> None:
    for name, counted in (("list_queues", "q"), ("list_tasks", "t"), ("list_locks", "l")):
        assert one_running.execute(sql.queries[name], FILTERS).fetchall() == [
            {
                "name": counted,
                "jobs_count": 2,
                "stats": {
                    "todo": 1, "doing": 1, "succeeded": 0, "failed": 0, "cancelled": 0,
                    "aborted": 0,
                },
            }
        ]  # fmt: skip


def test_a_running_job_of_a_dead_worker_is_found(
    one_running: psycopg.Connection[dict[str, Any]],
) -> None:
    for name in ("select_stalled_jobs_by_heartbeat", "select_stalled_jobs_by_started"):
        arguments = {key: -1 if "seconds" in key else None for key in QUERIES[name][0]}
        assert [row["id"] for row in one_running.execute(sql.queries[name], arguments)] == [1]


def test_old_jobs_are_deleted_by_their_newest_event(
    one_running: psycopg.Connection[dict[str, Any]],
) -> None:
    one_running.execute("select procrastinate_finish_job_v1(1, 'succeeded', false)")
    query = sql.queries["delete_old_jobs"]
    for hours, left in ((1, [1, 2]), (-1, [2])):
        one_running.execute(
            query, {"nb_hours": hours, "queue": None, "statuses": ["succeeded"]}
        )
        cursor = one_running.execute("select id from procrastinate_jobs order by id")
        assert [row["id"] for row in cursor] == left
