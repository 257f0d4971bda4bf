"""Jobs with options are deferred as others are, and others by the calls that they had."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import App, SyncPsycopgConnector, exceptions, jobs, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tests.conftest import AsyncConnect, Connect

    from .conftest import Wire

PATIENCE = 20.0  # seconds, for what takes milliseconds
PLAIN = "procrastinate_defer_job"


def a_job(n: int = 0, **options: Any) -> jobs.Job:
    return jobs.Job(
        task_name="t",
        queue="q",
        lock=None,
        queueing_lock=None,
        task_kwargs={"n": n},
        options=jobs.JobOptions(**options) if options else None,
    )


@pytest.fixture
def sync_app(dsn: str) -> Iterator[App]:
    app = App(connector=SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1))
    with app.open():
        yield app


@pytest.fixture
def timeouts(conn: psycopg.Connection) -> Callable[[], dict[int, float | None]]:
    """The timeout of each job, by its argument."""

    def look() -> dict[int, float | None]:
        return dict(
            conn.execute(
                "select args -> 'n', extract(epoch from timeout)::double precision "
                "from procrastinate_jobs"
            ).fetchall()
        )

    return look


def test_all_options_reach_their_columns(sync_app: App, conn: psycopg.Connection) -> None:
    options = jobs.JobOptions(
        timeout=1.5,
        heartbeat=2,
        ttl=0,
        max_attempts=3,
        retry_delay=4,
        retry_backoff=1.5,
        retry_delay_cap=60,
        retry_jitter=True,
        key="k",
        group_key="g",
        keep_result=True,
        meta={"m": [1]},
    )

    job = sync_app.job_manager.defer_job(a_job().evolve(options=options))

    (stored,) = conn.execute(
        "select to_jsonb(j) from procrastinate_jobs as j where id = %s", [job.id]
    ).fetchone() or ({},)
    assert {name: stored[name] for name in options.as_json() if name != "meta"} == {
        "timeout": "00:00:01.5",
        "heartbeat": "00:00:02",
        "ttl": "00:00:00",
        "max_attempts": 3,
        "retry_delay": "00:00:04",
        "retry_backoff": 1.5,
        "retry_delay_cap": "00:01:00",
        "retry_jitter": True,
        "key": "k",
        "group_key": "g",
        "keep_result": True,
    }
    assert conn.execute("select job_id, meta from procrastinate_results").fetchall() == [
        (job.id, {"m": [1]})
    ]


async def test_one_alone_and_those_that_ride_together_keep_theirs(
    app: App, wire: Wire, timeouts: Callable[[], Any]
) -> None:
    manager = app.job_manager
    given = [a_job(0, timeout=9), a_job(1), a_job(2, timeout=5), a_job(3)]

    await asyncio.gather(*(manager.defer_job_async(job) for job in given))

    assert timeouts() == {0: 9, 1: None, 2: 5, 3: None}
    assert [call.function.name for call in wire.calls] == ["procrastinate_defer_jobs_v3"] * 2


async def test_without_options_the_calls_are_those_that_they_were(app: App, wire: Wire) -> None:
    manager = app.job_manager
    await asyncio.gather(*(manager.defer_job_async(a_job(n)) for n in range(3)))
    await manager.batch_defer_jobs_async([a_job(3), a_job(4)])
    periodic = a_job().evolve(task_kwargs={"timestamp": 1})
    await manager.defer_periodic_job(periodic, "p", 1)

    assert [call.function.name for call in wire.calls] == [
        PLAIN,
        "procrastinate_defer_jobs_v2",
        "procrastinate_defer_jobs_v2",
        "procrastinate_defer_periodic_job_v3",
    ]
    assert "timeout" not in wire.calls[0].function.arguments


@pytest.mark.parametrize("most", [2, 1000])
def test_a_batch_keeps_them_in_any_number_of_pieces(
    sync_app: App,
    timeouts: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(pieces, "MOST_JOBS", most)
    given = [a_job(0), a_job(1), a_job(2), a_job(3, timeout=5)]

    sync_app.job_manager.batch_defer_jobs(given)

    assert timeouts() == {0: None, 1: None, 2: None, 3: 5}


async def test_they_join_the_callers_transaction(
    app: App, aconnect: AsyncConnect, timeouts: Callable[[], Any]
) -> None:
    mine = await aconnect(autocommit=False)

    await app.job_manager.defer_job_async(a_job(0, timeout=5), connection=mine)
    await app.job_manager.batch_defer_jobs_async([a_job(1, timeout=5)], connection=mine)

    assert timeouts() == {}
    await mine.commit()
    assert timeouts() == {0: 5, 1: 5}


def test_so_they_do_in_sync_code(
    sync_app: App, connect: Connect, timeouts: Callable[[], Any]
) -> None:
    mine = connect(autocommit=False)

    sync_app.job_manager.defer_job(a_job(0, timeout=5), connection=mine)
    sync_app.job_manager.batch_defer_jobs([a_job(1, timeout=5)], connection=mine)
    mine.rollback()

    assert timeouts() == {}


async def test_a_tick_has_the_options_of_its_task(
    app: App, timeouts: Callable[[], Any]
) -> None:
    job = a_job(timeout=5).evolve(task_kwargs={"timestamp": 1, "n": 0})

    assert await app.job_manager.defer_periodic_job(job, "p", 1) is not None
    assert await app.job_manager.defer_periodic_job(job, "p", 1) is None

    assert timeouts() == {0: 5}


TAKEN = "already a job waiting or running with the key k"


async def test_a_key_in_use_is_named_wherever_it_is_met(app: App) -> None:
    manager = app.job_manager
    await manager.defer_job_async(a_job(key="k"))
    tick = a_job(key="k").evolve(task_kwargs={"timestamp": 1})

    for defer in (
        manager.defer_job_async(a_job(key="k")),
        manager.batch_defer_jobs_async([a_job(), a_job(key="k")]),
        manager.defer_periodic_job(tick, "p", 1),
    ):
        with pytest.raises(exceptions.KeyInUse, match=TAKEN) as caught:
            await defer
        cause = caught.value.__cause__
        assert isinstance(cause, exceptions.UniqueViolation)
        assert (cause.key, cause.queueing_lock) == ("k", None)


def test_who_knows_of_queueing_locks_alone_catches_it_as_well(
    sync_app: App, conn: psycopg.Connection
) -> None:
    with pytest.raises(exceptions.AlreadyEnqueued, match=TAKEN):
        sync_app.job_manager.batch_defer_jobs([a_job(key="k"), a_job(key="k")])

    assert conn.execute("select count(*) from procrastinate_jobs").fetchone() == (0,)


async def test_one_that_waits_for_a_key_keeps_nobody_waiting(
    app: App, aconnect: AsyncConnect
) -> None:
    manager = app.job_manager
    mine = await aconnect(autocommit=False)
    await manager.defer_job_async(a_job(key="k"), connection=mine)

    waits = asyncio.ensure_future(manager.defer_job_async(a_job(key="k")))
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(manager.defer_job_async(a_job(n)) for n in range(4)))
        await manager.defer_job_async(a_job(key="another"))
    assert not waits.done()
    await mine.rollback()

    assert (await waits).id is not None
