"""A busy worker is not notified, one that sleeps always is, and none says so without need."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
import psycopg
import psycopg.connection_async
import psycopg.waiting
import pytest

from procrastinate import App, PsycopgConnector, exceptions
from procrastinate.rpc import values
from procrastinate.worker import Worker, quiet, waiting

from .conftest import PATIENCE, Database, StartWorker, intercept, see_it_end
from .time_lapse import Exchanges, TimeLapse

T = TypeVar("T")
NEVER = 10_000_000.0
ALONE = {
    "fetch_job_polling_interval": NEVER,
    "abort_job_polling_interval": NEVER,
    "update_heartbeat_interval": NEVER,
}


@attrs.define
class Lapse:
    """An app on a loop whose waits take no time."""

    app: App
    exchanges: Exchanges
    monkeypatch: pytest.MonkeyPatch

    def run(self, story: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def told() -> T:
            loop = asyncio.get_running_loop()
            for module in (psycopg.connection_async, psycopg.waiting):
                self.monkeypatch.setattr(module, "monotonic", loop.time)
            async with self.app.open_async():
                return await story()

        with asyncio.Runner(loop_factory=lambda: TimeLapse(self.exchanges)) as runner:
            return runner.run(told())

    def said(self, function: str) -> int:
        return self.exchanges.statements.count(function)


@pytest.fixture
def lapse(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Lapse:
    exchanges = Exchanges()
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, **exchanges.pool_options))
    exchanges.watch_lines(app, monkeypatch)
    return Lapse(app, exchanges, monkeypatch)


def add_task(app: App, seconds: float = 0) -> Any:
    @app.task(name="t", queue="q")
    async def task() -> None:
        await asyncio.sleep(seconds)

    return task


async def test_a_worker_of_a_long_line_becomes_quiet_and_asks_again_before_it_sleeps(
    app: App,
    database: Database,
    conn: psycopg.Connection,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quiet, "FIRST_PATIENCE", 0.0)
    monkeypatch.setattr(quiet, "BUSY_WITHIN", NEVER)
    conn.execute(
        "create table said (quiet boolean); create function tell() returns trigger"
        " language plpgsql as 'begin insert into said values (new.quiet); return null; end';"
        " create trigger tell after update of quiet on procrastinate_workers for each row"
        " execute function tell()"
    )
    await add_task(app).batch_defer_async(*[{}] * 40)
    await start_worker(concurrency=1, **ALONE)
    await database.until("select 1 from said having count(*) = 2")
    assert conn.execute("select quiet from said").fetchall() == [(True,), (False,)]
    await database.until("select 1 from procrastinate_jobs having bool_and(status='succeeded')")
    # And it is woken, as nothing else makes it look:
    job_id = await app.configure_task("t", queue="q").defer_async()
    await database.until_status(job_id, "succeeded")


async def test_a_worker_without_a_free_slot_becomes_quiet_without_looking_for_jobs(
    app: App, conn: psycopg.Connection, database: Database, start_worker: StartWorker
) -> None:
    task = add_task(app, seconds=NEVER)
    await task.batch_defer_async({}, {})
    run = await start_worker(concurrency=1, shutdown_graceful_timeout=0, **ALONE)
    await run.until_it_runs()
    await database.until("select 1 from procrastinate_workers where quiet")
    assert conn.execute("select count(*) from procrastinate_doing").fetchone() == (1,)


async def test_a_worker_that_only_polls_is_quiet_from_the_start(
    database: Database, start_worker: StartWorker
) -> None:
    await start_worker(listen_notify=False)
    await database.until("select 1 from procrastinate_workers where quiet")


async def test_a_job_does_not_wait_until_its_worker_has_said_that_it_is_busy(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.args.get("p_quiet") or "p_limit" in call.args:
            order.append(call.function.name)
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    job_id = await add_task(app).defer_async()
    await start_worker(listen_notify=False)  # and so quiet, from the start
    await database.until_status(job_id, "succeeded")
    await database.until("select 1 from procrastinate_workers where quiet")

    assert order[:2] == ["procrastinate_finish_and_fetch_v1", "procrastinate_set_quiet_v1"]


async def test_a_worker_that_sleeps_hears_of_what_a_long_transaction_wrote_unseen(
    app: App,
    database: Database,
    conn: psycopg.Connection,
    connect: Callable[[], psycopg.Connection],
    start_worker: StartWorker,
) -> None:
    add_task(app)
    conn.execute("select procrastinate_register_worker_v2()")
    conn.execute("update procrastinate_workers set quiet = true")
    writer = connect()
    writer.execute("begin")
    # Written while all are quiet, and not told to anybody: the worker comes later.
    row = writer.execute("select procrastinate_defer_job('q', 't')").fetchone()
    run = await start_worker(**ALONE)
    async with asyncio.timeout(PATIENCE):
        while not run.worker.claims.quiet.is_waiting:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)
    writer.execute("commit")
    assert row is not None
    await database.until_status(row[0], "succeeded")
    async with asyncio.timeout(PATIENCE):
        while run.worker.claims.quiet.is_waiting:  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)


async def test_a_worker_whose_row_is_lost_looks_again_when_it_has_a_new_one(
    app: App, database: Database, conn: psycopg.Connection, start_worker: StartWorker
) -> None:
    add_task(app)
    conn.execute("select procrastinate_register_worker_v2('other', '{q}')")
    conn.execute("update procrastinate_workers set quiet = true")
    run = await start_worker(**ALONE)
    await database.until("select 1 from procrastinate_workers where not quiet")
    conn.execute("delete from procrastinate_workers where not quiet")
    job_id = await app.configure_task("t", queue="q").defer_async()  # nobody is told
    run.worker.heartbeat.look_now()
    await database.until_status(job_id, "succeeded")


async def test_a_worker_that_lost_its_ear_says_again_that_it_is_to_be_told(
    database: Database, conn: psycopg.Connection, start_worker: StartWorker
) -> None:
    run = await start_worker(**ALONE)
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")
    await database.until("select 1 from procrastinate_workers")
    # As another server may have it after a failover:
    conn.execute("update procrastinate_workers set quiet = true")
    conn.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen%'"
    )
    await database.until("select 1 from procrastinate_workers where not quiet")
    await run.stop()


def test_a_trickle_of_jobs_writes_nothing_about_the_worker(lapse: Lapse) -> None:
    task = add_task(lapse.app)

    async def story() -> None:
        worker = Worker(lapse.app, install_signal_handlers=False, concurrency=5)
        run = asyncio.create_task(worker.run())
        for _ in range(60):
            await task.defer_async()
            await asyncio.sleep(1)  # on this clock it takes no time
        worker.stop()
        await see_it_end(run)

    lapse.run(story)
    assert lapse.said("set_quiet_v1") == 0
    assert lapse.said("list_writers_v1") in {1, 2}


def test_a_worker_that_is_quiet_in_vain_waits_longer_before_the_next_time(
    lapse: Lapse,
) -> None:
    async def story() -> list[float]:
        worker = Worker(lapse.app, install_signal_handlers=False, concurrency=5)
        run = asyncio.create_task(worker.run())
        await asyncio.sleep(1)
        loop, mind = asyncio.get_running_loop(), worker.claims.quiet
        became: list[float] = []

        async def send(call: Any, *, receive: Callable[[Any], None], **_: Any) -> bool:
            if call.args.get("p_quiet"):
                became.append(loop.time())
            receive(frozenset() if call.function.name.endswith("list_writers_v1") else None)
            return True

        for _ in range(600 * 30):  # ten minutes at 30 jobs a second: now it is busy, now not
            mind.took(1, 5)
            await mind.speak(send)
            for _ in range(4):
                mind.took(0, 5)
                await mind.may_rest(send)
            await asyncio.sleep(1 / 30)
        worker.stop()
        await see_it_end(run)
        return became

    became = lapse.run(story)
    assert 10 <= len(became) <= 25
    pauses = [after - before for before, after in itertools.pairwise(became)]
    assert pauses[0] < 1
    assert pauses[-1] > quiet.MOST_PATIENCE


WHO_WRITES = "who writes?"


@attrs.define
class Mind:
    """The mind of a registered worker that does not run, on a clock of its own."""

    worker: Worker
    now: float = 1000.0
    said: list[bool | str] = attrs.field(factory=list)
    is_answered: bool = True
    writers: frozenset[values.Writer] = frozenset()

    @property
    def quiet(self) -> quiet.Quiet:
        return self.worker.claims.quiet

    async def _send(self, call: Any, *, receive: Callable[[Any], None], **_: Any) -> bool:
        self.said.append(call.args.get("p_quiet", WHO_WRITES))
        if self.is_answered:
            receive(None if "p_quiet" in call.args else self.writers)
        return self.is_answered

    async def speak(self) -> None:
        await self.quiet.speak(self._send)

    async def may_rest(self) -> bool:
        return await self.quiet.may_rest(self._send)

    def take(self, *claimed: int, pause: float = 0.0) -> None:
        for count in claimed:
            self.now += pause
            self.quiet.took(count, 5)

    async def become_quiet(self) -> None:
        await self.speak()
        self.now += 64.0  # whatever its patience is
        self.take(*[1] * quiet.BUSY_AFTER)
        await self.speak()
        assert self.said.pop() is True

    async def be_quiet(self, exchanges: int, seconds: float) -> None:
        await self.become_quiet()
        self.now += seconds
        self.take(*[1] * (exchanges - quiet.EMPTY_LOOKS), *[0] * quiet.EMPTY_LOOKS)
        assert not await self.may_rest()
        assert self.said == [False, WHO_WRITES]
        self.said.clear()


MakeMind = Callable[..., Coroutine[Any, Any, Mind]]


@pytest.fixture
def make_mind(app: App, monkeypatch: pytest.MonkeyPatch) -> MakeMind:
    async def make(**options: Any) -> Mind:
        mind = Mind(Worker(app, install_signal_handlers=False, **options))
        monkeypatch.setattr(mind.quiet, "_now", lambda: mind.now)
        await mind.worker.registration.register()
        return mind

    return make


@pytest.mark.parametrize(
    ("exchanges", "pause", "becomes"),
    [(9, 0.05, []), (10, 0.05, [True]), (30, 0.05, [True]), (30, 0.058, [])],
)
async def test_ten_exchanges_with_jobs_within_half_a_second_make_a_worker_busy(
    make_mind: MakeMind, exchanges: int, pause: float, becomes: list[bool]
) -> None:
    mind = await make_mind()
    await mind.speak()
    mind.now += 1.0
    mind.take(*[1, 0] * exchanges, pause=pause / 2)  # those in vain do not matter
    await mind.speak()
    await mind.speak()  # once is enough
    assert mind.said == becomes


async def test_a_worker_has_to_have_been_told_for_a_while_before_it_is_quiet(
    make_mind: MakeMind,
) -> None:
    mind = await make_mind()
    await mind.speak()
    mind.take(*[1] * 10)
    mind.now += quiet.FIRST_PATIENCE * 0.9
    await mind.speak()
    assert mind.said == []
    mind.now += quiet.FIRST_PATIENCE * 0.2
    await mind.speak()
    assert mind.said == [True]


async def test_a_worker_that_is_full_knows_when_it_will_be_a_busy_one(
    make_mind: MakeMind,
) -> None:
    mind = await make_mind()
    await mind.speak()
    mind.now += 1.0
    assert mind.quiet.rest_when_full() == quiet.FULL_FOR == 0.25
    mind.take(3, pause=0.125)  # slots were free
    assert mind.quiet.rest_when_full() == 0.25
    mind.take(5, pause=0.125)
    assert mind.quiet.rest_when_full() == 0.125
    await mind.speak()
    assert mind.said == []
    mind.now += 0.125
    await mind.speak()
    assert mind.said == [True]
    assert mind.quiet.rest_when_full() is None


async def test_a_worker_that_is_full_and_is_to_stop_does_not_become_quiet(
    make_mind: MakeMind,
) -> None:
    mind = await make_mind()
    mind.worker.stop()
    assert mind.quiet.rest_when_full() is None


@pytest.mark.parametrize(
    ("exchanges", "seconds", "patience"), [(49, 9.0, 0.8), (50, 0.0, 0.25), (3, 10.0, 0.25)]
)
async def test_patience_doubles_after_quiet_times_that_were_neither_long_nor_full_of_jobs(
    make_mind: MakeMind, exchanges: int, seconds: float, patience: float
) -> None:
    mind = await make_mind()
    await mind.be_quiet(3, 0.0)
    await mind.be_quiet(3, 0.0)
    assert mind.quiet.rest_when_full() == pytest.approx(0.4)
    await mind.be_quiet(exchanges, seconds)
    # The patience, or what makes a full worker a busy one, if that is longer.
    assert mind.quiet.rest_when_full() == pytest.approx(patience)


async def test_patience_has_an_end(make_mind: MakeMind) -> None:
    mind = await make_mind()
    for _ in range(12):
        await mind.be_quiet(3, 0.0)
    assert mind.quiet.rest_when_full() == quiet.MOST_PATIENCE == 60.0


async def test_a_worker_takes_its_word_back_at_the_third_look_in_vain(
    make_mind: MakeMind,
) -> None:
    mind = await make_mind()
    await mind.become_quiet()
    mind.take(0, 0, 1, 0, 0)
    assert not await mind.may_rest()
    assert mind.said == []
    mind.take(0)
    assert not await mind.may_rest()  # It has to look once more, as it is told of jobs now.
    assert await mind.may_rest()
    assert mind.said == [False, WHO_WRITES]


async def test_a_word_that_could_not_be_taken_back_is_taken_back_later(
    make_mind: MakeMind,
) -> None:
    mind = await make_mind()
    await mind.become_quiet()
    mind.take(0, 0, 0)
    mind.is_answered = False
    assert not await mind.may_rest()
    assert mind.said == [False]
    mind.is_answered = True
    assert not await mind.may_rest()
    assert mind.said == [False, False, WHO_WRITES]


async def test_a_worker_that_was_never_quiet_asks_once_who_writes(make_mind: MakeMind) -> None:
    mind = await make_mind()
    assert not await mind.may_rest()
    assert await mind.may_rest()
    assert mind.said == [WHO_WRITES]


@pytest.mark.parametrize("options", [{"listen_notify": False}, {"wait": False}], ids=repr)
async def test_a_worker_that_polls_or_ends_asks_nobody(
    make_mind: MakeMind, options: dict[str, Any]
) -> None:
    mind = await make_mind(**options)
    assert await mind.may_rest()
    assert mind.said == []


async def test_after_a_doubt_and_for_a_new_row_all_is_asked_anew(make_mind: MakeMind) -> None:
    mind = await make_mind()
    await mind.may_rest()
    mind.said.clear()
    mind.quiet.doubt()
    assert not await mind.may_rest()
    assert mind.said == [False, WHO_WRITES]
    await mind.become_quiet()
    mind.said.clear()
    await mind.worker.registration.register()
    assert not await mind.may_rest()  # The new row does not say that it is quiet.
    assert mind.said == [WHO_WRITES]


async def test_writers_are_looked_at_until_they_have_ended_and_each_end_is_a_reason_to_look(
    make_mind: MakeMind, monkeypatch: pytest.MonkeyPatch
) -> None:
    mind = await make_mind()
    first, second, late, prepared = (
        values.Writer(pid=pid, virtual_transaction=name)
        for pid, name in ((1, "3/1"), (2, "4/1"), (3, "5/1"), (None, "-1/7"))
    )
    answers: list[set[values.Writer] | None] = [
        {first, second, late},
        None,
        {second, prepared, late},
        {prepared, late},
        {late},  # It began when it could see that the worker is to be told.
    ]
    ages = [0.0, 0.08, 4.0, 100.0, 100.0]
    pauses: list[float] = []
    woken: list[int] = []

    async def call(*_: Any) -> frozenset[values.Writer]:
        answer = answers.pop(0)
        if answer is None:
            raise exceptions.DatabaseUnavailable
        return frozenset(answer)

    async def event_or_deadline(_: asyncio.Event, seconds: float) -> None:
        pauses.append(seconds)
        mind.now = begun + ages.pop(0)

    monkeypatch.setattr(mind.worker.outage, "call", call)
    monkeypatch.setattr(mind.worker.claims, "wake", lambda: woken.append(len(answers)))
    monkeypatch.setattr(waiting, "event_or_deadline", event_or_deadline)
    begun = mind.now
    mind.writers = frozenset({first, second})
    await mind.may_rest()
    watch = asyncio.create_task(mind.quiet.watch())
    while mind.quiet.is_waiting and not watch.done():  # noqa: ASYNC110 (it is not announced)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
    assert pauses == pytest.approx([0.005, 0.005, 0.01, 0.5, 1.0])
    assert woken == [2, 1, 0]
