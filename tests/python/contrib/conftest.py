"""The connectors on psycopg2, aiopg and SQLAlchemy, each to a database of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg.conninfo
import pytest
import sqlalchemy

from procrastinate.contrib import aiopg, psycopg2
from procrastinate.contrib import sqlalchemy as contrib_sqlalchemy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from procrastinate import BaseConnector

Make: TypeAlias = "Callable[..., BaseConnector]"


def url_of(dsn: str) -> sqlalchemy.URL:
    """What SQLAlchemy calls a connection string."""
    parts: dict[str, Any] = dict(psycopg.conninfo.conninfo_to_dict(dsn))
    return sqlalchemy.URL.create(
        "postgresql+psycopg2",
        username=parts.get("user"),
        password=parts.get("password"),
        database=parts.get("dbname"),
        query={"host": str(parts["host"]), "port": str(parts.get("port", 5432))},
    )


def psycopg2_connector(dsn: str, **options: Any) -> psycopg2.Psycopg2Connector:
    return psycopg2.Psycopg2Connector(dsn=dsn, maxconn=2, **options)


def sqlalchemy_connector(
    dsn: str, **options: Any
) -> contrib_sqlalchemy.SQLAlchemyPsycopg2Connector:
    return contrib_sqlalchemy.SQLAlchemyPsycopg2Connector(
        dsn=url_of(dsn).render_as_string(hide_password=False), **options
    )


SYNC: dict[str, Make] = {"psycopg2": psycopg2_connector, "sqlalchemy": sqlalchemy_connector}


@pytest.fixture(params=SYNC)
def make(request: pytest.FixtureRequest) -> Make:
    """Make a sync connector of each kind."""
    return SYNC[request.param]


@pytest.fixture
def connector(make: Make, dsn: str) -> Iterator[BaseConnector]:
    """A sync connector of each kind, open."""
    made = make(dsn)
    made.open()
    yield made
    made.close()


@pytest.fixture
async def aiopg_connector(dsn: str) -> AsyncIterator[aiopg.AiopgConnector]:
    """The connector on aiopg, open."""
    made = aiopg.AiopgConnector(dsn=dsn, maxsize=3)
    await made.open_async()
    yield made
    await made.close_async()
