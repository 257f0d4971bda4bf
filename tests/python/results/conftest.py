"""An app on a database of the test's own or on the queue in memory, and its worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, PsycopgConnector
from procrastinate.testing import InMemoryConnector
from procrastinate.worker import Worker

if TYPE_CHECKING:
    from procrastinate.types import JSONDict

#: Seconds after which a test that waits has failed. No test takes so long.
PATIENCE = 20.0


@pytest.fixture
async def database_app(dsn: str) -> AsyncIterator[App]:
    """An app on PostgreSQL, open."""
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=4, timeout=10))
    async with app.open_async():
        yield app


@pytest.fixture(params=["postgresql", "memory"])
async def app(request: pytest.FixtureRequest) -> AsyncIterator[App]:
    """An app, open: on PostgreSQL, then in memory."""
    if request.param == "postgresql":
        dsn = request.getfixturevalue("dsn")
        connector: Any = PsycopgConnector(conninfo=dsn, min_size=1, max_size=4, timeout=10)
    else:
        connector = InMemoryConnector()
    app = App(connector=connector)
    async with app.open_async():
        yield app


Work = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    """Let a worker of an app run in the background; it is stopped at the end of the test."""
    runs: list[tuple[Worker, asyncio.Task[None]]] = []

    async def start(app: App, **options: Any) -> Worker:
        worker = Worker(app, install_signal_handlers=False, **options)
        runs.append((worker, asyncio.create_task(worker.run())))
        return worker

    yield start
    for worker, run in runs:
        worker.stop()
        done, _ = await asyncio.wait([run], timeout=PATIENCE)
        if not done:
            run.cancel()
            run.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await asyncio.wait([run], timeout=PATIENCE)


def numbers(count: int) -> list[JSONDict]:
    """The arguments of so many jobs: n from 0."""
    return [{"n": n} for n in range(count)]


async def drain(app: App, **options: Any) -> None:
    """Run a worker until nothing is left that can run now."""
    worker = Worker(app, wait=False, install_signal_handlers=False, **options)
    async with asyncio.timeout(PATIENCE):
        await worker.run()
