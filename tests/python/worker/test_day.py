"""
A day in which little happens, and nobody polls.

Two workers mostly sleep; jobs are deferred one by one, in bursts that make the workers quiet,
for later, in transactions that stay open meanwhile, or that are rolled back. Neither worker
polls or beats: a job that nobody was told of would lie there for ever. Hours take no time, on
the loop's clock and on the database's.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import random
import time
from typing import TYPE_CHECKING, Any, cast

import attrs
import psycopg
import psycopg.connection_async
import psycopg.waiting
import pytest

from procrastinate import App, PsycopgConnector, connector
from procrastinate.rpc import decode
from procrastinate.rpc.call import Call, Function
from procrastinate.worker import Worker, quiet

from .conftest import see_it_end
from .time_lapse import Exchanges, TimeLapse

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = int(os.environ.get("DAY_SEED", "1"))
DAY = 24 * 3600.0
EVENTS = 60
PATIENCE = 10.0  # seconds, real ones, after which a job that may run was forgotten
NEVER = 10_000_000.0
LATEST_LOOK = 60.0  # at a transaction that stays open: a second would make a day long
START = datetime.datetime(2030, 1, 7, tzinfo=datetime.UTC)

# what may run now: of a lock only the first
LEFT = """
select t.job_id, t.queue_name, t.state::text
from procrastinate_todo as t
where coalesce(t.scheduled_at <= procrastinate_now(), true)
    and not exists (
        select from procrastinate_todo as h where h.lock = t.lock and h.job_id < t.job_id
    )
