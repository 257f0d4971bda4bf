"""
What procrastinate 3.10 says and hears, scene by scene, on the database of FLEET_DSN.

Runs in 3.10's own environment (see tools/upstream.py): of our package it knows nothing. It
prints one JSON object: by scene, what each call answered and what the tables held. Ids are
counted from the scene's first, and times are left out, so that two databases can be compared.
Arguments name the scenes that are wanted; without any it plays all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

import procrastinate

from . import manager_scenes, scene, worker_scenes

SCENES: list[Callable[[scene.Scene], Awaitable[None]]] = [
    manager_scenes.deferring,
    manager_scenes.queueing_locks,
    manager_scenes.refusals,
    manager_scenes.by_hand,
    manager_scenes.differences,
    manager_scenes.deleting_old,
    manager_scenes.stalled,
    manager_scenes.periodic,
    manager_scenes.transactions,
    manager_scenes.order,
    worker_scenes.cron,
    worker_scenes.outcomes,
    worker_scenes.deletes,
    worker_scenes.waking,
    worker_scenes.polling,
    worker_scenes.shutdown,
]


async def main() -> None:
    assert procrastinate.__version__ == "3.10.0", procrastinate.__version__
    logging.disable(logging.CRITICAL)
    said: dict[str, Any] = {}
    async with (
        scene.app.open_async(),
        await psycopg.AsyncConnection.connect(scene.DSN, autocommit=True) as conn,
    ):
        for play in SCENES:
            if sys.argv[1:] and play.__name__ not in sys.argv[1:]:
                continue
            await conn.execute("delete from procrastinate_jobs")
            await conn.execute("delete from procrastinate_periodic_defers")
            await conn.execute("delete from procrastinate_workers")
            played = scene.Scene(conn)
            try:
                await play(played)
            except Exception as error:
                played.said.append(f"the scene broke: {error!r} {error.__cause__!r}")
            breaches: list[Any] = []
            if await played.exists("procrastinate_check"):
                breaches = await played.rows("select c::text from procrastinate_check() as c")
            said[play.__name__] = {"said": played.said, "breaches": breaches}
    print(json.dumps(said, indent=1))


asyncio.run(main())
