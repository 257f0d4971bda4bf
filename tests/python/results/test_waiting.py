"""Whoever waits for a job is woken when it ends, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, PsycopgConnector, exceptions, waiters

from .conftest import PATIENCE, Work, drain, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg


@pytest.fixture
async def waiting(app: App) -> AsyncIterator[waiters.Waiters]:
    """The waiters of a test's own."""
    waiting = waiters.Waiters(app.connector, asyncio.get_running_loop())
    yield waiting
    await waiting.close()


def _listening(app: App, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event: the connection that hears of ends listens."""
    listening = asyncio.Event()
    listen = app.connector.listen_notify

    async def listen_notify(*, channels: Any, on_listening: Any, **options: Any) -> None:
        def tell() -> None:
            on_listening()
            if channels == [waiters.CHANNEL]:
                listening.set()

        await listen(channels=channels, on_listening=tell, **options)

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    return listening


def _parted(app: App, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event: the connection that hears of ends listens no more."""
    parted = asyncio.Event()
    listen = app.connector.listen_notify

    async def listen_notify(**options: Any) -> None:
        try:
            await listen(**options)
        finally:
            parted.set()

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    return parted


def _look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks when it comes, and then only when it is told to."""
    for name in ("FIRST_INTERVAL", "POLLING_INTERVAL"):
        monkeypatch.setattr(waiters, name, 3600.0)


class Counting(waiters.Waiters):
    """Counts what it asks the database, by the names of the functions."""

    def __init__(self, app: App) -> None:
        super().__init__(app.connector, asyncio.get_running_loop())
        self.asked: collections.Counter[str] = collections.Counter()
        self._asks = asyncio.Event()

    async def _ask(self, call: Any) -> Any:
        self.asked[call.function.name.removeprefix("procrastinate_")] += 1
        self._asks.set()
        return await super()._ask(call)

    async def until_asked(self, function: str, times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.asked[function] < times:
                self._asks.clear()
                await self._asks.wait()


async def test_a_coroutine_gets_what_the_task_returned(app: App, work: Work) -> None:
    @app.task()
    async def double(n: int) -> int:
        return 2 * n

    await work(app)

    assert await double.defer_and_wait_async(n=21) == 42
    assert await double.configure(priority=1).defer_and_wait_async(n=1) == 2
    assert await double.handle(await double.defer_async(n=1)).wait(timeout=10)


async def test_a_failure_is_raised_where_it_is_waited_for(app: App, work: Work) -> None:
    @app.task()
    async def task() -> int:
        raise LookupError("nowhere")

    await work(app)

    with pytest.raises(exceptions.JobFailed, match="LookupError: nowhere"):
        await task.defer_and_wait_async()


async def test_a_timeout_of_the_job_has_a_name_of_its_own(app: App, work: Work) -> None:
    @app.task(timeout=0.02)
    async def task() -> None:
        await asyncio.Event().wait()

    await work(app)

    with pytest.raises(exceptions.JobTimeout, match="longer than its timeout"):
        await task.defer_and_wait_async()


async def test_who_waits_is_told_and_need_not_look(
    app: App, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_once(monkeypatch)
    begun, released = asyncio.Event(), asyncio.Event()
    listening = _listening(app, monkeypatch)

    @app.task(ttl=60)
    async def task() -> str:
        begun.set()
        await released.wait()
        return "done"

    job_id = await task.defer_async()
    await work(app)
    await begun.wait()
    result = asyncio.create_task(task.handle(job_id).result(timeout=PATIENCE))
    async with asyncio.timeout(PATIENCE):
        await listening.wait()

    released.set()

    assert await result == "done"


async def test_an_end_that_nobody_tells_of_is_found(app: App, work: Work) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    @app.task()
    async def task() -> None:
        begun.set()
        await released.wait()

    job_id = await task.defer_async()
    await work(app)
    await begun.wait()
    waited = asyncio.create_task(app.wait_for([job_id], timeout=PATIENCE))
    await asyncio.sleep(0)
    released.set()

    (report,) = await waited
    assert report.status == "succeeded"


async def test_the_first_to_wait_looks_again_soon_for_what_is_not_announced_yet(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "POLLING_INTERVAL", 3600.0)
    waiting = Counting(app)
    ids = await app.configure_task("t").batch_defer_async(*numbers(2))

    first = asyncio.create_task(waiting.wait(ids[:1]))
    await waiting.until_asked("get_results_v1", 3)
    async with asyncio.timeout(PATIENCE):
        await app.job_manager.cancel_job_by_id_async(ids[0])
        await first
    assert waiting.asked["announce_ends_v1"] == 1

    # The others do not begin anew with that: the ends that they wait for are announced by now.
    before = waiting.asked["get_results_v1"]
    monkeypatch.setattr(waiters, "FIRST_INTERVAL", 0.0)  # looks without a pause
    with pytest.raises(TimeoutError):
        await waiting.wait(ids[1:], timeout=0.1)
    assert waiting.asked["get_results_v1"] < before + 20  # some tens of milliseconds each
    assert waiting.asked["announce_ends_v1"] == 1
    await waiting.close()


async def test_that_somebody_waits_is_said_again_and_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "POLLING_INTERVAL", 0.01)
    monkeypatch.setattr(waiters, "SAY_AGAIN", 0.02)
    waiting = Counting(app)
    job_id = await app.configure_task("t").defer_async()

    waits = asyncio.create_task(waiting.wait([job_id]))
    await waiting.until_asked("announce_ends_v1", 3)
    waits.cancel()
    await asyncio.wait([waits])
    await waiting.close()


async def test_where_it_cannot_be_said_ends_are_found_by_looking(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Standby(Counting):
        async def _ask(self, call: Any) -> Any:
            answer = await super()._ask(call)
            return None if call.function.name.endswith("announce_ends_v1") else answer

    monkeypatch.setattr(waiters, "POLLING_INTERVAL", 0.02)
    waiting = Standby(app)
    job_id = await app.configure_task("t").defer_async()
    waits = asyncio.create_task(waiting.wait([job_id]))
    await waiting.until_asked("get_results_v1", 4)
    async with asyncio.timeout(PATIENCE):
        await app.job_manager.cancel_job_by_id_async(job_id)
        await waits
    assert waiting.asked["announce_ends_v1"] == 1
    await waiting.close()


async def test_a_wait_that_is_too_long_ends_and_the_job_goes_on(
    app: App, waiting: waiters.Waiters
) -> None:
    @app.task(ttl=60)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()

    with pytest.raises(TimeoutError):
        await waiting.wait([job_id], timeout=0.02)
    with pytest.raises(asyncio.TimeoutError):
        await task.handle(job_id).result(timeout=0.02)
    with pytest.raises(TimeoutError, match=f"job {job_id} has not ended"):
        await asyncio.to_thread(app.job_manager.wait_for, [job_id], 0.02)

    assert len(waiting) == 0
    await drain(app)
    assert await task.handle(job_id).result(timeout=10) == 1


async def test_waits_that_are_cancelled_leave_nothing_behind(app: App) -> None:
    before = asyncio.all_tasks()
    waiting = waiters.Waiters(app.connector, asyncio.get_running_loop())

    @app.task()
    async def task(n: int) -> None: ...

    ids = await task.batch_defer_async(*numbers(3))
    waits = [asyncio.create_task(waiting.wait(ids)) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(waiting) == 3
    waits[0].cancel()
    await asyncio.wait(waits[:1])
    assert len(waiting) == 3  # the others' still
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)

    assert len(waiting) == 0
    await waiting.close()
    assert asyncio.all_tasks() == before


async def test_nobody_listens_for_long_when_nobody_waits(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "LINGER", 0.01)
    parted = _parted(app, monkeypatch)
    waiting = waiters.Waiters(app.connector, asyncio.get_running_loop())

    @app.task()
    async def task() -> None: ...

    job_id = await task.defer_async()
    with contextlib.suppress(TimeoutError):
        await waiting.wait([job_id], timeout=0.02)
    async with asyncio.timeout(PATIENCE):
        await parted.wait()

    await drain(app)
    (report,) = await waiting.wait([job_id], timeout=10)  # and somebody may wait again
    assert report.status == "succeeded"
    await waiting.close()


async def test_an_app_that_is_closed_keeps_nobody_waiting(app: App) -> None:
    @app.task()
    async def task() -> None: ...

    job_id = await task.defer_async()
    waited = asyncio.create_task(app.wait_for([job_id]))
    await asyncio.sleep(0)

    await app.close_async()

    with pytest.raises(exceptions.AppNotOpen):
        async with asyncio.timeout(PATIENCE):
            await waited


async def test_an_app_that_is_closed_between_two_looks_keeps_nobody_waiting(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_once(monkeypatch)
    looked = asyncio.Event()

    class Told(waiters.Waiters):
        def _settle(self, asked: Any, reports: Any) -> None:
            super()._settle(asked, reports)
            looked.set()

    before = asyncio.all_tasks()
    waiting = Told(app.connector, asyncio.get_running_loop())
    job_id = await app.configure_task("t").defer_async()
    waited = asyncio.create_task(waiting.wait([job_id]))
    async with asyncio.timeout(PATIENCE):
        await looked.wait()
        await waiting.close()
        with pytest.raises(exceptions.AppNotOpen):
            await waited
        await waiting.close()  # which may be twice
    assert asyncio.all_tasks() == before


async def test_jobs_that_are_not_there_keep_no_others_from_their_ends(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot_listen(**_: Any) -> None:
        raise exceptions.SyncConnectorConfigurationError

    # One look has to do for all.
    monkeypatch.setattr(app.connector, "listen_notify", cannot_listen)
    _look_once(monkeypatch)
    job_id = await app.configure_task("t").defer_async()
    await app.job_manager.cancel_job_by_id_async(job_id)

    nowhere = asyncio.create_task(app.wait_for([10001, 10002]))
    cancelled = asyncio.create_task(app.wait_for([job_id]))

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(exceptions.JobNotFound, match="There is no job 10001"):
            await nowhere
        assert [report.status for report in await cancelled] == ["cancelled"]


async def test_who_waits_is_told_why_the_database_says_nothing(
    database_app: App, conn: psycopg.Connection
) -> None:
    app = database_app
    ids = await app.configure_task("t").batch_defer_async(*numbers(2))
    conn.execute("alter function procrastinate_get_results_v1 rename to gone")

    with pytest.raises(exceptions.ConnectorException) as raised:
        await app.wait_for(ids, timeout=PATIENCE)
    assert "procrastinate_get_results_v1" in str(raised.value.__cause__)


@pytest.mark.parametrize("comes_back", [False, True], ids=["nobody", "somebody"])
async def test_a_look_that_takes_longer_than_anybody_waits_is_left_in_peace(
    database_app: App,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    comes_back: bool,
) -> None:
    app = database_app
    monkeypatch.setattr(waiters, "LINGER", 0.0)
    parted = _parted(app, monkeypatch)
    before = asyncio.all_tasks()
    waiting = waiters.Waiters(app.connector, asyncio.get_running_loop())
    job_id = await app.configure_task("t").defer_async()
    blocked = (
        "select l.pid from pg_locks as l join pg_database as d on d.oid = l.database"
        " where d.datname = current_database() and not l.granted"
    )
    asking = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and query like '%get_results%' and pid <> pg_backend_pid()"
    )
    waited: asyncio.Task[Any] | None = None
    with conn.transaction():
        conn.execute("lock table procrastinate_jobs")
        given_up = asyncio.create_task(waiting.wait([job_id]))
        async with asyncio.timeout(PATIENCE):
            while not (looking := conn.execute(blocked).fetchall()):  # noqa: ASYNC110 (the server has no event for it)
                await asyncio.sleep(0.005)
            given_up.cancel()
            await parted.wait()
        closing = [task for task in asyncio.all_tasks() - before if not task.done()]
        if comes_back:
            waited = asyncio.create_task(waiting.wait([job_id]))
            await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait(closing)
        if waited is not None:
            conn.execute("update procrastinate_jobs set status = 'cancelled'")
            assert [report.status for report in await waited] == ["cancelled"]
            assert conn.execute(asking).fetchall() == looking  # its connection stays
        await waiting.close()


async def test_a_job_may_be_waited_for_twice_and_by_many(app: App, work: Work) -> None:
    @app.task(ttl=60)
    async def task(n: int) -> int:
        return n

    first, second = await task.batch_defer_async({"n": 1}, {"n": 2})
    waits = [asyncio.create_task(app.wait_for([second, first, second])) for _ in range(5)]
    await work(app)

    async with asyncio.timeout(PATIENCE):
        for reports in await asyncio.gather(*waits):
            assert [report.result for report in reports] == [2, 1, 2]
    assert await app.wait_for([]) == []


async def test_a_notification_that_is_not_ours_disturbs_nobody(
    database_app: App,
    conn: psycopg.Connection,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = database_app
    caplog.set_level(logging.DEBUG, logger=waiters.logger.name)

    @app.task(ttl=60)
    async def task() -> int:
        return 1

    job_id = await task.defer_async()
    listening = _listening(app, monkeypatch)
    waited = asyncio.create_task(app.handle(job_id).result(timeout=PATIENCE))
    async with asyncio.timeout(PATIENCE):
        await listening.wait()
    for payload in ("", "[]", '{"job_ids": 1}', '{"job_ids": ["x", null, -1]}'):
        conn.execute("select pg_notify(%s, %s)", [waiters.CHANNEL, payload])
    await work(app)

    assert await waited == 1
    strange = [it for it in caplog.messages if it.startswith("Received a notification")]
    assert len(strange) == 3  # the last one names jobs, of which nobody waits for any


async def test_sync_code_that_waits_in_vain_is_told_for_what(app: App) -> None:
    first, second = await app.configure_task("t").batch_defer_async(*numbers(2))
    wait_for = app.job_manager.wait_for

    with pytest.raises(TimeoutError, match=f"2 jobs have not ended, among them job {first}"):
        await asyncio.to_thread(wait_for, [first, second], 0.02)
    with pytest.raises(exceptions.JobNotFound, match="There is no job 10001"):
        await asyncio.to_thread(wait_for, [first, 10001])
    assert await asyncio.to_thread(wait_for, []) == []


async def test_map_gives_the_results_in_the_order_of_the_arguments(
    app: App, work: Work
) -> None:
    @app.task()
    async def half(n: int) -> float:
        if n % 2:
            raise ValueError(f"{n} is odd")
        return n / 2

    await work(app, concurrency=10)

    assert await half.map_async([{"n": 2 * n} for n in range(30)]) == list(range(30))
    assert await half.map_async([]) == []
    with pytest.raises(exceptions.JobFailed, match="3 is odd"):
        await half.map_async([{"n": 2}, {"n": 3}, {"n": 5}])
    found: list[Any] = await half.map_async([{"n": 4}, {"n": 5}], return_exceptions=True)
    assert found[0] == 2
    assert isinstance(found[1], exceptions.JobFailed)


async def test_a_job_in_an_open_transaction_can_not_be_waited_for(app: App) -> None:
    @app.task()
    async def task() -> None: ...

    deferrer = task.configure(connection=object())

    with pytest.raises(ValueError, match="commit, and wait for it by its id"):
        await deferrer.defer_and_wait_async()
    with pytest.raises(ValueError, match="commit, and wait for it by its id"):
        deferrer.map([{}])


def test_each_event_loop_waits_for_itself(dsn: str) -> None:
    app = App(connector=PsycopgConnector(conninfo=dsn))

    @app.task(ttl=60)
    async def task(n: int) -> int:
        return n

    async def wait_for(n: int) -> Any:
        async with app.open_async():
            job_id = await task.defer_async(n=n)
            await drain(app)
            return await task.handle(job_id).result(timeout=10)

    assert [asyncio.run(wait_for(n)) for n in range(2)] == [0, 1]


async def test_five_thousand_wait_at_once_on_two_connections(
    database_app: App, conn: psycopg.Connection, work: Work
) -> None:
    app, count = database_app, 5000
    released = asyncio.Event()

    @app.task(ttl=60)
    async def task(n: int) -> int:
        await released.wait()
        return n

    ids = await task.batch_defer_async(*numbers(count))
    query = "select count(*) from pg_stat_activity where datname = current_database()"
    (before,) = conn.execute(query).fetchone() or (0,)
    async with asyncio.TaskGroup() as group:
        results = [
            group.create_task(task.handle(job_id).result(timeout=2 * PATIENCE))
            for job_id in ids
        ]
        await asyncio.sleep(0)
        (during,) = conn.execute(query).fetchone() or (0,)
        await work(app, concurrency=100)
        released.set()
    assert [result.result() for result in results] == list(range(count))
    assert during - before <= 2
