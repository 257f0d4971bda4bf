"""What a worker claims, when it looks, and how it sleeps."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import socket
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from procrastinate import App
from procrastinate.rpc import front, spoken, wire

from .conftest import PATIENCE, Database, Drain, StartWorker, actions, intercept

if TYPE_CHECKING:
    import psycopg

    from procrastinate.types import JSONDict

#: So long that no test gets there: what happens sooner was not found by polling.
NEVER = 1000.0


def empty(count: int) -> list[JSONDict]:
    """The arguments of so many jobs that take none."""
    return [{} for _ in range(count)]


def numbered(count: int) -> list[JSONDict]:
    """The arguments of so many jobs that take a number."""
    return [{"n": n} for n in range(count)]


class Exchanges:
    """Counts the exchanges of an app's connector, and what they asked for."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits: list[int] = []
        self.ends: list[int] = []
        self.under_way = 0
        self.most_under_way = 0
        send: Any = app.connector.call_async

        async def call_async(call: Any, **options: Any) -> Any:
            if call.function.name != "procrastinate_finish_and_fetch_v1":
                return await send(call, **options)
            self.limits.append(call.args["p_limit"])
            self.ends.append(len(call.args["p_job_ids"]))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                return await send(call, **options)
            finally:
                self.under_way -= 1

        intercept(app, monkeypatch, call_async)


@pytest.fixture
def exchanges(app: App, monkeypatch: pytest.MonkeyPatch) -> Exchanges:
    return Exchanges(app, monkeypatch)


async def test_a_worker_runs_at_most_so_many_jobs_at_once(app: App, drain: Drain) -> None:
    running = most = 0

    @app.task(name="t")
    async def task() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)  # the work
        running -= 1

    await task.batch_defer_async(*empty(20))
    await drain(concurrency=4)
    assert most == 4


async def test_a_worker_never_claims_more_than_it_has_free_slots(
    app: App, drain: Drain, database: Database, start_worker: StartWorker
) -> None:
    gate = asyncio.Event()

    @app.task(name="t")
    async def task() -> None:
        await gate.wait()

    await task.batch_defer_async(*empty(5))
    run = await start_worker(concurrency=2)
    await database.until("select 1 from procrastinate_doing having count(*) = 2")
    await task.defer_async()  # Its notification must not make the worker claim.
    run.worker.claims.wake()
    assert (await database.statuses()).count("doing") == 2
    gate.set()
    await database.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = 6"
    )
    await run.stop()


