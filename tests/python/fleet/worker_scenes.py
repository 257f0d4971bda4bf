"""Scenes of 3.10's worker."""

from __future__ import annotations

import asyncio

from .scene import (
    Scene,
    add,
    app,
    breeds,
    drain,
    fails,
    fails_twice,
    greet,
    late_luck,
    manager,
    numbered,
    polls,
    sleeps,
    sleeps_again,
    until,
    worker,
)  # fmt: skip


async def cron(scene: Scene) -> None:
    @app.periodic(cron="* * * * * *", periodic_id="every second")
    @app.task(name="second", queue="ticks")
    async def second(timestamp: int) -> None: ...

    async with worker():
        async with asyncio.timeout(30):
            found = "select 1 from procrastinate_jobs where status = 'succeeded' offset 1"
            while not await scene.rows(found):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    app.periodic_registry.periodic_tasks.clear()
    scene.note(
        ticks=await scene.rows(
            "select count(*) from procrastinate_periodic_defers where periodic_id = %s",
            "every second",
        )
    )


async def outcomes(scene: Scene) -> None:
    await fails.defer_async()
    await fails_twice.defer_async()
    await fails_twice.defer_async()
    await app.configure_task("second_time_lucky").defer_async()
    await breeds.defer_async(n=3)
    for n in range(5):
        await greet.defer_async(name=str(n))
    await add.batch_defer_async(*numbered(20))
    await app.configure_task("unknown").defer_async()
    await drain()
    await scene.tables()


async def deletes(scene: Scene) -> None:
    for when in ("never", "successful", "always"):
        await add.defer_async(a=1, b=1)
        await fails.defer_async()
        cancelled = await add.defer_async(a=2, b=2)
        await manager.cancel_job_by_id_async(cancelled)
        await drain(delete_jobs=when)
        scene.note(when=when)
        await scene.tables()


async def waking(scene: Scene) -> None:
    """No poll comes: what wakes the worker is a notification."""
    async with worker(concurrency=4, queues=["sums", "words", "slow", "bad"]):
        await asyncio.sleep(0.3)
        await until(await add.defer_async(a=1, b=2), "succeeded")
        await until(await asyncio.to_thread(add.defer, a=1, b=2), "succeeded")
        ids = await add.batch_defer_async(*numbered(12))
        for job_id in ids:
            await until(job_id, "succeeded")
        asleep = await sleeps.defer_async()
        await until(asleep, "doing")
        scene.note(asked=await manager.cancel_job_by_id_async(asleep, abort=True))
        await until(asleep, "aborted")
        polling = await polls.defer_async()
        await until(polling, "doing")
        await manager.cancel_job_by_id_async(polling, abort=True)
        await until(polling, "aborted")
        stubborn = await sleeps_again.defer_async()
        await until(stubborn, "doing")
        await manager.cancel_job_by_id_async(stubborn, abort=True)
        await until(stubborn, "failed")
    await scene.tables()


async def polling(scene: Scene) -> None:
    """No notification is heard: what wakes the worker is its poll."""
    fast = {"fetch_job_polling_interval": 0.1, "abort_job_polling_interval": 0.1}
    async with worker(
        listen_notify=False, concurrency=4, update_heartbeat_interval=0.1, **fast
    ):
        late = await late_luck.defer_async()
        soon = await add.configure(schedule_in={"seconds": 1}).defer_async(a=1, b=2)
        asleep = await sleeps.defer_async()
        await until(asleep, "doing")
        beat = "select last_heartbeat from procrastinate_workers"
        first = await scene.rows(beat)
        async with asyncio.timeout(30):
            while await scene.rows(beat) == first:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await manager.cancel_job_by_id_async(asleep, abort=True)
        await until(asleep, "aborted")
        await until(late, "succeeded")
        await until(soon, "succeeded")
        for n in range(4):
            await greet.defer_async(name=str(n))
        for job in await manager.list_jobs_async(task="greet"):
            assert job.id is not None
            await until(job.id, "succeeded")
    await scene.tables()


async def shutdown(scene: Scene) -> None:
    """A worker that is stopped aborts what does not end, and a retry is honoured."""
    async with worker(concurrency=4, shutdown_graceful_timeout=0.1):
        await asyncio.sleep(0.2)
        first, second, third = (
            await sleeps.defer_async(),
            await sleeps_again.defer_async(),
            await polls.defer_async(),
        )
        for job_id in (first, second, third):
            await until(job_id, "doing")
    await scene.tables()
