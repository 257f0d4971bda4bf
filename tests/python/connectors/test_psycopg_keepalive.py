"""Connections notice that their peer went away without a word."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from procrastinate import PsycopgConnector, SyncPsycopgConnector
from procrastinate.connectors import psycopg_keepalive
from procrastinate.connectors.psycopg_keepalive import DEFAULTS, defaults_beside

#: Seconds after which a dead peer is noticed, whoever speaks first.
SOON = 60


@contextlib.asynccontextmanager
async def connector_open(connector: PsycopgConnector) -> AsyncGenerator[None, None]:
    await connector.open_async()
    try:
        yield
    finally:
        await connector.close_async()


def test_a_dead_peer_is_noticed_soon() -> None:
    waits = DEFAULTS["keepalives_idle"]
    waits += DEFAULTS["keepalives_interval"] * DEFAULTS["keepalives_count"]
    assert waits <= SOON
    assert DEFAULTS["tcp_user_timeout"] <= SOON * 1000


@pytest.mark.parametrize(
    ("conninfo", "open_"),
    [
        (None, set(DEFAULTS)),
        ("", set(DEFAULTS)),
        ("dbname=x", set(DEFAULTS)),
        ("keepalives_idle=5", set(DEFAULTS) - {"keepalives_idle"}),
        ("postgresql:///x?tcp_user_timeout=1", set(DEFAULTS) - {"tcp_user_timeout"}),
        ("can't be = read", set[str]()),
        (lambda: "dbname=x", set[str]()),
    ],
    ids=["none", "empty", "a name", "an interval", "a timeout", "unreadable", "a function"],
)
def test_what_a_connection_string_says_stands(conninfo: Any, open_: set[str]) -> None:
    assert set(defaults_beside(conninfo)) == open_


def test_what_the_environment_says_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert set(defaults_beside(None)) == set(DEFAULTS) - {"connect_timeout"}


async def test_connections_of_a_pool_have_it_and_a_keyword_beats_it(dsn: str) -> None:
    connector = PsycopgConnector(conninfo=dsn, min_size=1, kwargs={"keepalives_count": 7})
    async with connector_open(connector), connector.pool.connection() as connection:
        parameters = connection.info.get_parameters()
    expected = {**psycopg_keepalive.DEFAULTS, "keepalives_count": 7}
    assert {name: int(parameters[name]) for name in expected} == expected


def test_connections_of_a_sync_pool_have_it(dsn: str) -> None:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    connector.open()
    try:
        with connector.pool.connection() as connection:
            parameters = connection.info.get_parameters()
    finally:
        connector.close()
    assert {name: int(parameters[name]) for name in DEFAULTS} == dict(DEFAULTS)


async def test_a_pool_asks_again_soon_after_an_outage_unless_told_otherwise(dsn: str) -> None:
    cases: list[tuple[dict[str, Any], float]] = [({}, 1), ({"reconnect_timeout": 77}, 77)]
    for given, expected in cases:
        connector = PsycopgConnector(conninfo=dsn, min_size=1, **given)
        async with connector_open(connector):
            assert connector.pool.reconnect_timeout == expected
        sync_connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, **given)
        sync_connector.open()
        assert sync_connector.pool.reconnect_timeout == expected
        sync_connector.close()
