"""A worker's row is gone, or its claims are: it renews what is its own, and no more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from procrastinate import App, JobContext, exceptions
from procrastinate.rpc import wire

from .alone import ALONE, Runs, backends_of, listening, until
from .conftest import Database, StartWorker, actions, intercept


def forget_the_last_claim(database: Database, job_id: int) -> int:
    """What a failover does to a job, and its claim, that the new primary had not heard of."""
    rows = database.conn.execute("select claim_id from procrastinate_doing").fetchall()
    claim_id = int(rows[0][0])
    database.conn.execute("delete from procrastinate_jobs")
    for name, number in (
        ("procrastinate_jobs_id_seq", job_id),
        ("procrastinate_claims_seq", claim_id),
    ):
        database.conn.execute("select setval(%s, %s, false)", [name, number])
    return claim_id


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
        run.worker.heartbeat.look_now()
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


async def test_a_worker_is_left_at_once_while_a_beat_waits_for_an_answer(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Runs(app)
    send: Any = app.connector.call_async
    claimed, beats = asyncio.Event(), asyncio.Event()

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            claimed.set()
            await asyncio.Event().wait()  # the answer never comes
        return answer

    intercept(app, monkeypatch, call_async)
    job_id = await app.configure_task("quick").defer_async(n=1)
    run = await start_worker(**ALONE)
    await claimed.wait()
    settled = run.worker.claims.settled

    async def wait_until_settled() -> None:
        beats.set()
        await settled()

    monkeypatch.setattr(run.worker.claims, "settled", wait_until_settled)
    run.worker.heartbeat.look_now()
    await beats.wait()
    for _ in range(3):  # stop, insist, leave
        run.task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await run.ended()
    assert [r.getMessage() for r in records.records if r.levelname == "ERROR"] == []
    assert run.worker.claims.failure is None
    assert await database.status(job_id) == "doing"


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
    run.worker.heartbeat.look_now()
    await until(lambda: run.worker.worker_id != first)
    await database.until("select 1 from procrastinate_workers")
    await run.stop()


async def test_a_worker_whose_id_is_another_s_after_a_failover_leaves_it_alone(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    """The new primary has never heard of it, and gave the id to the next that came."""
    runs = Runs(app)
    run = await start_worker(queues=["ours"], **ALONE)
    await listening(database)
    first = run.worker.worker_id
    database.conn.execute("delete from procrastinate_workers")
    database.conn.execute(
        "insert into procrastinate_workers (id, description) overriding system value"
        """ values (%s, '{"run": "another"}')""",
        [first],
    )
    job_id = await app.configure_task("quick", queue="not ours").defer_async(n=1)
    (claimed,) = database.conn.execute(
        "select job_id from procrastinate_fetch_jobs_v1(%s, '{not ours}', 1)"
        " where outcome = 'claimed'",
        [first],
    ).fetchall()

    run.worker.heartbeat.look_now()
    await until(lambda: run.worker.worker_id != first)
    run.worker.heartbeat.look_now()
    await run.stop()

    assert database.conn.execute("select id from procrastinate_workers").fetchall() == [
        (first,)
    ]
    assert claimed == (job_id,)
    assert await database.status(job_id) == "doing"  # not given back: it is the other's
    assert runs.ran == []


async def test_a_worker_that_stops_before_it_knows_removes_no_other_s_row(
    app: App, database: Database, start_worker: StartWorker
) -> None:
    run = await start_worker(**ALONE)
    await listening(database)
    id_of_both = run.worker.worker_id
    database.conn.execute(
        """update procrastinate_workers set description = '{"run": "other"}'"""
    )
    await run.stop()
    rows = database.conn.execute("select id from procrastinate_workers").fetchall()
    assert rows == [(id_of_both,)]


async def test_a_new_connection_is_told_who_speaks_before_it_is_told_what_ended(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
) -> None:
    """Its old connection is gone, and what it holds there is another's, number for number."""
    runs = Runs(app)
    job_id = await app.configure_task("slow").defer_async(n=1)
    run = await start_worker(**ALONE)
    await run.until_it_runs()
    first = run.worker.worker_id
    database.conn.execute("delete from procrastinate_workers")
    database.conn.execute(
        "insert into procrastinate_workers (id, description) overriding system value"
        """ values (%s, '{"run": "another"}')""",
        [first],
    )
    backends_of(database, "query not ilike 'listen%'")

    runs.gate.set()
    await until(lambda: "job_not_held" in actions(records))
    await run.stop()

    assert (await database.job(job_id)).worker_id == first
    assert await database.status(job_id) == "doing"


