"""
A schema manager in both colours, and copies of the tree that a test may change.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import psycopg
import psycopg.conninfo
import pytest

from procrastinate import migrations, sql
from tests.python.schema.managers import AFTER_NEXT, NEXT, Manager

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture(params=["sync", "async"])
def manager(request: pytest.FixtureRequest) -> Manager:
    """A schema manager, in one colour after the other."""
    return Manager(colour=request.param)


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A copy of sql/ and of the lock, which the package reads in place of its own."""
    for name in ("schema.lock", "pyproject.toml"):
        shutil.copy(sql.root.parent / name, tmp_path / name)
    shutil.copytree(sql.root, tmp_path / "sql")
    monkeypatch.setattr(sql, "root", tmp_path / "sql")
    monkeypatch.setattr(sql, "lock_path", tmp_path / "schema.lock")
    return tmp_path


@pytest.fixture
def two_more(tree: pathlib.Path) -> pathlib.Path:
    """A tree with two migrations more than ours; returns their directory."""
    directory = tree / "sql" / "migrations"
    newest = migrations.known()[-1].name
    for name, body, after in (
        (NEXT, "create table procrastinate_next (id integer);", newest),
        (AFTER_NEXT, "drop table procrastinate_next;", NEXT),
    ):
        text = migrations.compose(name, body, after=after).text
        (directory / f"{name}.sql").write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
async def admin(empty_dsn: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection to the empty database, beside the manager's own."""
    connection = await psycopg.AsyncConnection.connect(empty_dsn, autocommit=True)
    async with connection:
        yield connection


@pytest.fixture
def in_schema() -> Callable[[str, str], str]:
    """Change a connection string so that it works in another search_path."""

    def change(dsn: str, path: str) -> str:
        return psycopg.conninfo.make_conninfo(
            dsn, options="-c search_path=" + path.replace(" ", r"\ ")
        )

    return change


@pytest.fixture
def waiting(admin: psycopg.AsyncConnection) -> Callable[[int], Awaitable[list[int]]]:
    """Wait until so many sessions wait for an advisory lock; return their process ids."""

    async def wait(number: int) -> list[int]:
        async with asyncio.timeout(30):  # seconds; a step takes milliseconds
            while True:
                cursor = await admin.execute(
                    "select l.pid from pg_locks as l inner join pg_database as d "
                    "on l.database = d.oid and d.datname = current_database() "
                    "where l.locktype = 'advisory' and not l.granted"
                )
                pids = [row[0] for row in await cursor.fetchall()]
                if len(pids) >= number:
                    return pids

    return wait
