"""Where the psycopg connectors go: what they are told, or what the environment says."""

from __future__ import annotations

import psycopg
import psycopg.conninfo
import pytest

from procrastinate import App, PsycopgConnector


async def test_without_an_address_it_goes_where_the_environment_says(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = psycopg.conninfo.conninfo_to_dict(dsn)
    for name, variable in (
        ("host", "PGHOST"),
        ("port", "PGPORT"),
        ("user", "PGUSER"),
        ("password", "PGPASSWORD"),
        ("dbname", "PGDATABASE"),
    ):
        if said.get(name) is not None:
            monkeypatch.setenv(variable, str(said[name]))

    own = PsycopgConnector(min_size=1)
    await own.open_async()
    try:
        answer = await own.execute_query_one_async("select current_database() as name")
    finally:
        await own.close_async()
    assert answer == {"name": said["dbname"]}


async def test_a_queue_lives_in_the_schema_that_the_connection_names(
    dsn: str, conn: psycopg.Connection
) -> None:
    conn.execute("create schema elsewhere")
    app = App(
        connector=PsycopgConnector(
            conninfo=dsn, min_size=1, kwargs={"options": "-c search_path=elsewhere"}
        )
    )

    @app.task(name="t")
    async def task() -> None: ...

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await task.defer_async()
        await app.run_worker_async(wait=False, install_signal_handlers=False)

    def statuses(schema: str) -> list[tuple[str]]:
        return conn.execute(
            f"select status::text from {schema}.procrastinate_jobs".encode()
        ).fetchall()

    assert (statuses("elsewhere"), statuses("public")) == ([("succeeded",)], [])
