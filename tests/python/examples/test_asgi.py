"""The modules of the page about ASGI apps do what the page says."""

from __future__ import annotations

import asyncio
import importlib
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    import psycopg

    import procrastinate

ROOT = pathlib.Path(__file__).parents[3]
MODULE = re.compile(
    r"^```python\n(?P<text># (?P<name>\w+)\.py\n.*?)^```$", re.MULTILINE | re.DOTALL
)
MODULES = {
    found["name"]: found["text"]
    for found in MODULE.finditer((ROOT / "docs" / "howto" / "asgi.md").read_text())
}
PATIENCE = 20.0  # seconds after which a test that waits has failed; none takes so long


@pytest.fixture
def directory(
    tmp_path: pathlib.Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pathlib.Path]:
    """A directory with the modules of the page, that Python imports from."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    monkeypatch.setenv("DATABASE_URL", dsn)
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


def client_of(asgi_app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=asgi_app), base_url="http://shop.test"
    )


async def wait_for_status(client: httpx.AsyncClient, job: int, wanted: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await client.get(f"/jobs/{job}")).json() != {"status": wanted}:
            pass  # each request is a round trip to the database, and lets the worker work


def workers(conn: psycopg.Connection) -> list[Any]:
    return conn.execute("select name from procrastinate_workers").fetchall()


def breaches(conn: psycopg.Connection) -> list[Any]:
    return conn.execute("select * from procrastinate_check()").fetchall()


async def test_a_request_defers_and_a_worker_beside_runs_the_job(
    directory: pathlib.Path, conn: psycopg.Connection
) -> None:
    web = importlib.import_module("web")

    async with web.app.router.lifespan_context(web.app), client_of(web.app) as client:
        answer = await client.post("/users", json={"user": "Ada"})
        assert (answer.status_code, answer.json()) == (202, {"job": 1})
        assert (await client.get("/jobs/1")).json() == {"status": "todo"}

        worked = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "procrastinate", "--app=shop.tasks", "worker", "--one-shot"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (worked.returncode, worked.stdout) == (0, "Welcome, Ada!\n"), worked.stderr
        assert (await client.get("/jobs/1")).json() == {"status": "succeeded"}

    assert breaches(conn) == []


async def test_a_worker_in_the_same_process_runs_what_a_request_defers(
    directory: pathlib.Path, conn: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    one_process = importlib.import_module("one_process")
    app = one_process.app

    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.post("/users", json={"user": "Grace"})
        await wait_for_status(client, answer.json()["job"], "succeeded")
        assert workers(conn) == [("worker",)]

    assert capsys.readouterr().out == "Welcome, Grace!\n"
    assert workers(conn) == []


async def test_a_job_that_runs_when_the_server_stops_may_end(
    directory: pathlib.Path, conn: psycopg.Connection
) -> None:
    app = importlib.import_module("one_process").app
    tasks: procrastinate.App = importlib.import_module("shop").tasks
    running, stopping = asyncio.Event(), asyncio.Event()

    @tasks.task(name="see_the_end")
    async def see_the_end() -> None:
        running.set()
        await stopping.wait()

    async with asyncio.timeout(PATIENCE):
        async with app.router.lifespan_context(app):
            await see_the_end.defer_async()
            await running.wait()
            asyncio.get_running_loop().call_soon(stopping.set)  # once the lifespan is waiting

    assert conn.execute("select status from procrastinate_jobs").fetchall() == [("succeeded",)]
    assert (workers(conn), breaches(conn)) == ([], [])