async def test_one_exchange_is_under_way_at_a_time_and_takes_along_what_ended(
    app: App, drain: Drain, exchanges: Exchanges
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await task.batch_defer_async(*empty(50))
    await drain(concurrency=10)

    assert exchanges.most_under_way == 1
    assert sum(exchanges.ends) == 50
    assert exchanges.ends[0] == 0
    assert max(exchanges.limits) == 10
    # Batches as large as the slots: no exchange per job.
    assert len(exchanges.ends) <= 12


async def test_a_deferred_job_wakes_an_idle_worker(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t", queue="q")
    async def task() -> None: ...

    run = await start_worker(queues=["q"], fetch_job_polling_interval=NEVER)
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    for _ in range(3):
        await database.until_status(await task.defer_async(), "succeeded")
    await run.stop()


async def test_without_notifications_polling_finds_jobs(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    run = await start_worker(listen_notify=False, fetch_job_polling_interval=0.05)
    await database.until_status(await task.defer_async(), "succeeded")
    assert not database.conn.execute(
        "select 1 from pg_stat_activity where query ilike 'listen%' "
        "and datname = current_database()"
    ).fetchone()
    await run.stop()


async def test_an_idle_worker_sleeps_until_the_next_job_falls_due(
    app: App, database: Database, start_worker: StartWorker, exchanges: Exchanges
) -> None:
    ran_at: list[float] = []

    @app.task(name="t")
    async def task() -> None:
        ran_at.append(time.time())

    job_id = await task.configure(schedule_in={"milliseconds": 400}).defer_async()
    scheduled_at = (await database.job(job_id)).scheduled_at
    assert scheduled_at is not None
    run = await start_worker(listen_notify=False, fetch_job_polling_interval=NEVER)
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert -0.01 < ran_at[0] - scheduled_at.timestamp() < 0.3
    # First look, at the due time (with a look or two more if clocks differ), its end.
    assert len(exchanges.limits) < 8


async def test_a_retried_job_runs_when_it_is_due_without_polling(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    from procrastinate import RetryDecision
    from procrastinate.retry import BaseRetryStrategy

    class Soon(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Any) -> RetryDecision:
            return RetryDecision(retry_in={"milliseconds": 100})

    attempts: list[int] = []

    @app.task(name="t", retry=Soon(), pass_context=True)
    async def task(context: Any) -> None:
        attempts.append(context.job.attempts)
        if len(attempts) < 3:
            raise ValueError

    run = await start_worker(listen_notify=False, fetch_job_polling_interval=NEVER)
    await database.until("select 1 from procrastinate_workers")
    job_id = await task.defer_async()
    run.worker.claims.wake()
    await database.until_status(job_id, "succeeded")
    await run.stop()
    assert attempts == [0, 1, 2]


async def test_the_end_of_a_job_lets_the_next_of_its_lock_run(
    app: App, database: Database, drain: Drain
) -> None:
    order: list[int] = []

    @app.task(name="t", lock="l")
    async def task(n: int) -> None:
        order.append(n)

    await task.batch_defer_async(*numbered(8))
    await drain(concurrency=4, fetch_job_polling_interval=NEVER)
    assert order == list(range(8))


async def test_a_drain_runs_what_its_own_jobs_defer_while_others_run(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task(n: int) -> None:
        for _ in range(2 if n else 0):
            await task.defer_async(n=n - 1)

    await task.defer_async(n=4)
    await drain(concurrency=3, fetch_job_polling_interval=NEVER)
    assert await database.statuses() == ["succeeded"] * 31


async def test_a_drain_leaves_what_is_scheduled_later_and_other_queues(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await task.defer_async()
    await task.configure(schedule_in={"hours": 1}).defer_async()
    await task.configure(queue="other").defer_async()
    await drain(queues=["default"])
    assert await database.statuses() == ["succeeded", "todo", "todo"]


async def test_a_drain_of_no_queues_runs_nothing(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await task.defer_async()
    await drain(queues=[])
    assert await database.statuses() == ["todo"]


async def test_queues_may_be_any_iterable_of_names(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await task.defer_async()
    await drain(queues=(name for name in ("other", "default")))
    assert await database.statuses() == ["succeeded"]


async def test_a_ready_job_that_another_transaction_held_is_fetched_once_it_lets_go(
    app: App,
    database: Database,
    start_worker: StartWorker,
    connect: Any,
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    job_id = await task.defer_async()
    holder: psycopg.Connection = connect(autocommit=False)
    holder.execute("select from procrastinate_jobs where id = %s for update", [job_id])
    run = await start_worker(listen_notify=False, fetch_job_polling_interval=NEVER)
    await database.until(
        "select 1 from pg_stat_activity where query like '%%finish_and_fetch%' "
        "and pid <> pg_backend_pid()"
    )
    assert await database.status(job_id) == "todo"
    holder.rollback()  # Nobody is told.
    await database.until_status(job_id, "succeeded")
    await run.stop()


async def test_a_resumed_queue_is_fetched_from_at_once(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await app.connector.call_async(front.pause_queue(queue_name="default"))
    job_id = await task.defer_async()
    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    assert await database.status(job_id) == "todo"
    await app.connector.call_async(front.resume_queue(queue_name="default"))
    await database.until_status(job_id, "succeeded")
    await run.stop()


async def test_higher_priorities_run_first(app: App, drain: Drain) -> None:
    order: list[int] = []

    @app.task(name="t")
    async def task(n: int) -> None:
        order.append(n)

    for n in (0, 5, 0, 9):
        await task.configure(priority=n).defer_async(n=n)
    await drain()
    assert order == [9, 5, 0, 0]


async def test_an_exchange_that_stopped_at_its_own_bound_is_gone_on_with_at_once(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send: Any = app.connector.call_async
    answers: list[Any] = []

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name != "procrastinate_finish_and_fetch_v1" or len(answers) >= 3:
            return await send(call, **options)
        # What a call says that had to look at more than it may look at.
        answers.append(await send(attrs.evolve(call, args={**call.args, "p_limit": 0})))
        return attrs.evolve(answers[-1], more=True)

    intercept(app, monkeypatch, call_async)

    @app.task(name="t")
    async def task() -> None: ...

    job_id = await task.defer_async()
    run = await start_worker(listen_notify=False, fetch_job_polling_interval=NEVER)
    await database.until_status(job_id, "succeeded")
    await run.stop()
    assert len(answers) == 3


async def test_marks_go_back_with_the_next_exchange(
    app: App, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    got: list[Any] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1":
            sent.append(call.args["p_marks"])
            got.append(answer.marks)
        return answer

    intercept(app, monkeypatch, call_async)

    @app.task(name="t")
    async def task() -> None: ...

    await task.batch_defer_async({}, {}, {})
    await drain()
    # and before it stops it looks once more, from the start
    assert sent == [None, *got[:-2], None]


async def test_a_worker_that_does_not_wait_leaves_nothing_below_its_marks(
    app: App, database: Database, drain: Drain
) -> None:
    @app.task(name="t")
    async def task(n: int) -> None:
        database.conn.execute(
            "insert into procrastinate_jobs (id, queue_name, task_name, args)"
            " select %(id)s, 'default', 't', jsonb_build_object('n', %(id)s)"
            " where %(id)s > -5",
            {"id": n - 1},
        )

    await task.defer_async(n=0)
    await drain()
    assert await database.statuses() == ["succeeded"] * 5


async def test_an_end_that_is_not_held_any_more_is_said_and_dropped(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    gate = asyncio.Event()

    @app.task(name="t")
    async def task() -> None:
        await gate.wait()

    job_id = await task.defer_async()
    run = await start_worker()
    await run.until_it_runs()
    # An operator ends it meanwhile.
    database.conn.execute(
        "update procrastinate_jobs set status = 'failed' where id = %s", [job_id]
    )
    gate.set()
    async with asyncio.timeout(PATIENCE):
        while "job_not_held" not in actions(records):  # noqa: ASYNC110 (logging has no event)
            await asyncio.sleep(0.005)
    await run.stop()
    assert await database.status(job_id) == "failed"


async def test_a_worker_says_who_it_is_while_it_runs(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    run = await start_worker(name="me", queues=["a", "b"], concurrency=3)
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    row = database.conn.execute(
        "select id, name, queues, description from procrastinate_workers"
    ).fetchone()
    described = {
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "procrastinate": importlib.metadata.version("procrastinate"),
        "concurrency": 3,
        "run": run.worker.registration.run,
        "wire": spoken.functions(),
    }
    assert row == (run.worker.worker_id, "me", ["a", "b"], described)
    await run.stop()
    assert not database.conn.execute("select 1 from procrastinate_workers").fetchone()


async def test_a_database_that_refuses_what_a_worker_needs_ends_it(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    from procrastinate import exceptions

    gate = asyncio.Event()
    ended: list[bool] = []

    @app.task(name="t")
    async def task() -> None:
        await gate.wait()
        ended.append(True)

    await task.defer_async()
    run = await start_worker(listen_notify=False, concurrency=2)
    await run.until_it_runs()
    definition = database.conn.execute(
        "select pg_get_functiondef('procrastinate_finish_and_fetch_v1'::regproc)"
    ).fetchone()
    assert definition is not None
    database.conn.execute(
        "alter function procrastinate_finish_and_fetch_v1 rename to procrastinate_gone"
    )
    run.worker.claims.wake()
    async with asyncio.timeout(PATIENCE):
        while run.worker.claims.failure is None:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.005)
    gate.set()
    with pytest.raises(exceptions.ConnectorException):
        await run.ended()
    assert ended == [True]
    database.conn.execute(
        "alter function procrastinate_gone rename to procrastinate_finish_and_fetch_v1"
    )
    assert await app.connector.call_async(wire.sweep_v1())


async def test_a_head_that_stands_parked_is_released_when_a_worker_keeps_house(
    app: App, database: Database, drain: Drain, records: pytest.LogCaptureFixture
) -> None:
    @app.task(name="t", lock="l")
    async def task() -> None: ...

    job_id = await task.defer_async()
    database.conn.execute("update procrastinate_todo set state = 'blocked'")

    await drain()

    assert await database.status(job_id) == "succeeded"
    assert "Released 1 jobs that waited for a lock which nobody held" in records.text
