"""procrastinate: ours and 3.10 bear one name and one API, and run this one program."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import tally

import procrastinate

LOAD_EVERY = 0.01  # seconds


def app_of(settings: tally.Settings) -> procrastinate.App:
    # as many connections as coroutines that defer, within reason; a worker has the default
    pool = {"max_size": max(4, min(20, settings.get("concurrent", 10)))}
    return procrastinate.App(connector=procrastinate.PsycopgConnector(**pool))


def lock(number: int, settings: tally.Settings) -> str | None:
    return f"lock {number % settings['locks']}" if settings.get("locks") else None


async def install(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    return {}


async def fill(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    async with app.open_async():
        for count, is_counted in ((settings["jobs"], True), (settings.get("behind", 0), False)):
            for part in tally.numbers(count, 5_000):
                deferrers = [
                    app.configure_task(
                        "task", queue="q", lock=lock(number, settings)
                    ).make_new_job(n=number if is_counted else -1)
                    for number in part
                ]
                await app.job_manager.batch_defer_jobs_async(deferrers)
    return {}


async def defer(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    deferrer = app.configure_task("task", queue="q")

    async def many(part: Sequence[int]) -> None:
        await deferrer.batch_defer_async(*({"n": number} for number in part))

    async with app.open_async():
        return await tally.defer(settings, lambda number: deferrer.defer_async(n=number), many)


async def trickle(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    deferrer = app.configure_task("task", queue="q")
    async with app.open_async():
        return await tally.trickle(settings, lambda number: deferrer.defer_async(n=number))


async def load(settings: tally.Settings) -> tally.Answer:
    """Jobs without a number, so many a second, until somebody ends this process."""
    app = app_of(settings)
    deferrer = app.configure_task("task", queue=settings["queue"])
    jobs = [{"n": -1}] * round(settings["rate"] * LOAD_EVERY)
    async with app.open_async():
        begun = time.monotonic()
        for turn in range(1, 1 + round(settings["patience"] / LOAD_EVERY)):
            await deferrer.batch_defer_async(*jobs)
            await asyncio.sleep(begun + turn * LOAD_EVERY - time.monotonic())
    return {}


async def work(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    seen = tally.Tally(settings)
    queue = settings.get("queue", "q")
    if settings["kind"] == "async":

        @app.task(name="task", queue=queue)
        async def _(n: int) -> None:
            seen.run(n)
    elif settings["kind"] == "sync":

        @app.task(name="task", queue=queue)
        def _(n: int) -> None:
            seen.run(n)
    else:  # it waits for something else, as most tasks do

        @app.task(name="task", queue=queue)
        async def _(n: int) -> None:
            await asyncio.sleep(settings["wait"])
            seen.run(n)

    ours = {"prefetch": settings["prefetch"]} if settings.get("prefetch") else {}
    async with app.open_async():
        seen.begin()
        worker = asyncio.create_task(
            app.run_worker_async(
                queues=[queue],
                concurrency=settings["concurrency"],
                install_signal_handlers=False,
                shutdown_graceful_timeout=30,
                **ours,
            )
        )
        await seen.wait()
        worker.cancel()
        await asyncio.wait([worker])
    return seen.answer()


async def left(settings: tally.Settings) -> tally.Answer:
    app = app_of(settings)
    async with app.open_async():
        queues = await app.job_manager.list_queues_async()
    return {"left": sum(queue["todo"] + queue["doing"] for queue in queues)}


tally.main(
    install=install, fill=fill, defer=defer, trickle=trickle, load=load, work=work, left=left
)
