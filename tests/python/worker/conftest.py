"""An app on a database of the test's own, its worker, and a wire between them to be cut."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector, connector
from procrastinate.rpc import front, listing
from procrastinate.worker import Worker

if TYPE_CHECKING:
    import psycopg

    from procrastinate import jobs

#: Seconds after which a test that waits for the worker has failed. No test takes so long.
PATIENCE = 20.0


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    """An app, open."""
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=6, timeout=10))
    async with app.open_async():
        yield app


def intercept(
    app: App, monkeypatch: pytest.MonkeyPatch, call_async: Callable[..., Awaitable[Any]]
) -> None:
    """Let a function make all calls of a worker that starts now, also those of its lanes."""
    monkeypatch.setattr(app.connector, "call_async", call_async)
    monkeypatch.setattr(app.connector, "line", lambda: connector.Line(app.connector))


async def see_it_end(task: asyncio.Task[None]) -> None:
    """Wait for a worker's end; if it does not come, insist, and fail."""
    done, _ = await asyncio.wait([task], timeout=PATIENCE)
    if not done:
        for _ in range(3):  # stop, insist, leave
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=PATIENCE)
        raise TimeoutError("the worker did not end")
    await task


async def run_to_its_end(worker: Worker) -> None:
    """Run a worker that ends by itself."""
    await see_it_end(asyncio.create_task(worker.run()))


@attrs.define
class Run:
    """A worker that runs in the background of a test."""

    worker: Worker
    task: asyncio.Task[None]

    async def until_it_runs(self, count: int = 1) -> None:
        """Wait until it knows so many jobs as its own: in the database they are so before."""
        async with asyncio.timeout(PATIENCE):
            while len(self.worker.running) != count:  # noqa: ASYNC110 (it is not announced)
                await asyncio.sleep(0.002)

    async def stop(self) -> None:
        """Stop it, and see it end."""
        self.worker.stop()
        await self.ended()

    async def ended(self) -> None:
        """See it end; raise what it raised."""
        await see_it_end(self.task)


StartWorker = Callable[..., Awaitable[Run]]


@pytest.fixture
async def start_worker(app: App) -> AsyncIterator[StartWorker]:
    """Start a worker, and stop it at the end if the test has not."""
    runs: list[Run] = []

    async def start(on: App = app, **options: Any) -> Run:
        worker = Worker(on, install_signal_handlers=False, **options)
        run = Run(worker, asyncio.create_task(worker.run()))
        runs.append(run)
        return run

    yield start
    for run in runs:
        run.worker.stop()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await see_it_end(run.task)


Drain = Callable[..., Awaitable[None]]


@pytest.fixture
def drain(app: App) -> Drain:
    """Run a worker until nothing is left that can run now."""

    async def run(**options: Any) -> None:
        worker = Worker(app, wait=False, install_signal_handlers=False, **options)
        await run_to_its_end(worker)

    return run


@attrs.define
class Database:
    """What the database says."""

    app: App
    conn: psycopg.Connection

    async def job(self, job_id: int) -> jobs.Job:
        """A job."""
        (job,) = await self.app.connector.call_async(listing.list_jobs(id=job_id))
        return job

    async def status(self, job_id: int) -> str | None:
        """A job's status."""
        return (await self.job(job_id)).status

    async def statuses(self) -> list[str | None]:
        """The statuses of all jobs, by id."""
        return [job.status for job in await self.app.connector.call_async(listing.list_jobs())]

    def events(self, job_id: int) -> list[str]:
        """The events of a job."""
        rows = self.conn.execute(
            "select type::text from procrastinate_events where job_id = %s order by id",
            [job_id],
        ).fetchall()
        return [event for (event,) in rows]

    async def until(self, query: str, *args: Any) -> None:
        """Wait until a query has a row."""
        async with asyncio.timeout(PATIENCE):
            while not self.conn.execute(query.encode(), args or None).fetchone():  # noqa: ASYNC110 (the server has no event for it)
                await asyncio.sleep(0.005)

    async def until_status(self, job_id: int, status: str) -> None:
        """Wait until a job has a status."""
        await self.until(
            "select 1 from procrastinate_jobs where id = %s and status::text = %s",
            job_id,
            status,
        )

    async def check(self) -> None:
        """See that the derived rows are what the jobs say."""
        assert await self.app.connector.call_async(front.check()) == []


