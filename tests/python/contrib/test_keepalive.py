"""Connections of these drivers, too, notice that their peer went away without a word."""

from __future__ import annotations

from typing import Any

import psycopg2.extensions
import pytest
import sqlalchemy

from procrastinate.connectors.psycopg_keepalive import DEFAULTS
from procrastinate.contrib.aiopg import AiopgConnector
from procrastinate.contrib.psycopg2 import Psycopg2Connector
from procrastinate.contrib.sqlalchemy import SQLAlchemyPsycopg2Connector

from .conftest import url_of

#: What is given of them in these tests: by the address, and by a keyword.
ADDRESS: dict[str, Any] = {"keepalives_idle": 5}
KEYWORD: dict[str, Any] = {"keepalives_count": 7}
EXPECTED = {**DEFAULTS, **ADDRESS, **KEYWORD}


def parameters_of(raw: Any) -> dict[str, int]:
    said: dict[str, str] = psycopg2.extensions.parse_dsn(raw.dsn)
    return {name: int(said[name]) for name in DEFAULTS if name in said}


def test_connections_of_psycopg2_have_it_and_what_is_given_stands(dsn: str) -> None:
    connector = Psycopg2Connector(dsn=f"{dsn} keepalives_idle=5", **KEYWORD)
    connector.open()
    raw = connector.pool.getconn()
    try:
        assert parameters_of(raw) == EXPECTED
    finally:
        connector.pool.putconn(raw)
        connector.close()


async def test_connections_of_aiopg_have_it_and_what_is_given_stands(dsn: str) -> None:
    connector = AiopgConnector(dsn=f"{dsn} keepalives_idle=5", **KEYWORD)
    await connector.open_async()
    try:
        async with connector.pool.acquire() as connection:
            assert parameters_of(connection.raw) == EXPECTED
    finally:
        await connector.close_async()


@pytest.mark.parametrize("keywords", [{}, KEYWORD], ids=["by none", "by connect_args"])
def test_connections_of_sqlalchemy_have_it_and_what_is_given_stands(
    dsn: str, keywords: dict[str, Any]
) -> None:
    url = url_of(dsn).update_query_dict({name: str(value) for name, value in ADDRESS.items()})
    options: dict[str, Any] = {"connect_args": keywords} if keywords else {}
    connector = SQLAlchemyPsycopg2Connector(
        dsn=url.render_as_string(hide_password=False), **options
    )
    connector.open()
    try:
        with connector.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert parameters_of(raw) == {**DEFAULTS, **ADDRESS, **keywords}
    finally:
        connector.close()


def test_an_engine_of_the_caller_s_is_left_as_it_is(dsn: str) -> None:
    engine = sqlalchemy.create_engine(url_of(dsn))
    connector = SQLAlchemyPsycopg2Connector()
    connector.open(engine)
    with connector.engine.connect() as connection:
        assert parameters_of(connection.connection.driver_connection) == {}
    connector.close()
    engine.dispose()
