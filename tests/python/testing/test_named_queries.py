"""The methods that 3.10's connector had for each of its queries."""

from __future__ import annotations

import datetime

import pytest

from procrastinate import exceptions, sql, types
from procrastinate.testing import InMemoryConnector

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
JOB = types.JobToDefer("q", "t", 0, "l", None, {"a": 1}, None)


@pytest.fixture
def connector() -> InMemoryConnector:
    connector = InMemoryConnector()
    connector.clock = lambda: NOON
    return connector


async def test_a_job_goes_through_its_life_by_the_methods_of_each_query(
    connector: InMemoryConnector,
) -> None:
    assert await connector.register_worker_one() == {"worker_id": 1}
    assert await connector.defer_jobs_all([JOB, JOB]) == [{"id": 1}, {"id": 2}]
    assert (await connector.fetch_job_one(["q"], 1))["id"] == 1
    assert (await connector.fetch_job_one(None, 1))["id"] is None  # its lock is held
    assert list(connector.current_locks) == ["l"]
    assert await connector.cancel_job_one(1, abort=False, delete_job=False) == {"id": None}
    assert await connector.cancel_job_one(1, abort=True, delete_job=False) == {"id": 1}
    assert await connector.list_jobs_to_abort_all(None) == [{"id": 1}]
    await connector.finish_job_run(1, "failed", delete_job=False)
    assert await connector.get_job_status_one(1) == {"status": "failed"}
    await connector.retry_job_run(1, NOON, new_priority=5)
    assert connector.jobs[1]["priority"] == 5
    await connector.set_job_status_run(1, "doing")
    assert [event["type"] for event in connector.events[1]] == [
        "deferred",
        "started",
        "abort_requested",
        "failed",
        "scheduled",
        "retried",
        "started",
    ]
    with pytest.raises(exceptions.NoResult):
        await connector.get_job_status_one(3)


async def test_jobs_and_workers_are_listed_and_removed_by_the_methods_of_each_query(
    connector: InMemoryConnector,
) -> None:
    tick = await connector.defer_periodic_job_one("q", "t", 0, {}, 60, None, None, "p")
    await connector.register_worker_one()
    await connector.fetch_job_one(None, 1)
    later = NOON + datetime.timedelta(hours=3)
    connector.clock = lambda: later

    assert tick == {"id": 1}
    assert [job["id"] for job in await connector.list_jobs_all(status="doing")] == [1]
    assert [
        job["started_at"]
        for job in await connector.select_stalled_jobs_by_started_all(60, None, None)
    ] == [NOON]
    stalled = await connector.select_stalled_jobs_by_heartbeat_all(None, None, 60)
    assert [job["id"] for job in stalled] == [1]
    await connector.update_heartbeat_run(1)
    assert await connector.select_stalled_jobs_by_heartbeat_all(None, None, 60) == []
    assert await connector.prune_stalled_workers_all(60) == []
    await connector.unregister_worker_run(1)
    assert connector.workers == {}
    assert connector.jobs[1]["worker_id"] is None
    for counted in (await connector.list_queues_all(), await connector.list_tasks_all()):
        assert [(row["jobs_count"], row["stats"]["doing"]) for row in counted] == [(1, 1)]
    assert await connector.list_locks_all() == []
    await connector.finish_job_run(1, "succeeded", delete_job=False)
    await connector.delete_old_jobs_run(1, None, ["succeeded"])
    assert list(connector.jobs) == [1]
    in_a_day = NOON + datetime.timedelta(days=1)
    connector.clock = lambda: in_a_day
    await connector.delete_old_jobs_run(1, None, ["succeeded"])
    assert connector.jobs == {}


async def test_the_text_of_a_query_is_answered_by_its_suffix(
    connector: InMemoryConnector,
) -> None:
    register = sql.queries["register_worker"]
    assert await connector.generic_execute(register, "run") is None
    assert await connector.generic_execute(register, "one") == {"worker_id": 2}
    assert await connector.generic_execute(register, "all") == [{"worker_id": 3}]
    assert connector.queries == [("register_worker", {})] * 3
    assert connector.make_dynamic_query("LISTEN {channel}", channel="c") == "LISTEN c"


async def test_a_schema_that_is_applied_or_missing_is_played(
    connector: InMemoryConnector,
) -> None:
    await connector.apply_schema_run()
    await connector.listen_for_jobs_run()
    assert (await connector.check_connection_one())["check"] == "procrastinate_jobs"
    connector.table_exists = False
    assert (await connector.check_connection_one())["check"] is None


def test_the_counter_goes_on_from_where_a_test_sets_ids(connector: InMemoryConnector) -> None:
    assert next(connector.job_counter) == 1
    (deferred,) = connector.execute_query_all(sql.queries["defer_jobs"], jobs=[JOB])
    assert deferred == {"id": 2}
