"""Riding together belongs to one event loop: none waits for what another left undone."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.connector import BaseAsyncConnector

PATIENCE = 20.0


class Slow(BaseAsyncConnector):
    """A connector of no database, bound to no loop. Answers when it is open."""

    defers_together = True

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.is_open = True
        self.statements: list[int] = []

    async def call_async(self, call: Any, *, connection: Any | None = None) -> Any:
        jobs = len(call.args.get("p_args", "1"))
        self.statements.append(jobs)
        for _ in range(3):
            await asyncio.sleep(0)
        if not self.is_open:
            await asyncio.get_running_loop().create_future()
        return call.decode([(next(self.ids),) for _ in range(jobs)])


def defers(app: App, jobs: int) -> list[Any]:
    return [app.configure_task("t").defer_async() for _ in range(jobs)]


async def in_time(app: App, jobs: int) -> list[int]:
    async with asyncio.timeout(PATIENCE):
        ids: list[int] = await asyncio.gather(*defers(app, jobs))
    return ids


def test_a_second_run_of_the_same_app_does_not_wait_for_the_first(dsn: str) -> None:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=1))

    async def leave_early() -> None:
        async with app.open_async():
            tasks = [asyncio.ensure_future(defer) for defer in defers(app, 5)]
            await tasks[0]
            # asyncio.run cancels the others, on the way or in the line

    async def stay() -> list[int]:
        async with app.open_async():
            return await in_time(app, 5)

    asyncio.run(leave_early())

    assert len(set(asyncio.run(stay()))) == 5


def test_a_loop_that_was_dropped_in_the_middle_is_forgotten() -> None:
    connector = Slow()
    app = App(connector=connector)
    connector.is_open = False
    loop = asyncio.new_event_loop()
    abandoned = [loop.create_task(defer) for defer in defers(app, 3)]
    while not connector.statements:
        loop.run_until_complete(asyncio.sleep(0))

    connector.is_open = True
    ids = asyncio.run(in_time(app, 3))

    assert len(ids) == 3
    assert not any(task.done() for task in abandoned)
    for task in abandoned:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*abandoned, return_exceptions=True))
    loop.close()


def test_two_loops_at_once_defer_beside_each_other() -> None:
    app = App(connector=Slow())
    ids: list[int] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait(PATIENCE)
        ids.extend(asyncio.run(in_time(app, 200)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert len(set(ids)) == 400


async def test_a_connector_that_is_replaced_meanwhile_keeps_its_riders() -> None:
    first, second = Slow(), Slow()
    app = App(connector=first)
    tasks = [asyncio.ensure_future(defer) for defer in defers(app, 3)]
    await asyncio.sleep(0)

    with app.replace_connector(second):
        await in_time(app, 2)
    await asyncio.gather(*tasks)

    assert first.statements == [1, 2]
    assert second.statements == [1, 1]