@pytest.fixture
async def database(app: App, conn: psycopg.Connection) -> AsyncIterator[Database]:
    """What the database says; at the end it must be sound."""
    database = Database(app, conn)
    yield database
    await database.check()


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that is logged."""
    caplog.set_level(logging.DEBUG, logger="procrastinate")
    return caplog


def actions(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The actions of what was logged, in order."""
    return [
        record.__dict__["action"]
        for record in caplog.records
        if record.__dict__.get("action") is not None
    ]


class Cable:
    """
    A wire to the server that can be cut, or lose the answer to a statement.

    It copies bytes between whoever connects to it and the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._swallow: bytes | None = None
        self._is_cut = False
        self._hush_at: bytes | None = None
        self._hush: set[asyncio.StreamWriter] = set()
        self.swallowed = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0) -> None:
        """Let connections in."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)

    async def cut(self) -> None:
        """Break all connections, and let no new one through."""
        self._is_cut = True
        self._drop()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def hush(self) -> None:
        """Let nothing more through on the connections that there are, without a word."""
        self._hush |= self._writers

    def hush_at(self, text: str) -> None:
        """Hush the connection on which the next statement with this text comes."""
        self.swallowed.clear()
        self._hush_at = text.encode()

    def lose_answer_to(self, text: str) -> None:
        """Let the server do the next statement with this text, and then cut the wire."""
        self.swallowed.clear()
        self._swallow = text.encode()

    async def stop(self) -> None:
        """End it."""
        assert self._server is not None
        self._server.close()
        self._drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        return await asyncio.open_connection(self._host, self._port)

    def _drop(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._is_cut:
            writer.close()
            return
        up_reader, up_writer = await self._connect()
        self._writers |= {writer, up_writer}
        wanted: list[bool] = [False]
        tasks = [
            asyncio.create_task(self._up(reader, up_writer, wanted)),
            asyncio.create_task(self._down(up_reader, writer, wanted)),
        ]
        self._tasks |= set(tasks)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks -= set(tasks)
            for end in (writer, up_writer):
                self._writers.discard(end)
                end.close()

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: list[bool]
    ) -> None:
        while data := await reader.read(65536):
            if self._hush_at is not None and self._hush_at in data:
                self._hush_at = None
                self.hush()
                self.swallowed.set()
            if writer in self._hush:
                continue
            # A statement that is prepared already goes by its number: watched from the start.
            if self._swallow is not None and self._swallow in data:
                self._swallow, wanted[0] = None, True
            writer.write(data)
            await writer.drain()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: list[bool]
    ) -> None:
        while data := await reader.read(65536):
            if writer in self._hush:
                continue
            if wanted[0] and data.endswith(b"Z\x00\x00\x00\x05I"):  # ReadyForQuery: committed
                self.swallowed.set()
                return
            if wanted[0]:
                continue
            writer.write(data)
            await writer.drain()


@pytest.fixture
async def cable(dsn: str) -> AsyncIterator[Cable]:
    """A wire to the server of this test."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    host = str(parts.get("host") or "127.0.0.1")
    cable = Cable(host, int(parts.get("port") or 5432))
    await cable.start()
    yield cable
    await cable.stop()


@pytest.fixture
async def far_app(dsn: str, cable: Cable) -> AsyncIterator[App]:
    """An app that reaches the server through the cable."""
    conninfo = psycopg.conninfo.make_conninfo(
        dsn, host="127.0.0.1", port=str(cable.port), sslmode="disable", gssencmode="disable"
    )
    app = App(
        connector=PsycopgConnector(
            conninfo=conninfo,
            min_size=1,
            max_size=4,
            timeout=1,
            reconnect_timeout=1,
            # by their text each time: the cable looks for it
            kwargs={"prepare_threshold": None},
        )
    )
    async with app.open_async():
        yield app


@pytest.fixture(autouse=True)
def quiet_pool(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The pool's own complaints about a cable that is cut are not what is tested."""
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("psycopg.pool").setLevel(logging.NOTSET)
