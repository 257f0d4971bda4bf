"""A worker takes care of the jobs of dead ones, as each task wants it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from procrastinate import App, RetryStrategy
from procrastinate.jobs import StalledJobPolicy
from procrastinate.retry import BaseRetryStrategy, RetryDecision, RetryValue
from procrastinate.rpc import wire
from procrastinate.worker import Worker, recovery

from .alone import until
from .conftest import Database, Drain, StartWorker, actions


class Limitless(BaseRetryStrategy):
    """A strategy of a user's own."""

    def get_retry_decision(self, *, exception: BaseException, job: Any) -> RetryDecision:
        return RetryDecision()


@pytest.fixture
def ran(app: App) -> list[str]:
    """What ran, by the tasks ``a``, ``b`` (also called ``bee``) and ``thrice``."""
    ran: list[str] = []

    def task(name: str, *, aliases: list[str] | None = None, retry: RetryValue = False) -> None:
        @app.task(name=name, aliases=aliases, retry=retry)
        async def _() -> None:
            ran.append(name)

    task("a")
    task("b", aliases=["bee"])
    task("thrice", retry=3)
    task("limitless", retry=Limitless())
    task("waiting", retry=RetryStrategy(wait=1000))
    return ran


Stall = Callable[..., Any]


@pytest.fixture
def stall(app: App, database: Database) -> Stall:
    """Leave a job of a task in doing under a worker that is gone."""

    async def stall(task_name: str, *, attempts: int = 0) -> int:
        worker_id = await app.connector.call_async(wire.register_worker_v2())
        job_id = await app.configure_task(task_name, queue="dead").defer_async()
        database.conn.execute(
            "update procrastinate_jobs set attempts = %s where id = %s", [attempts, job_id]
        )
        fetch = wire.fetch_jobs_v1(worker_id=worker_id, queues=["dead"], limit=1)
        (claimed,) = (await app.connector.call_async(fetch)).claimed
        assert claimed.job.id == job_id
        await app.connector.call_async(wire.unregister_worker_v2(worker_id=worker_id))
        return job_id

    return stall


async def test_by_default_stalled_jobs_are_left(
    database: Database, drain: Drain, ran: list[str], stall: Stall
) -> None:
    job_id = await stall("a")
    await drain()
    assert (await database.status(job_id), ran) == ("doing", [])


@pytest.mark.parametrize(
    ("policies", "status"),
    [
        ("leave", "doing"),
        ("retry", "succeeded"),
        (StalledJobPolicy.FAIL, "failed"),
        ({"a": "retry"}, "doing"),
        ({"b": "retry"}, "succeeded"),
        ({"bee": "fail", "*": "retry"}, "failed"),
        ({"b": StalledJobPolicy.LEAVE, "*": "fail"}, "doing"),
    ],
    ids=repr,
)
async def test_the_policy_of_a_task_decides_under_each_of_its_names(
    database: Database,
    drain: Drain,
    ran: list[str],
    stall: Stall,
    policies: recovery.Policies,
    status: str,
) -> None:
    stalled = [await stall(name) for name in ("b", "bee")]
    await drain(stalled_jobs=policies)
    attempts = {"doing": 0, "failed": 1, "succeeded": 2}[status]
    for job_id in stalled:
        job = await database.job(job_id)
        assert (job.status, job.attempts) == (status, attempts)
    assert ran == (["b", "b"] if status == "succeeded" else [])


async def test_a_job_that_kills_its_workers_is_tried_as_often_as_its_task_allows(
    database: Database, drain: Drain, ran: list[str], stall: Stall
) -> None:
    again = [
        await stall(task_name, attempts=attempts)
        for task_name, attempts in (
            ("thrice", 2),
            ("limitless", 100),
            ("waiting", 100),
            ("a", 100),
        )
    ]
    too_often = await stall("thrice", attempts=3)
    await drain(stalled_jobs="retry")
    assert [await database.status(job_id) for job_id in again] == ["succeeded"] * 4
    assert await database.status(too_often) == "failed"
    assert ran == ["thrice", "limitless", "waiting", "a"]


