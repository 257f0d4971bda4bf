"""Connections beside the pool: one that is not wanted any more is closed while it is made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

import pytest

from procrastinate import PsycopgConnector
from procrastinate.rpc import front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any

#: Seconds after which a test that waits has failed.
PATIENCE = 20.0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing that is part of a cycle goes away by chance."""
    gc.disable()
    yield
    gc.enable()


class SilentServer:
    """Takes connections, and never says a word."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)
        self.asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        self.left.set()
        writer.close()


async def _listen(connector: PsycopgConnector) -> None:
    async def hear(*, channel: str, payload: str) -> None: ...

    await connector.listen_notify(hear, ["a"])


async def _call_by_line(connector: PsycopgConnector) -> None:
    await connector.line().call_async(front.check())


@pytest.fixture
async def silent() -> AsyncIterator[tuple[SilentServer, PsycopgConnector]]:
    """A server that never answers, and a connector to it, open."""
    server = SilentServer()
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    connector = PsycopgConnector(
        conninfo=f"host=127.0.0.1 port={port} sslmode=disable gssencmode=disable",
        min_size=0,
        max_size=1,
    )
    await connector.open_async()
    yield server, connector
    await connector.close_async()
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize("use", [_listen, _call_by_line])
async def test_a_connection_that_is_cancelled_while_it_is_made_is_closed(
    silent: tuple[SilentServer, PsycopgConnector],
    no_collector: None,
    use: Callable[[PsycopgConnector], Coroutine[Any, Any, None]],
) -> None:
    server, connector = silent
    task = asyncio.create_task(use(connector))
    await asyncio.wait_for(server.asked.wait(), PATIENCE)

    task.cancel()
    await asyncio.wait([task])

    # Also while somebody has the task, whose end refers to all that was under way.
    await asyncio.wait_for(server.left.wait(), PATIENCE)
    assert task.cancelled()
