"""A connector to send calls with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from procrastinate import SyncPsycopgConnector

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def connector(dsn: str) -> Iterator[SyncPsycopgConnector]:
    """A sync connector to a database of this test's own."""
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    connector.open()
    yield connector
    connector.close()
