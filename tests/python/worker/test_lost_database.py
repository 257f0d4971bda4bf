"""The database goes away, answers get lost, workers die: no job is lost or run twice."""

from __future__ import annotations

import asyncio
import itertools
import logging
import pathlib
import random
import signal
import sys
import textwrap

import pytest

from procrastinate import App, exceptions
from procrastinate.rpc import front
from procrastinate.types import JSONDict

from .alone import ALONE, Runs, backends_of, listening, until
from .conftest import PATIENCE, Cable, Database, StartWorker, actions


@pytest.fixture
def runs(far_app: App) -> Runs:
    return Runs(far_app)


async def test_a_killed_listener_is_replaced_and_nothing_announced_meanwhile_is_missed(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    runs = Runs(app)
    run = await start_worker(**ALONE)
    await listening(database)

    backends_of(database, "query ilike 'listen%'")
    (job_id,) = database.conn.execute(
        "select procrastinate_defer_job('default', 'quick', args => '{\"n\": 1}')"
    ).fetchone() or (0,)
    await database.until_status(job_id, "succeeded")
    await listening(database)
    await database.until_status(await app.configure_task("quick").defer_async(n=2), "succeeded")
    await run.stop()

    assert runs.ran == [1, 2]
    assert "listener_lost" in actions(records)


async def test_killed_backends_are_survived_with_all_that_was_running(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    runs = Runs(app)
    jobs = [await app.configure_task("slow").defer_async(n=n) for n in range(3)]
    run = await start_worker(concurrency=3, **ALONE)
    await run.until_it_runs(3)

    backends_of(database, "true")
    runs.gate.set()
    for job_id in jobs:
        await database.until_status(job_id, "succeeded")
    await run.stop()

    assert runs.ran == [0, 1, 2]
    assert [(await database.job(job_id)).attempts for job_id in jobs] == [1, 1, 1]


async def test_an_outage_is_survived_and_ends_are_reported_after_it(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    job_id = await far_app.configure_task("slow").defer_async(n=1)
    run = await start_worker(far_app, **{**ALONE, "update_heartbeat_interval": 0.1})
    await run.until_it_runs()

    await cable.cut()
    runs.gate.set()
    await until(lambda: "database_unavailable" in actions(records))
    await until(lambda: not run.worker.running)
    assert await database.status(job_id) == "doing"
    cable.mend()
    await database.until_status(job_id, "succeeded")
    await until(lambda: "database_available" in actions(records))
    await database.until_status(
        await far_app.configure_task("quick").defer_async(n=2), "succeeded"
    )
    await run.stop()

    assert runs.ran == [1, 2]
    # Said once, however often it was tried. (A slow machine may be slow to connect again: that
    # is an outage of its own.)
    said = [one for one in actions(records) if one.startswith("database_")]
    assert said[0] == "database_unavailable"
    assert all(one != after for one, after in itertools.pairwise(said))


async def test_jobs_of_a_claim_whose_answer_was_lost_are_given_back_and_run_once(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    run = await start_worker(far_app, **{**ALONE, "listen_notify": False})
    await until(lambda: run.worker.worker_id is not None)
    await until(lambda: run.worker.claims.is_idle)
    (job_id,) = database.conn.execute(
        "select procrastinate_defer_job('default', 'quick', args => '{\"n\": 1}')"
    ).fetchone() or (0,)

    cable.lose_answer_to("procrastinate_finish_and_fetch_v1")
    run.worker.claims.wake()
    async with asyncio.timeout(PATIENCE):
        await cable.swallowed.wait()
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert runs.ran == [1]
    assert "job_released" in actions(records)
    assert (await database.job(job_id)).attempts == 1
    assert database.events(job_id).count("started") == 2


async def test_an_end_whose_answer_was_lost_is_not_taken_for_refused(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    job_id = await far_app.configure_task("slow").defer_async(n=1)
    run = await start_worker(far_app, **{**ALONE, "listen_notify": False})
    await run.until_it_runs()

    cable.lose_answer_to("procrastinate_finish_and_fetch_v1")
    runs.gate.set()
    async with asyncio.timeout(PATIENCE):
        await cable.swallowed.wait()
    assert await database.status(job_id) == "succeeded"
    await until(lambda: "finish_task" in actions(records))
    await run.stop()

    assert "job_not_held" not in actions(records)
    assert (await database.job(job_id)).attempts == 1
    assert database.events(job_id) == ["deferred", "started", "succeeded"]


async def test_a_retry_whose_answer_was_lost_is_done_once(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    cable.lose_answer_to("procrastinate_retry_jobs_v2")
    job_id = await far_app.configure_task("flaky").defer_async(n=1)
    run = await start_worker(far_app, **{**ALONE, "listen_notify": False})
    async with asyncio.timeout(PATIENCE):
        await cable.swallowed.wait()
    await database.until_status(job_id, "succeeded")
    await run.stop()

    assert runs.ran == [1, 1]
    assert (await database.job(job_id)).attempts == 2
    assert "job_not_held" not in actions(records)


async def test_through_many_cuts_each_job_runs_once(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
) -> None:
    chance = random.Random(7)
    count = 150
    arguments: list[JSONDict] = [{"n": n} for n in range(count)]
    await far_app.configure_task("quick").batch_defer_async(*arguments)
    run = await start_worker(
        far_app,
        concurrency=3,
        **{**ALONE, "update_heartbeat_interval": 0.1, "listen_notify": False},
    )
    for cut in range(8):
        ended = len(runs.ran)
        await until(lambda ended=ended: len(runs.ran) >= min(ended + 5, count))
        if cut % 2:
            cable.lose_answer_to("procrastinate_finish_and_fetch_v1")
            async with asyncio.timeout(PATIENCE):
                await cable.swallowed.wait()
        else:
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)  # at another point of the exchange each time
            await cable.cut()
            cable.mend()
    await database.until(
        "select 1 from procrastinate_jobs where status = 'succeeded' having count(*) = %s",
        count,
    )
    await run.stop()

    assert sorted(runs.ran) == list(range(count))
    assert not database.conn.execute(
        "select 1 from procrastinate_jobs where attempts <> 1"
    ).fetchone()


async def test_a_database_that_never_comes_back_ends_a_worker_that_was_stopped(
    far_app: App,
    runs: Runs,
    cable: Cable,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from procrastinate.worker import claim

    monkeypatch.setattr(claim, "GIVE_UP_AFTER", 0.1)
    job_id = await far_app.configure_task("slow").defer_async(n=1)
    run = await start_worker(far_app, **ALONE)
    await run.until_it_runs()
    await cable.cut()
    run.worker.stop()
    runs.gate.set()
    with pytest.raises(exceptions.DatabaseUnavailable):
        await run.ended()
    cable.mend()

    assert await database.status(job_id) == "doing"  # where recovery finds it
    assert "ends_not_saved" in actions(records)
    (record,) = [r for r in records.records if r.__dict__.get("action") == "ends_not_saved"]
    assert record.levelno == logging.ERROR


CRASHING = """
import asyncio, sys
import procrastinate

connector = procrastinate.PsycopgConnector(conninfo=sys.argv[1], min_size=1)
app = procrastinate.App(connector=connector)

@app.task(name="quick")
async def quick(n): ...

@app.task(name="slow")
async def slow(n):
    print("running", flush=True)
    await asyncio.Event().wait()

app.run_worker(concurrency=4)
"""


async def test_the_jobs_of_a_killed_worker_are_recovered_and_run(
    app: App,
    database: Database,
    dsn: str,
    tmp_path: pathlib.Path,
    start_worker: StartWorker,
) -> None:
    script = tmp_path / "crashing.py"
    script.write_text(textwrap.dedent(CRASHING))
    runs = Runs(app)
    runs.gate.set()
    done = [await app.configure_task("quick").defer_async(n=n) for n in (1, 2)]
    slow = [await app.configure_task("slow", lock="l").defer_async(n=3)]
    behind = await app.configure_task("slow", lock="l").defer_async(n=4)

    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), dsn, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert await process.stdout.readline() == b"running\n"
    for job_id in done:
        await database.until_status(job_id, "succeeded")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await database.check()
    assert await database.status(slow[0]) == "doing"

    # Time passes, for everybody but the worker that is dead.
    database.conn.execute(
        "update procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
    )
    run = await start_worker(**ALONE)
    await listening(database)  # Its prune at the start is over: recovery waits for nobody.
    stalled = list(await app.job_manager.get_stalled_jobs())
    assert [job.id for job in stalled] == slow
    assert await app.connector.call_async(front.recover_stalled_jobs()) == slow
    for job_id in (*slow, behind):
        await database.until_status(job_id, "succeeded")
    await run.stop()

    assert runs.ran == [3, 4]
    assert (await database.job(slow[0])).attempts == 2
