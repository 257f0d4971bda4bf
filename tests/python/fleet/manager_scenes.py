"""Scenes without a worker: what 3.10's deferrers and its job manager say and hear."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import psycopg

import procrastinate
from procrastinate import jobs

from .scene import DSN, FAR, PAST, Scene, add, app, drain, greet, manager, only_one


async def deferring(scene: Scene) -> None:
    await add.defer_async(a=1, b=2)
    await asyncio.to_thread(add.defer, a=3, b=4)
    await greet.configure(schedule_at=FAR).defer_async(name="later")
    await greet.configure(schedule_at=PAST, lock="window", priority=-4).defer_async(name="x")
    await greet.configure(schedule_in={"hours": 2}).defer_async(name="in two hours")
    await add.batch_defer_async({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 3})
    await asyncio.to_thread(add.batch_defer, {"a": 5, "b": 5}, {"a": 6, "b": 6})
    await app.configure_task("unknown", queue="elsewhere").defer_async(ü="ß \u2028")
    await scene.tables()
    scene.note(healthy=await app.check_connection_async())
    sync = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=DSN))
    with sync.open():
        sync.configure_task("add").defer(a=7, b=7)
        scene.note(sync=sync.job_manager.list_jobs(task="add"), healthy=sync.check_connection())


async def queueing_locks(scene: Scene) -> None:
    first = await only_one.defer_async()
    await scene.refused("second", only_one.defer_async())
    await scene.refused("sync", asyncio.to_thread(only_one.defer))
    await scene.refused(
        "batch of two", add.configure(queueing_lock="two").batch_defer_async({"a": 1}, {"a": 2})
    )
    await scene.refused(
        "batch with one",
        manager.batch_defer_jobs_async(
            [
                jobs.Job(id=None, lock=None, queueing_lock=q, task_name="t", queue="q")
                for q in ("a", "one", "b")
            ]
        ),
    )
    await scene.tables()
    scene.note(cancelled=await manager.cancel_job_by_id_async(first))
    again = await only_one.defer_async()
    worker_id = await manager.register_worker()
    scene.note(fetched=await manager.fetch_job(["words"], worker_id))
    third = await only_one.defer_async()
    scene.name("job", third)
    await scene.refused("retry of todo", manager.retry_job_by_id_async(third, retry_at=PAST))
    await manager.finish_job_by_id_async(again, jobs.Status.FAILED, delete_job=False)
    await scene.refused("retry of failed", manager.retry_job_by_id_async(again, retry_at=PAST))
    await manager.unregister_worker(worker_id)
    await scene.tables()


async def refusals(scene: Scene) -> None:
    job = await add.defer_async(a=1, b=2)
    scene.name("job", job)
    await scene.refused("status of nobody", manager.get_job_status_async(10**9))
    await scene.refused("retry of todo", manager.retry_job_by_id_async(job, retry_at=PAST))
    await scene.refused(
        "odd end", manager.finish_job_by_id_async(job, jobs.Status.CANCELLED, delete_job=False)
    )
    await manager.finish_job_by_id_async(job, jobs.Status.SUCCEEDED, delete_job=False)
    await scene.refused(
        "second end", manager.finish_job_by_id_async(job, jobs.Status.FAILED, delete_job=False)
    )
    await scene.refused("retry of success", manager.retry_job_by_id_async(job, retry_at=PAST))
    await scene.refused("priority", app.configure_task("t", priority=2**31).defer_async())
    await scene.refused("nul", app.configure_task("t", lock="a\0b").defer_async())
    await app.configure_task("t", queue="q" * 40, lock="l" * 3000).defer_async()
    await scene.tables()


async def by_hand(scene: Scene) -> None:
    """All that the manager can do, without a worker."""
    a, b, c, d = [await add.defer_async(a=n, b=n) for n in range(4)]
    e = await greet.defer_async(name="e")
    f = await greet.configure(priority=9, schedule_at=FAR).defer_async(name="f")
    worker_id = await manager.register_worker()
    scene.note(status=str(await manager.get_job_status_async(a)))
    for queues in (["sums"], None, ["words", "sums"], ["words"], []):
        scene.note(fetched=await manager.fetch_job(queues, worker_id))
    scene.note(cancelled_head=await manager.cancel_job_by_id_async(f, delete_job=True))
    scene.note(fetched=await manager.fetch_job(["words"], worker_id))
    scene.note(cancel_todo=await manager.cancel_job_by_id_async(d))
    scene.note(cancel_again=await manager.cancel_job_by_id_async(d))
    scene.note(cancel_doing=await manager.cancel_job_by_id_async(a))
    scene.note(cancel_nobody=await manager.cancel_job_by_id_async(10**9, abort=True))
    scene.note(abort=await manager.cancel_job_by_id_async(a, abort=True))
    scene.note(
        to_abort=[scene.name("job", n) for n in await manager.list_jobs_to_abort_async()],
    )
    await scene.tables()
    await manager.retry_job_by_id_async(a, retry_at=PAST)
    await manager.retry_job_by_id_async(b, retry_at=FAR, priority=7, queue="else", lock="door")
    await manager.finish_job_by_id_async(e, jobs.Status.ABORTED, delete_job=False)
    await scene.tables()
    scene.note(fetched=await manager.fetch_job(["sums"], worker_id))
    scene.note(fetched=await manager.fetch_job(["else"], worker_id))
    await manager.finish_job_by_id_async(c, jobs.Status.SUCCEEDED, delete_job=True)
    todo = await add.defer_async(a=8, b=8)
    await manager.finish_job_by_id_async(todo, jobs.Status.FAILED, delete_job=False)
    aborted = await add.defer_async(a=9, b=9)
    scene.note(abort_todo=await manager.cancel_job_by_id_async(aborted, abort=True))
    await scene.tables()
    filters: list[dict[str, Any]] = [
        {},
        {"queue": "sums"},
        {"task": "add"},
        {"status": "failed"},
        {"lock": "door"},
    ]
    for words in filters:
        scene.note(
            by=words,
            jobs=await manager.list_jobs_async(**words),
            queues=list(await manager.list_queues_async(**words)),
            tasks=list(await manager.list_tasks_async(**words)),
            locks=list(await manager.list_locks_async(**words)),
        )
    scene.note(ql=await manager.list_jobs_async(queueing_lock="one"))
    scene.note(
        worker=await manager.list_jobs_async(worker_id=worker_id),
        one=await manager.list_jobs_async(id=a),
    )
    await manager.unregister_worker(worker_id)
    await scene.tables()


async def differences(scene: Scene) -> None:
    """What our schema answers in another way: here each side has its own expectation."""
    await scene.refused("queue of 41", app.configure_task("t", queue="q" * 41).defer_async())
    await scene.refused("task of 129", app.configure_task("t" * 129).defer_async())
    await scene.refused("fetch by nobody", manager.fetch_job(["none"], 10**9))
    worker_id = await manager.register_worker()
    job = await add.defer_async(a=1, b=1)
    await manager.fetch_job(["sums"], worker_id)
    await manager.cancel_job_by_id_async(job, abort=True)
    await manager.retry_job_by_id_async(job, retry_at=PAST)  # fails it: an abort was asked
    await scene.refused("retry once aborted", manager.retry_job_by_id_async(job, retry_at=PAST))


async def deleting_old(scene: Scene) -> None:
    worker_id = await manager.register_worker()
    ends = ["succeeded", "failed", "cancelled", "aborted", "todo", "doing", "recent"]
    ids = {end: await add.defer_async(a=1, b=n) for n, end in enumerate(ends)}
    for end in ("succeeded", "failed", "aborted", "doing"):
        async with asyncio.timeout(30):
            while (await manager.get_job_status_async(ids[end])).value == "todo":
                await manager.fetch_job(["sums"], worker_id)
    for end in ("succeeded", "failed", "aborted", "recent"):
        status = jobs.Status(end) if end != "recent" else jobs.Status.SUCCEEDED
        await manager.finish_job_by_id_async(ids[end], status, delete_job=False)
    await manager.cancel_job_by_id_async(ids["cancelled"])
    for end in ends[:-1]:
        await scene.conn.execute(
            "update procrastinate_events set at = at - interval '3 hours' where job_id = %s",
            [ids[end]],
        )
    await manager.delete_old_jobs(nb_hours=2)
    await scene.tables()
    await manager.delete_old_jobs(nb_hours=2, queue="nobody", include_failed=True)
    await manager.delete_old_jobs(nb_hours=2, queue="sums", include_failed=True)
    await scene.tables()
    await manager.delete_old_jobs(nb_hours=2, include_cancelled=True, include_aborted=True)
    await manager.delete_old_jobs(nb_hours=1)
    await scene.tables()


async def stalled(scene: Scene) -> None:
    one = await manager.register_worker()
    two = await manager.register_worker()
    for n in range(3):
        await add.defer_async(a=n, b=n)
    scene.note(
        first=await manager.fetch_job(None, one), second=await manager.fetch_job(None, two)
    )
    scene.note(stalled=list(await manager.get_stalled_jobs()))
    await scene.conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 hour' where id = %s",
        [one],
    )
    scene.note(stalled=list(await manager.get_stalled_jobs()))
    scene.note(not_these=list(await manager.get_stalled_jobs(seconds_since_heartbeat=7200)))
    scene.note(other=list(await manager.get_stalled_jobs(queue="bad", task_name="add")))
    await manager.update_heartbeat(one)
    scene.note(beats=list(await manager.get_stalled_jobs(queue="sums", task_name="add")))
    await manager.update_heartbeat(10**9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene.note(seconds=list(await manager.get_stalled_jobs(nb_seconds=1000)))
        await scene.conn.execute("update procrastinate_events set at = at - interval '1 hour'")
        scene.note(seconds=list(await manager.get_stalled_jobs(nb_seconds=1000)))
        scene.note(other=list(await manager.get_stalled_jobs(nb_seconds=1000, queue="bad")))
    await scene.conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 hour' where id = %s",
        [one],
    )
    pruned = await manager.prune_stalled_workers(30)
    scene.note(pruned=[scene.name("worker", n) for n in pruned])
    await manager.unregister_worker(one)
    await manager.unregister_worker(two)
    # In no order: 3.10's statement asks for none.
    left = sorted(await manager.get_stalled_jobs(), key=lambda job: job.id or 0)
    scene.note(left=left)
    for job in left:
        await manager.retry_job(job)
    await scene.tables()


async def periodic(scene: Scene) -> None:
    app.periodic_registry.periodic_tasks.clear()

    async def defer(stamp: int, **options: Any) -> None:
        task = app.configure_task(
            "tick", task_kwargs={"timestamp": stamp}, queue="ticks", **options
        )
        ticked = await manager.defer_periodic_job(
            job=task.job, periodic_id="p", defer_timestamp=stamp
        )
        scene.note(tick=scene.name("job", ticked))

    await defer(100)
    await defer(100)
    await defer(200, queueing_lock="tick", lock="tock", priority=5)
    await scene.refused("locked", defer(300, queueing_lock="tick"))
    await scene.tables()
    await drain()
    await defer(300, queueing_lock="tick")
    await scene.conn.execute("delete from procrastinate_jobs")
    await scene.tables()


async def transactions(scene: Scene) -> None:
    """A job that is deferred on the caller's connection is the caller's to commit."""
    async with await psycopg.AsyncConnection.connect(DSN) as conn:
        await add.configure(connection=conn).defer_async(a=1, b=1)
        await conn.rollback()
        job_id = await add.configure(connection=conn).defer_async(a=2, b=2)
        await conn.commit()
        await manager.cancel_job_by_id_async(job_id, connection=conn)
        scene.note(status=str(await manager.get_job_status_async(job_id, connection=conn)))
        await conn.rollback()
    await scene.tables()


async def order(scene: Scene) -> None:
    worker_id = await manager.register_worker()
    for n in range(24):
        await app.configure_task(
            f"t{n}",
            queue=f"q{n % 3}",
            priority=(n * 7) % 5 - 2,
            lock=f"l{n % 4}" if n % 4 else None,
            schedule_at=(FAR if n % 8 == 5 else PAST) if n % 2 else None,
        ).defer_async()
    for n in range(40):
        queues: list[str] | None = [None, ["q1"], ["q2", "q0"]][n % 3]
        job = await manager.fetch_job(queues, worker_id)
        scene.note(fetched=job)
        if job is not None and n % 2:
            await manager.finish_job(job, jobs.Status.SUCCEEDED, delete_job=n % 4 == 1)
        elif job is not None and n % 5 == 0:
            await manager.retry_job(job, retry_at=PAST)
    await manager.unregister_worker(worker_id)
    await scene.tables()