@pytest.mark.parametrize("prefetch", [0, 1])
async def test_a_claim_that_is_given_out_again_is_ended_by_the_run_that_has_it_now(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    prefetch: int,
) -> None:
    """The new primary knows the worker, and nothing of what it claimed last."""
    gates = {1: asyncio.Event(), 2: asyncio.Event()}
    ran: list[int] = []

    @app.task(name="gated")
    async def _(n: int) -> None:
        ran.append(n)
        await gates[n].wait()

    gated = app.configure_task("gated")
    lost_id = await gated.defer_async(n=1)
    run = await start_worker(concurrency=2, prefetch=prefetch, **ALONE)
    await run.until_it_runs()
    claim_id = forget_the_last_claim(database, lost_id)

    new_id = await gated.defer_async(n=2)
    await until(lambda: ran == [1, 2])
    gates[1].set()
    await until(lambda: "job_not_held" in actions(records))
    status = await database.status(new_id)
    now = database.conn.execute("select claim_id from procrastinate_doing").fetchall()
    gates[2].set()
    await database.until_status(new_id, "succeeded")
    await run.stop()

    assert (new_id, now) == (lost_id, [(claim_id,)])
    assert status == "doing"
    assert ran == [1, 2]


@pytest.mark.parametrize("ends", ["well", "tried again", "tried again by its policy"])
async def test_an_end_that_waits_for_its_report_is_not_that_of_a_number_given_out_again(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
) -> None:
    send: Any = app.connector.call_async
    claimed, let_go = asyncio.Event(), asyncio.Event()
    gates = {1: asyncio.Event(), 2: asyncio.Event()}
    ran: list[int] = []

    async def call_async(call: Any, **options: Any) -> Any:
        answer = await send(call, **options)
        is_fetch = call.function.name.startswith("procrastinate_finish_and_fetch")
        if ran and is_fetch and answer.claimed:
            claimed.set()
            await let_go.wait()  # the answer is on its way
        return answer

    intercept(app, monkeypatch, call_async)

    @app.task(name="gated", retry=3 if ends == "tried again" else False)
    async def _(n: int) -> None:
        ran.append(n)
        await gates[n].wait()
        if n == 1 and ends != "well":
            raise ValueError

    options: Any = {"max_attempts": 3} if ends == "tried again by its policy" else {}
    gated = app.configure_task("gated", **options)
    lost_id = await gated.defer_async(n=1)
    run = await start_worker(concurrency=2, **ALONE)
    await run.until_it_runs()
    forget_the_last_claim(database, lost_id)
    new_id = await gated.defer_async(n=2)
    await claimed.wait()
    gates[1].set()
    await until(lambda: run.worker.claims.ends or run.worker.claims.retries)
    let_go.set()
    await until(lambda: "job_not_held" in actions(records))
    status = await database.status(new_id)
    gates[2].set()
    await database.until_status(new_id, "succeeded")
    await run.stop()

    assert new_id == lost_id
    assert status == "doing"
    assert ran == [1, 2]
    assert (await database.job(new_id)).attempts == 1


async def test_both_runs_of_a_number_end_when_what_they_told_is_under_way(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send: Any = app.connector.call_async
    under_way, let_go = asyncio.Event(), asyncio.Event()
    gates = {1: asyncio.Event(), 2: asyncio.Event()}
    ended: list[int] = []

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name.startswith("procrastinate_update_jobs"):
            under_way.set()
            await let_go.wait()
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)

    @app.task(name="telling", pass_context=True)
    async def _(context: JobContext, n: int) -> None:
        context.update(progress=0.5)
        await gates[n].wait()
        ended.append(n)

    telling = app.configure_task("telling")
    lost_id = await telling.defer_async(n=1)
    run = await start_worker(concurrency=2, **ALONE)
    await under_way.wait()
    gates[1].set()  # its end waits for what it told
    await until(lambda: ended == [1])
    forget_the_last_claim(database, lost_id)
    new_id = await telling.defer_async(n=2)
    await run.until_it_runs(2)
    gates[2].set()
    await until(lambda: ended == [1, 2])
    let_go.set()
    await database.until_status(new_id, "succeeded")
    await run.stop()

    assert new_id == lost_id
    assert "job_not_held" in actions(records)


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


async def test_stalled_workers_are_pruned_at_the_start_and_by_each_round(
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
    run.worker.housekeeping.begin_now()
    await database.until(gone, own)
    await run.stop()


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        ("delete from procrastinate_workers", "Worker {} was not registered any more"),
        (
            'update procrastinate_workers set description = \'{"run": "another"}\'',
            "Worker {} was not registered any more",
        ),
        ("select 1", "Unregistered worker {} from the database"),
    ],
    ids=["gone", "another's", "its own"],
)
async def test_a_worker_that_ends_removes_its_own_row_alone(
    app: App,
    database: Database,
    start_worker: StartWorker,
    records: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    lose: str,
    said: str,
) -> None:
    send: Any = app.connector.call_async

    async def call_async(call: Any, **options: Any) -> Any:
        if call.function.name == "procrastinate_unregister_worker_v2":
            database.conn.execute(lose.encode())
        return await send(call, **options)

    intercept(app, monkeypatch, call_async)
    run = await start_worker(**ALONE)
    await listening(database)
    worker_id = run.worker.worker_id
    await run.stop()
    assert said.format(worker_id) in [record.getMessage() for record in records.records]
    left = database.conn.execute("select id from procrastinate_workers").fetchall()
    assert left == ([(worker_id,)] if "another" in lose else [])
