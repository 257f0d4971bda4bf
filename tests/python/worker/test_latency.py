"""A job that may run is started at once: nothing waits for the next poll."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from procrastinate import App, PsycopgConnector, jobs, utils
from procrastinate.worker import Worker

from .conftest import Database, StartWorker, intercept, see_it_end
from .time_lapse import Exchanges, TimeLapse

#: So long that no test gets there: what happens sooner was not found by polling.
NEVER = 1_000_000.0

#: Seconds until the job of the test falls due, and for which the answer before that travels.
DUE = 3_000
TRAVEL = 10.0

HEAD, BLOCKED = "the head", "what it holds back"
IS_LISTENING = "select 1 from pg_stat_activity where query ilike 'listen%%'"
IS_PARKED = "select 1 from procrastinate_todo where job_id = %s and state::text = 'b'"


def test_the_alarm_rings_when_the_job_is_due_however_long_the_answer_took(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = Exchanges()
    app = App(connector=PsycopgConnector(conninfo=dsn, **exchanges.pool_options))
    looks: list[float] = []

    @app.task(name="t")
    async def task() -> None: ...

    async def sleep_and_look() -> None:
        loop = asyncio.get_running_loop()
        send: Any = app.connector.call_async
        again = asyncio.Event()

        async def call_async(call: Any, **options: Any) -> Any:
            if call.function.name != "procrastinate_finish_and_fetch_v1":
                return await send(call, **options)
            looks.append(loop.time())
            if len(looks) == 2:
                again.set()
            answer = await send(call, **options)
            await asyncio.sleep(TRAVEL)  # on this clock it takes no time
            return answer

        async with app.open_async():
            await task.configure(schedule_in={"seconds": DUE}).defer_async()
            intercept(app, monkeypatch, call_async)
            worker = Worker(
                app,
                install_signal_handlers=False,
                listen_notify=False,
                fetch_job_polling_interval=NEVER,
                update_heartbeat_interval=NEVER,
                abort_job_polling_interval=NEVER,
            )
            run = asyncio.create_task(worker.run())
            await again.wait()
            worker.stop()
            await see_it_end(run)

    with asyncio.Runner(loop_factory=lambda: TimeLapse(exchanges)) as runner:
        runner.run(sleep_and_look())

    # Neither before it is due (the test has taken some of these seconds), nor a journey late.
    assert DUE - TRAVEL / 2 < looks[1] - looks[0] < DUE + TRAVEL / 2


async def test_a_job_that_is_due_before_the_workers_alarm_is_not_slept_over(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    await task.configure(schedule_in={"hours": 1}).defer_async()
    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until(IS_LISTENING)
    sooner = await task.configure(schedule_in={"milliseconds": 200}).defer_async()
    await database.until_status(sooner, "succeeded")
    await run.stop()


@pytest.mark.parametrize(
    "action",
    [
        "select procrastinate_cancel_job({head})",
        "select procrastinate_reschedule_job({head}, now())",
        "delete from procrastinate_jobs where id = {head}",
        "update procrastinate_jobs set status = 'cancelled' where id = {head}",
        "update procrastinate_jobs set scheduled_at = null where id = {head}",
        "update procrastinate_jobs set lock = null where id = {head}",
        "update procrastinate_jobs set lock = 'of its own' where id = {blocked}",
        "update procrastinate_jobs set priority = 1 where id = {blocked}",
    ],
)
async def test_whoever_unblocks_a_job_wakes_an_idle_worker(
    app: App, database: Database, start_worker: StartWorker, action: str
) -> None:
    @app.task(name="t", lock="l")
    async def task() -> None: ...

    head = await task.configure(schedule_in={"hours": 1}).defer_async()
    blocked = await task.defer_async()
    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until(IS_LISTENING)
    await database.until(IS_PARKED, blocked)

    database.conn.execute(action.format(head=head, blocked=blocked).encode())

    await database.until_status(blocked, "succeeded")
    await run.stop()


@pytest.mark.parametrize("end", ["finished", "retried later without the lock", "unregistered"])
async def test_another_workers_end_of_a_job_wakes_an_idle_one(
    app: App, database: Database, start_worker: StartWorker, end: str
) -> None:
    @app.task(name="t", lock="l")
    async def task() -> None: ...

    manager = app.job_manager
    head = await task.defer_async()
    other = await manager.register_worker()
    held = await manager.fetch_job(queues=None, worker_id=other)
    assert held is not None
    assert held.id == head
    blocked = await task.defer_async()
    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until(IS_LISTENING)
    await database.until(IS_PARKED, blocked)

    match end:
        case "finished":
            await manager.finish_job(held, status=jobs.Status.SUCCEEDED, delete_job=False)
        case "retried later without the lock":
            await manager.retry_job(held, retry_at=utils.utcnow().replace(year=2999), lock="m")
        case _:
            await manager.unregister_worker(other)
            database.conn.execute("select procrastinate_recover_stalled_jobs()")

    await database.until_status(blocked, "succeeded")
    await run.stop()


async def test_a_look_after_one_that_found_nothing_goes_on_from_its_marks(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    answers: list[Any] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1":
            asked.append(call.args["p_marks"])
            answers.append(answer)
        return answer

    @app.task(name="t")
    async def task() -> None: ...

    intercept(app, monkeypatch, call_async)
    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until(IS_LISTENING)
    for _ in range(3):
        await database.until_status(await task.defer_async(), "succeeded")
    await run.stop()

    following = zip(answers[:-1], asked[1:], strict=True)
    known = {(bool(before.claimed), marks == before.marks) for before, marks in following}
    assert known == {(True, True), (False, True)}


async def test_a_job_with_an_id_of_ones_own_is_found_below_the_marks(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    @app.task(name="t")
    async def task() -> None: ...

    run = await start_worker(fetch_job_polling_interval=NEVER)
    await database.until(IS_LISTENING)
    for number in range(3):  # at once after it has looked from the start
        await database.until_status(await task.defer_async(), "succeeded")
        database.conn.execute(
            "insert into procrastinate_jobs (id, queue_name, task_name)"
            " values (%s, 'default', 't')",
            [-number],
        )
        await database.until_status(-number, "succeeded")
    await run.stop()
