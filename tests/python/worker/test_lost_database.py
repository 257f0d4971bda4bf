"""The database goes away, answers get lost, workers die: no job is lost or run twice."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import random
import signal
import sys
import textwrap
from typing import Any

import pytest

from procrastinate import App, RetryStrategy, exceptions
from procrastinate.rpc import front, wire
from procrastinate.types import JSONDict
from procrastinate.worker import Worker, heartbeat

from .conftest import PATIENCE, Cable, Database, StartWorker, actions, intercept, see_it_end

NEVER = 1000.0

#: Options of a worker that finds nothing by polling, and does not beat by itself.
ALONE: dict[str, Any] = {
    "fetch_job_polling_interval": NEVER,
    "abort_job_polling_interval": NEVER,
    "update_heartbeat_interval": NEVER,
}


class Runs:
    """Tasks on an app that count their runs."""

    def __init__(self, app: App) -> None:
        self.ran: list[int] = []
        self.gate = asyncio.Event()

        @app.task(name="quick")
        async def _(n: int) -> None:
            self.ran.append(n)

        @app.task(name="slow")
        async def _(n: int) -> None:
            self.ran.append(n)
            await self.gate.wait()

        @app.task(name="flaky", retry=RetryStrategy(max_attempts=1))
        async def _(n: int) -> None:
            self.ran.append(n)
            if self.ran.count(n) == 1:
                raise ValueError


@pytest.fixture
def runs(far_app: App) -> Runs:
    return Runs(far_app)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (it is not announced)
            await asyncio.sleep(0.002)


async def listening(database: Database) -> None:
    await database.until("select 1 from pg_stat_activity where query ilike 'listen%'")


def backends_of(database: Database, where: str) -> None:
    database.conn.execute(
        f"""
        select pg_terminate_backend(pid, 5000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and {where}
        """.encode()
    )


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
    # Said once, however often it was tried.
    assert actions(records).count("database_unavailable") == 1


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


async def test_a_beat_gives_back_what_is_not_known_here_but_not_what_is_on_its_way(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(app)
    send: Any = app.connector.call_async
    claimed, let_go = asyncio.Event(), asyncio.Event()

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            claimed.set()
            await let_go.wait()  # the answer is on its way
        return answer

    intercept(app, monkeypatch, call_async)
    job_id = await app.configure_task("quick").defer_async(n=1)
    run = await start_worker(
        **{**ALONE, "update_heartbeat_interval": 0.02, "listen_notify": False}
    )
    await claimed.wait()
    for _ in range(3):
        (now,) = database.conn.execute("select now()").fetchone() or (None,)
        # Beats go on, or wait for the answer; either way the claim stays.
        assert await database.status(job_id) == "doing"
        run.worker.heartbeat.beat_now()
        await asyncio.sleep(0)
        assert now is not None
    assert await database.status(job_id) == "doing"
    let_go.set()
    await database.until_status(job_id, "succeeded")

    # Now one that nobody here knows.
    (lost,) = database.conn.execute(
        "select procrastinate_defer_job('elsewhere', 'quick', args => '{\"n\": 2}')"
    ).fetchone() or (0,)
    await send(
        wire.fetch_jobs_v1(
            worker_id=run.worker.registration.worker_id, queues=["elsewhere"], limit=1
        )
    )
    await database.until_status(lost, "succeeded")
    await run.stop()
    assert runs.ran == [1, 2]


async def test_a_worker_that_was_pruned_registers_again(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    runs = Runs(app)
    run = await start_worker(**ALONE)
    await listening(database)
    first = run.worker.worker_id
    database.conn.execute("delete from procrastinate_workers")

    await database.until_status(await app.configure_task("quick").defer_async(n=1), "succeeded")
    assert run.worker.worker_id != first
    await run.stop()

    assert runs.ran == [1]
    assert actions(records).count("worker_registered_again") == 1
    assert not database.conn.execute("select 1 from procrastinate_workers").fetchone()


async def test_a_beat_of_a_worker_that_was_pruned_registers_it_again(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)
    first = run.worker.worker_id
    database.conn.execute("delete from procrastinate_workers")
    run.worker.heartbeat.beat_now()
    await until(lambda: run.worker.worker_id != first)
    await database.until("select 1 from procrastinate_workers")
    await run.stop()


async def test_the_late_end_of_a_job_that_was_recovered_changes_nothing(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    runs = Runs(app)
    job_id = await app.configure_task("slow").defer_async(n=1)
    run = await start_worker(concurrency=1, **ALONE)
    await run.until_it_runs()
    database.conn.execute("delete from procrastinate_workers")
    database.conn.execute("select procrastinate_recover_stalled_jobs()")
    assert await database.status(job_id) == "todo"
    (other,) = database.conn.execute(
        "select procrastinate_register_worker_v2()"
    ).fetchone() or (0,)
    claimed = await app.connector.call_async(
        wire.fetch_jobs_v1(worker_id=other, queues=None, limit=1)
    )
    assert [claim.job.id for claim in claimed.claimed] == [job_id]

    runs.gate.set()
    await until(lambda: "job_not_held" in actions(records))
    assert await database.status(job_id) == "doing"
    await run.stop()
    assert (await database.job(job_id)).worker_id == other


async def test_a_row_that_is_gone_is_renewed_once_whoever_notices(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)
    registration = run.worker.registration
    lost = registration.worker_id
    database.conn.execute("delete from procrastinate_workers")

    await asyncio.gather(registration.renew(lost), registration.renew(lost))
    await registration.renew(lost)

    rows = database.conn.execute("select id from procrastinate_workers").fetchall()
    assert rows == [(run.worker.worker_id,)]
    await run.stop()


async def test_a_refusal_that_comes_after_the_renewal_renews_nothing(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        try:
            return await send(call, **options)
        except exceptions.WorkerNotRegistered:
            # A beat was refused as well, and was faster.
            await run.worker.registration.renew(call.args["p_worker_id"])
            raise

    intercept(app, monkeypatch, call_async)
    run = await start_worker(**ALONE)
    await listening(database)
    database.conn.execute("delete from procrastinate_workers")
    Runs(app)
    await database.until_status(await app.configure_task("quick").defer_async(n=1), "succeeded")
    rows = database.conn.execute("select id from procrastinate_workers").fetchall()
    assert rows == [(run.worker.worker_id,)]
    await run.stop()


class Unreliable:
    """Makes the next calls of a function fail as they do without a database."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: dict[str, int] = {}
        self.failed: list[str] = []
        self._send: Any = app.connector.call_async
        intercept(app, monkeypatch, self._call_async)

    async def _call_async(self, call: Any, **options: Any) -> Any:
        name = call.function.name
        if self.left.get(name, 0):
            self.left[name] -= 1
            self.failed.append(name)
            raise exceptions.DatabaseUnavailable
        return await self._send(call, **options)


@pytest.fixture
def unreliable(app: App, monkeypatch: pytest.MonkeyPatch) -> Unreliable:
    return Unreliable(app, monkeypatch)


@pytest.mark.parametrize(
    "function",
    [
        "procrastinate_finish_and_fetch_v1",
        "procrastinate_retry_jobs_v2",
        "procrastinate_list_jobs_to_abort_v1",
        "procrastinate_heartbeat_v1",
        "procrastinate_channels_v1",
        "procrastinate_prune_workers_v1",
        "procrastinate_recover_jobs_v1",
        "procrastinate_sweep_v1",
        "procrastinate_register_worker_v2",
    ],
)
async def test_each_call_may_fail_for_a_while(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
) -> None:
    monkeypatch.setattr(heartbeat, "RETRY_AFTER", 0.01)
    runs = Runs(app)
    unreliable.left[function] = 2
    flaky = await app.configure_task("flaky").defer_async(n=1)
    slow = await app.configure_task("slow").defer_async(n=2)
    run = await start_worker(
        concurrency=2,
        fetch_job_polling_interval=NEVER,
        abort_job_polling_interval=0.02,
        update_heartbeat_interval=0.02,
        stalled_jobs="retry",
    )
    await until(lambda: unreliable.failed == [function] * 2)
    runs.gate.set()
    await database.until_status(flaky, "succeeded")
    await database.until_status(slow, "succeeded")
    await run.stop()
    assert sorted(runs.ran) == [1, 1, 2]


async def test_a_worker_that_is_stopped_before_it_has_reached_the_database_ends(
    app: App, database: Database, unreliable: Unreliable
) -> None:
    unreliable.left["procrastinate_register_worker_v2"] = 1000
    worker = Worker(app, install_signal_handlers=False)
    task = asyncio.create_task(worker.run())
    await until(lambda: unreliable.failed)
    worker.stop()
    with pytest.raises(exceptions.DatabaseUnavailable):
        await see_it_end(task)


async def test_a_release_is_tried_until_it_succeeds(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    records: pytest.LogCaptureFixture,
) -> None:
    unreliable.left["procrastinate_release_jobs_v1"] = 2
    job_id = await app.configure_task("nobody").defer_async()
    run = await start_worker(queues=["other"], **ALONE)
    await listening(database)
    claimed = await app.connector.call_async(
        wire.fetch_jobs_v1(worker_id=run.worker.registration.worker_id, queues=None, limit=1)
    )
    run.worker.claims.take_release(job_id, claimed.claimed[0].claim_id)
    await database.until_status(job_id, "todo")
    await run.stop()
    assert len(unreliable.failed) == 2
    (record,) = [r for r in records.records if r.__dict__.get("action") == "job_released"]
    assert record.getMessage() == f"Job {job_id} was given back: it did not run here"
    assert (record.levelno, record.__dict__["job_id"]) == (logging.INFO, job_id)


async def test_a_row_that_cannot_be_renewed_yet_is_renewed_later(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "RETRY_AFTER", 0.01)
    run = await start_worker(**ALONE)
    await listening(database)
    for notice in (run.worker.heartbeat.beat_now, run.worker.claims.wake):
        database.conn.execute("delete from procrastinate_workers")
        unreliable.left["procrastinate_register_worker_v2"] = 2
        notice()
        await database.until("select 1 from procrastinate_workers")
        await until(lambda: unreliable.left["procrastinate_register_worker_v2"] == 0)
    await run.stop()


async def test_a_worker_that_cannot_unregister_ends_all_the_same(
    app: App,
    database: Database,
    start_worker: StartWorker,
    unreliable: Unreliable,
    records: pytest.LogCaptureFixture,
) -> None:
    unreliable.left["procrastinate_unregister_worker_v2"] = 1
    run = await start_worker(**ALONE)
    await listening(database)
    await run.stop()
    assert "unregister_worker_failed" in actions(records)
    assert database.conn.execute("select 1 from procrastinate_workers").fetchone()


async def test_a_connector_that_returns_from_listening_leaves_the_rest_to_polling(
    app: App, database: Database, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen_notify(**_: Any) -> None: ...

    monkeypatch.setattr(app.connector, "listen_notify", listen_notify)
    runs = Runs(app)
    run = await start_worker(fetch_job_polling_interval=0.02)
    await database.until("select 1 from procrastinate_workers")
    await database.until_status(await app.configure_task("quick").defer_async(n=1), "succeeded")
    await run.stop()
    assert runs.ran == [1]


async def test_a_failure_while_a_cancelled_worker_stops_is_logged(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)

    async def leave() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(run.worker, "_leave", leave)
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    (record,) = [r for r in records.records if r.levelno == logging.ERROR]
    assert record.getMessage() == "The worker failed while it stopped"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_stalled_workers_are_pruned_at_the_start_and_by_each_beat(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    old = (
        "insert into procrastinate_workers (last_heartbeat) "
        "values (now() - interval '1 minute') returning id"
    )
    database.conn.execute(old)
    run = await start_worker(**ALONE)
    await listening(database)
    own = run.worker.worker_id
    gone = "select 1 from procrastinate_workers having array_agg(id) = array[%s::bigint]"
    await database.until(gone, own)
    database.conn.execute(old)
    run.worker.heartbeat.beat_now()
    await database.until(gone, own)
    await run.stop()


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
