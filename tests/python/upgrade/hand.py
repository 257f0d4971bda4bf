"""
A program of the version before this one: run by its interpreter, with no import of ours.

    hand.py signatures        what its rpc calls, as JSON
    hand.py defer             a job of every kind
    hand.py work              its worker, until nothing is left
    hand.py stay              its worker, until it is stopped
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import sys

import procrastinate
from procrastinate import exceptions
from procrastinate.rpc import defers, front, results, wire
from procrastinate.types import JSONDict

DSN = os.environ["UPGRADE_DSN"]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN))


@app.task(name="add", ttl=3600, pass_context=True)
async def add(context: procrastinate.JobContext, a: int, b: int) -> int:
    context.update(progress=0.5, meta={"a": a})
    return a + b


@app.task(name="plain")
def plain() -> None:
    pass


@app.task(name="stumble", retry=1, pass_context=True)
async def stumble(context: procrastinate.JobContext) -> None:
    if context.job.attempts == 0:
        raise ValueError("once")


@app.task(name="fail")
async def fail() -> None:
    raise ValueError("always")


@app.periodic(cron="0 0 1 1 *")
@app.task(name="yearly")
async def yearly(timestamp: int) -> None:
    pass


def signatures() -> None:
    """Say what the rpc of this version calls."""
    functions = [
        {"name": each.name, "arguments": dict(each.arguments), "columns": each.columns}
        for module in (wire, defers, results, front)
        for each in module.FUNCTIONS
    ]
    print(json.dumps(functions))


async def defer() -> None:
    """Defer a job of every kind, async and sync, one and many."""
    async with app.open_async():
        await add.defer_async(a=1, b=2)
        empty: JSONDict = {}
        await plain.batch_defer_async(*[empty] * 100)
        await plain.configure(priority=5, schedule_in={"seconds": 0}).defer_async()
        for once in (plain.configure(queueing_lock="one"), plain.configure(key="one")):
            await once.defer_async()
            try:
                await once.defer_async()
            except exceptions.AlreadyEnqueued:
                pass
            else:
                raise SystemExit(f"{once.job} was taken twice")
        for lock in ("a", "b"):
            await stumble.configure(lock=lock).batch_defer_async({}, {})
            await stumble.configure(group_key=lock).batch_defer_async({}, {})
        await fail.defer_async()
        cancelled = await plain.configure(queue="nobody").defer_async()
        await app.job_manager.cancel_job_by_id_async(cancelled)


def defer_sync() -> None:
    with app.open():
        plain.defer()
        plain.batch_defer({}, {})


async def work() -> None:
    """Work until nothing is left."""
    async with app.open_async():
        await app.run_worker_async(wait=False, concurrency=3, name="previous")


async def stay() -> None:
    """Work until a signal comes."""
    async with app.open_async():
        await app.run_worker_async(name="previous", concurrency=3)


if __name__ == "__main__":
    # ours must not be on the path: this is another version, installed
    assert pathlib.Path(procrastinate.__file__).is_relative_to(sys.prefix)
    match sys.argv[1:]:
        case ["signatures"]:
            signatures()
        case ["defer"]:
            asyncio.run(defer())
            defer_sync()
        case ["work"]:
            asyncio.run(work())
        case ["stay"]:
            asyncio.run(stay())
        case other:
            raise SystemExit(f"unknown: {other}")
