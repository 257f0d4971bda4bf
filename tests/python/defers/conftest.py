"""An app whose statements can be watched, and held back before they are sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from procrastinate import App, PsycopgConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

POOL = 4


@pytest.fixture
async def app(dsn: str) -> AsyncIterator[App]:
    """An app with an async connector, open."""
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=POOL, max_size=POOL))
    async with app.open_async():
        yield app


@attrs.define
class Wire:
    """What goes to the database: how many jobs each statement has, and when it may go."""

    send: Callable[..., Awaitable[Any]]
    statements: list[int] = attrs.field(factory=list[int])
    calls: list[Any] = attrs.field(factory=list[Any])
    tasks: list[asyncio.Task[Any] | None] = attrs.field(
        factory=list["asyncio.Task[Any] | None"]
    )
    is_open: asyncio.Event = attrs.field(factory=asyncio.Event)
    arrived: asyncio.Condition = attrs.field(factory=asyncio.Condition)

    async def call_async(self, call: Any, **options: Any) -> Any:
        async with self.arrived:
            self.statements.append(len(call.args.get("p_args", "1")))
            self.calls.append(call)
            self.tasks.append(asyncio.current_task())
            self.arrived.notify_all()
        await self.is_open.wait()
        return await self.send(call, **options)

    async def has(self, statements: int) -> None:
        """Wait until so many statements have come."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.statements) >= statements)


@pytest.fixture
def wire(app: App, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The wire of the app, open."""
    wire = Wire(app.connector.call_async)
    wire.is_open.set()
    monkeypatch.setattr(app.connector, "call_async", wire.call_async)
    return wire
