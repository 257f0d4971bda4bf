"""Apps of every colour on a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def async_app(dsn: str) -> App:
    """An app with an async connector, not open."""
    return App(connector=PsycopgConnector(conninfo=dsn, min_size=1, max_size=4))


@pytest.fixture
async def open_app(async_app: App) -> AsyncIterator[App]:
    """An app with an async connector, open for async code."""
    async with async_app.open_async():
        yield async_app


@pytest.fixture
def sync_app(dsn: str) -> Iterator[App]:
    """An app with a sync connector, open."""
    app = App(connector=SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=4))
    with app.open():
        yield app
