"""An address may be given in the words of each driver."""

from __future__ import annotations

from typing import Any

import psycopg.conninfo
import pytest
import sqlalchemy.pool

from procrastinate.contrib.aiopg import AiopgConnector
from procrastinate.contrib.psycopg2 import Psycopg2Connector
from procrastinate.contrib.sqlalchemy import SQLAlchemyPsycopg2Connector

from .conftest import url_of


@pytest.fixture
def keywords(dsn: str) -> dict[str, Any]:
    """The address of the test's database, in keywords."""
    return dict(psycopg.conninfo.conninfo_to_dict(dsn))


def test_psycopg2_takes_keywords(keywords: dict[str, Any]) -> None:
    connector = Psycopg2Connector(**keywords)
    connector.open()
    try:
        answer = connector.execute_query_one("select current_database() as name")
    finally:
        connector.close()
    assert answer == {"name": keywords["dbname"]}


async def test_aiopg_takes_keywords_and_so_does_its_sync_twin(keywords: dict[str, Any]) -> None:
    connector = AiopgConnector(**keywords)
    twin = connector.get_sync_connector()
    twin.open()
    await connector.open_async()
    try:
        answers = [
            await connector.execute_query_one_async("select current_database() as name"),
            twin.execute_query_one("select current_database() as name"),
        ]
    finally:
        await connector.close_async()
        twin.close()
    assert answers == [{"name": keywords["dbname"]}] * 2


def test_sqlalchemy_takes_what_makes_an_engine(dsn: str) -> None:
    connector = SQLAlchemyPsycopg2Connector(
        dsn=url_of(dsn).render_as_string(hide_password=False),
        poolclass=sqlalchemy.pool.NullPool,
    )
    connector.open()
    try:
        assert isinstance(connector.engine.pool, sqlalchemy.pool.NullPool)
        assert not hasattr(connector, "pool")
        assert connector.execute_query_one("select 1 as one") == {"one": 1}
    finally:
        connector.close()
