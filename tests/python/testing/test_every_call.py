"""The memory connector answers whatever the package can ask, and what 3.x published."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from procrastinate import SyncPsycopgConnector, exceptions, sql, types
from procrastinate.connectors.memory import answers, published
from procrastinate.rpc import defers, front, listing, old_wire, results, schema_free, wire
from procrastinate.rpc.call import Function
from procrastinate.testing import InMemoryConnector

MODULES = [wire, defers, results, front, old_wire, listing, schema_free]

#: What 3.x formats into other text, and never sends.
NOT_SENT = {"listen_queue"}

QUERIES: list[tuple[str, dict[str, Any]]] = [
    ("register_worker", {}),
    ("update_heartbeat", {"worker_id": 1}),
    (
        "defer_jobs",
        {
            "jobs": [
                types.JobToDefer("q", "t", 3, "l", "ql", {"a": [1]}, None),
                types.JobToDefer("q", "t", 0, None, None, {}, None),
                types.JobToDefer("r", "t", 0, None, None, {}, None),
            ]
        },
    ),
    ("fetch_job", {"queues": ["q"], "worker_id": 1}),
    ("fetch_job", {"queues": ["none"], "worker_id": 1}),
    ("cancel_job", {"job_id": 1, "abort": True, "delete_job": False}),
    ("list_jobs_to_abort", {"queue_name": None}),
    ("list_locks", {"queue_name": None, "task_name": None, "status": None, "lock": None}),
    ("list_queues", {"queue_name": None, "task_name": None, "status": None, "lock": None}),
    ("list_tasks", {"queue_name": "q", "task_name": None, "status": None, "lock": None}),
    ("count_jobs_status", {}),
    ("get_job_status", {"job_id": 1}),
    (
        "select_stalled_jobs_by_heartbeat",
        {"queue": None, "task_name": None, "seconds_since_heartbeat": 3600},
    ),
    (
        "select_stalled_jobs_by_started",
        {"queue": None, "task_name": None, "nb_seconds": 3600},
    ),
    ("finish_job", {"job_id": 1, "status": "failed", "delete_job": False}),
    (
        "retry_job",
        {
            "job_id": 1,
            "retry_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
            "new_priority": 4,
            "new_queue_name": "s",
            "new_lock": None,
        },
    ),
    (
        "defer_periodic_job",
        {
            "queue": "q",
            "lock": None,
            "queueing_lock": None,
            "task_name": "t",
            "priority": 0,
            "periodic_id": "p",
            "defer_timestamp": 7,
            "args": {"timestamp": 7},
        },
    ),
    (
        "list_jobs",
        {
            "id": None,
            "queue_name": None,
            "task_name": "t",
            "status": None,
            "lock": None,
            "queueing_lock": None,
            "worker_id": None,
        },
    ),
    ("delete_old_jobs", {"nb_hours": 1, "queue": None, "statuses": ["failed"]}),
    ("prune_stalled_workers", {"seconds_since_heartbeat": 3600}),
    ("unregister_worker", {"worker_id": 1}),
    ("check_connection", {}),
]


@pytest.fixture
def database(dsn: str) -> SyncPsycopgConnector:
    return SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)


def test_every_call_that_can_be_sent_is_answered() -> None:
    can_be_sent = {
        value.name
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, Function)
    }
    # The connector answers the first; processes are a server's, roles a database's.
    assert can_be_sent - set(answers.ANSWERS) == {
        "check_connection",
        "look_at_process",
        "procrastinate_create_roles",
    }


def test_every_query_that_3x_published_is_answered_and_compared_below() -> None:
    names = set(sql.queries) - NOT_SENT
    assert names - {"check_connection"} == set(published.ANSWERS)
    assert names == {name for name, _ in QUERIES}


def test_the_published_queries_return_what_they_return_in_postgresql(
    database: SyncPsycopgConnector,
) -> None:
    memory = InMemoryConnector()
    database.open()
    try:
        for name, arguments in QUERIES:
            query = sql.queries[name]
            if name == "delete_old_jobs":  # the only one that returns no rows
                memory.execute_query(query, **arguments)
                database.execute_query(query, **arguments)
                continue
            in_memory = memory.execute_query_all(query, **arguments)
            in_database = [
                # PostgreSQL shows what a function without a result returns as an empty text.
                {key: None if value == "" else value for key, value in row.items()}
                for row in database.execute_query_all(query, **arguments)
            ]
            assert sorted(in_memory, key=_first) == sorted(in_database, key=_first), name
    finally:
        database.close()
    assert [name for name, _ in memory.queries] == [name for name, _ in QUERIES]


def _first(row: dict[str, Any]) -> str:
    return str(next(iter(row.values())))


async def test_the_published_queries_can_be_awaited() -> None:
    memory = InMemoryConnector()
    await memory.execute_query_async(sql.queries["register_worker"])
    assert await memory.execute_query_one_async(sql.queries["register_worker"]) == {
        "worker_id": 2
    }
    assert (
        await memory.execute_query_all_async_with_connection(
            object(), sql.queries["count_jobs_status"]
        )
        == []
    )
    with pytest.raises(exceptions.NoResult):
        await memory.execute_query_one_async_with_connection(
            object(), sql.queries["get_job_status"], job_id=1
        )


def test_a_query_of_ones_own_is_refused_with_what_to_do() -> None:
    with pytest.raises(exceptions.ConnectorException, match="use a PostgreSQL connector"):
        InMemoryConnector().execute_query("select 1")