async def test_the_tasks_of_another_program_are_its_own_affair(
    app: App, database: Database, drain: Drain, ran: list[str], stall: Stall
) -> None:
    job_id = await stall("somebody.elses")
    await drain(stalled_jobs="fail")
    assert await database.status(job_id) == "doing"


async def test_a_task_that_the_app_does_not_have_can_be_named_and_is_warned_of(
    database: Database,
    drain: Drain,
    ran: list[str],
    stall: Stall,
    records: pytest.LogCaptureFixture,
) -> None:
    job_id = await stall("somebody.elses")
    await drain(stalled_jobs={"somebody.elses": "fail"})
    assert await database.status(job_id) == "failed"
    (record,) = [
        r for r in records.records if r.__dict__.get("action") == "stalled_jobs_unknown_task"
    ]
    assert (record.levelno, record.__dict__["task"]) == (logging.WARNING, "somebody.elses")
    assert record.getMessage() == (
        "The option stalled_jobs names the task somebody.elses, which the app does not have"
    )


async def test_what_was_recovered_is_said_as_loud_as_it_matters(
    app: App,
    database: Database,
    drain: Drain,
    ran: list[str],
    stall: Stall,
    records: pytest.LogCaptureFixture,
) -> None:
    again, failed = await stall("a"), await stall("b")
    await drain(stalled_jobs={"a": "retry", "b": "fail"})
    said = [r for r in records.records if r.__dict__.get("action") == "job_recovered"]
    assert [(r.levelno, r.__dict__["job_id"], r.__dict__["status"]) for r in said] == [
        (logging.WARNING, again, "todo"),
        (logging.ERROR, failed, "failed"),
    ]
    assert [r.getMessage() for r in said] == [
        f"The worker of job {again} is gone or silent: the job was put back and will run again",
        f"The worker of job {failed} is gone or silent: the job has failed",
    ]
    assert database.events(again) == [
        "deferred",
        "started",
        "deferred_for_retry",
        "started",
        "succeeded",
    ]


async def test_however_many_are_stalled_all_are_recovered_at_once(
    database: Database,
    drain: Drain,
    ran: list[str],
    stall: Stall,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "BATCH", 2)
    for _ in range(4):
        await stall("a")
    await drain(stalled_jobs="retry")
    assert (await database.statuses(), len(ran)) == (["succeeded"] * 4, 4)


async def test_jobs_that_stall_while_the_worker_runs_are_recovered_by_its_rounds(
    database: Database,
    start_worker: StartWorker,
    ran: list[str],
    stall: Stall,
    records: pytest.LogCaptureFixture,
) -> None:
    run = await start_worker(
        queues=["others"], stalled_jobs="retry", update_heartbeat_interval=1000
    )
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    job_id = await stall("a")
    run.worker.housekeeping.begin_now()
    await database.until_status(job_id, "todo")
    await until(lambda: "job_recovered" in actions(records))  # the answer is there, too
    await run.stop()
    assert actions(records).count("job_recovered") == 1


async def test_a_worker_that_lives_keeps_its_jobs(
    app: App, database: Database, drain: Drain, ran: list[str]
) -> None:
    other = await app.connector.call_async(wire.register_worker_v2())
    job_id = await app.configure_task("a").defer_async()
    fetch = wire.fetch_jobs_v1(worker_id=other, queues=None, limit=1)
    await app.connector.call_async(fetch)
    await drain(stalled_jobs="retry")
    assert (await database.status(job_id), ran) == ("doing", [])


@pytest.mark.parametrize("given", ["bogus", {"a": "bogus"}])
def test_a_policy_that_there_is_not_is_refused(app: App, given: Any) -> None:
    with pytest.raises(ValueError, match="'bogus' is not a valid StalledJobPolicy"):
        Worker(app, stalled_jobs=given)


def test_the_defaults_of_the_app_may_have_policies(app: App) -> None:
    app.worker_defaults = {"stalled_jobs": {"a": "retry", "*": StalledJobPolicy.FAIL}}
    assert Worker(app, **app.worker_defaults).stalled_jobs == {
        "a": StalledJobPolicy.RETRY,
        "*": StalledJobPolicy.FAIL,
    }
