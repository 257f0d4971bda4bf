"""Connectors of both colours to a database of the test's own, and a wire that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from procrastinate import PsycopgConnector, SyncPsycopgConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def connector(dsn: str) -> AsyncIterator[PsycopgConnector]:
    """An async connector, open."""
    connector = PsycopgConnector(conninfo=dsn, min_size=1, max_size=2, timeout=5)
    await connector.open_async()
    yield connector
    with contextlib.suppress(asyncio.CancelledError):
        await connector.close_async()


@pytest.fixture
def sync_connector(dsn: str) -> Iterator[SyncPsycopgConnector]:
    """A sync connector, open."""
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=2, timeout=5)
    connector.open()
    yield connector
    connector.close()