union all
select d.job_id, 'running', null from procrastinate_doing as d
"""


SERVER_OF_B_IS_QUIET = b"select quiet from procrastinate_workers where queues is null"


CLOCK = Function(
    name="clock",
    arguments={"now": "text"},
    body="select set_config('procrastinate.now', %(now)s, false)",
)


class _Clocked(Exchanges):
    """Exchanges that tell the database what time it is on the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        clocked = self
        counted: Any = self.pool_options["kwargs"]["cursor_factory"]

        class Cursor(counted):  # type: ignore[misc]  # made in a function
            async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                clocked.under_way += 1
                try:
                    await psycopg.AsyncCursor.execute(cast(Any, self), set_clock())
                finally:
                    clocked.under_way -= 1
                cursor: Any = super()
                return await cursor.execute(query, *args, **options)

        connection: Any = self.pool_options["connection_class"]

        class Connection(connection):  # type: ignore[misc]  # made in a function
            async def wait(self, gen: Any, interval: float = 3600.0, **options: Any) -> Any:
                # psycopg's own is a tenth of a second: a million of them in a day
                waiter: Any = super()
                return await waiter.wait(gen, interval, **options)

        self.pool_options["kwargs"]["cursor_factory"] = Cursor
        self.pool_options["connection_class"] = Connection

    def watch_lines(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        super().watch_lines(app, monkeypatch)
        make = app.connector.line

        def line() -> Any:
            made: Any = make()
            send = made.call_async

            async def call_async(call: Any) -> Any:
                await send(Call(function=CLOCK, args={"now": moment()}, decode=decode.one))
                return await send(call)

            made.call_async = call_async
            return made

        monkeypatch.setattr(app.connector, "line", line)


def moment(seconds: float = 0) -> str:
    """The loop's time, and so many seconds, as the database has it."""
    now = asyncio.get_running_loop().time() - _begun[0]
    return (START + datetime.timedelta(seconds=now + seconds)).isoformat()


def set_clock() -> bytes:
    return f"select set_config('procrastinate.now', '{moment()}', false)".encode()


_begun = [0.0]


@attrs.define
class Day:
    exchanges: Exchanges
    connect: Callable[[], psycopg.Connection]
    draw: random.Random
    conn: psycopg.Connection
    history: list[str] = attrs.field(factory=list[str])
    checking: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    open_ones: set[asyncio.Task[None]] = attrs.field(factory=set[asyncio.Task[None]])

    def tell(self, what: str) -> None:
        self.history.append(f"{moment()} {what}")

    def defer(self, conn: psycopg.Connection, at: float | None = None) -> None:
        queue = self.draw.choice(["a", "b"])
        lock = self.draw.choice([None, None, "l"])
        conn.execute(set_clock())
        conn.execute(
            "select procrastinate_defer_job(%s, 't', lock => %s, scheduled_at => %s)",
            [queue, lock, None if at is None else moment(at)],
        )

    def one(self) -> None:
        self.defer(self.conn)

    def burst(self) -> None:
        for _ in range(12):
            self.defer(self.conn)

    def later(self) -> None:
        self.defer(self.conn, at=self.draw.uniform(1, 7200))

    def open_transaction(self) -> None:
        self.open_ones.add(asyncio.create_task(self._keep_open()))

    def transaction_while_busy(self) -> None:
        self.open_ones.add(asyncio.create_task(self._write_while_busy()))

    async def _write_while_busy(self) -> None:
        """Write when the one worker of a queue is quiet, and commit when it sleeps again."""
        with contextlib.closing(self.connect()) as conn:
            conn.execute("begin")
            async with self.checking:
                self.conn.execute(
                    "insert into procrastinate_jobs (queue_name, task_name)"
                    " select 'b', 't' from generate_series(1, 40)"
                )
                await self._all_is_done(until=SERVER_OF_B_IS_QUIET)
            conn.execute("select procrastinate_defer_job('b', 't')")
            await self.all_is_done()
            await asyncio.sleep(self.draw.uniform(0, 1200))
            async with self.checking:
                conn.execute("commit")
                self.tell("commit of what was written while they were busy")
                await asyncio.sleep(LATEST_LOOK)
                await self._all_is_done()

    async def _keep_open(self) -> None:
        end = self.draw.choice(["commit", "commit", "rollback"])
        level = self.draw.choice(["read committed", "read committed", "repeatable read"])
        with contextlib.closing(self.connect()) as conn:
            conn.execute(f"begin isolation level {level}".encode())
            conn.execute("select count(*) from procrastinate_jobs")
            await asyncio.sleep(self.draw.uniform(0, 1200))
            self.defer(conn)
            await asyncio.sleep(self.draw.uniform(0, 1200))
            async with self.checking:
                conn.execute(end.encode())
                self.tell(f"{end} of a transaction, {level}")
                await asyncio.sleep(LATEST_LOOK)
                await self._all_is_done()

    async def all_is_done(self) -> None:
        """See that what may run has run, apart from what somebody is still to look for."""
        async with self.checking:
            await self._all_is_done()

    async def _all_is_done(self, until: bytes = b"select false") -> None:
        # Meanwhile time is real: notifications take some.
        self.exchanges.under_way += 1
        deadline = time.monotonic() + PATIENCE
        try:
            while True:
                self.conn.execute(set_clock())
                left = self.conn.execute(LEFT).fetchall()
                if not left or self.conn.execute(until).fetchone() == (True,):
                    return
                if time.monotonic() > deadline:
                    raise AssertionError(f"nobody was told of {left}:\n" + self.told())
                await asyncio.sleep(0.002)  # the database has no event for it
        finally:
            self.exchanges.under_way -= 1

    def told(self) -> str:
        return "\n".join(self.history[-20:])

    async def live(self) -> None:
        verbs = [
            self.one,
            self.burst,
            self.later,
            self.open_transaction,
            self.transaction_while_busy,
            self.transaction_while_busy,
        ]
        for _ in range(EVENTS):
            await asyncio.sleep(self.draw.expovariate(EVENTS / DAY))
            verb = self.draw.choice(verbs)
            self.tell(verb.__name__)
            verb()
            if self.draw.random() < 0.8:  # else something else happens at the same time
                await self.all_is_done()
        await asyncio.gather(*self.open_ones)
        await asyncio.sleep(7200)
        await self.all_is_done()


def test_in_a_day_of_idling_no_job_waits_for_a_poll(
    dsn: str, connect: Callable[[], psycopg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As often as can be: it is the way to sleep that is tried.
    monkeypatch.setattr(quiet, "BUSY_AFTER", 3)
    monkeypatch.setattr(quiet, "BUSY_WITHIN", NEVER)
    monkeypatch.setattr(quiet, "FIRST_PATIENCE", 0.0)
    monkeypatch.setattr(quiet, "LATEST_LOOK", LATEST_LOOK)
    # A connection that is tried out makes its worker look, too.
    monkeypatch.setattr(connector, "LISTEN_TIMEOUT", NEVER)
    exchanges = _Clocked()
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, **exchanges.pool_options))
    exchanges.watch_lines(app, monkeypatch)
    day = Day(exchanges, connect, random.Random(SEED), connect())

    @app.task(name="t")
    async def task() -> None: ...

    async def story() -> None:
        loop = asyncio.get_running_loop()
        _begun[0] = loop.time()
        for module in (psycopg.connection_async, psycopg.waiting):
            monkeypatch.setattr(module, "monotonic", loop.time)
        async with app.open_async():
            workers = [
                Worker(
                    app,
                    queues=queues,
                    concurrency=concurrency,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=NEVER,
                    update_heartbeat_interval=NEVER,
                    abort_job_polling_interval=NEVER,
                    stalled_worker_timeout=NEVER,
                )
                for queues, concurrency in ((["a"], 1), (None, 2))
            ]
            runs = [asyncio.create_task(worker.run()) for worker in workers]
            await asyncio.sleep(5)
            await day.live()
            for worker in workers:
                worker.stop()
            for run in runs:
                await see_it_end(run)

    with asyncio.Runner(loop_factory=lambda: TimeLapse(exchanges)) as runner:
        runner.run(story())

    assert exchanges.statements.count("set_quiet_v1") >= 20
    assert day.conn.execute("select * from procrastinate_check()").fetchall() == []
    assert day.conn.execute(
        "select count(*) filter (where status <> 'succeeded'), count(*) > %s"
        " from procrastinate_jobs",
        [EVENTS],
    ).fetchone() == (0, True)
