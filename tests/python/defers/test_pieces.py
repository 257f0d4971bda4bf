"""A batch of any size is sent in pieces, and is all or nothing."""

from __future__ import annotations

import json
import logging
import weakref
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.errors
import pytest

from procrastinate import App, SyncPsycopgConnector, exceptions, jobs, pieces, testing
from procrastinate.rpc.call import Call

from .conftest import POOL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from procrastinate.types import JSONDict
    from tests.conftest import AsyncConnect, Connect

    from .conftest import Wire


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of few jobs, so that a batch of ten has several."""
    monkeypatch.setattr(pieces, "MOST_JOBS", 4)


@pytest.fixture
def sync_app(dsn: str) -> Iterator[App]:
    """An app with a sync connector, open."""
    app = App(connector=SyncPsycopgConnector(conninfo=dsn, min_size=POOL, max_size=POOL))
    with app.open():
        yield app


def numbered(count: int, first: int = 0) -> list[JSONDict]:
    return [{"n": n} for n in range(first, first + count)]


def stored(conn: psycopg.Connection) -> dict[int, Any]:
    return dict(
        conn.execute("select id, args -> 'n' from procrastinate_jobs order by id").fetchall()
    )


def a_job(queueing_lock: str | None = None, queue: str = "q") -> jobs.Job:
    return jobs.Job(task_name="t", queue=queue, lock=None, queueing_lock=queueing_lock)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many jobs each statement had, and how many characters."""
    sent: list[tuple[int, int]] = []
    encode = Call[Any].encode

    def watch(call: Call[Any], *args: Any) -> dict[str, str | None]:
        encoded = encode(call, *args)
        size = sum(len(argument or "") for argument in encoded.values())
        sent.append((len(call.args["p_args"]), size))
        return encoded

    monkeypatch.setattr(Call, "encode", watch)
    return sent


@pytest.mark.parametrize(
    ("count", "statements"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4]), (10, [4, 4, 2])]
)
def test_the_ids_of_all_pieces_come_in_the_order_given(
    sync_app: App,
    conn: psycopg.Connection,
    sent: list[tuple[int, int]],
    count: int,
    statements: list[int],
) -> None:
    ids = sync_app.configure_task("t").batch_defer(*numbered(count))

    assert [jobs for jobs, _ in sent] == statements
    assert stored(conn) == {job_id: n for n, job_id in enumerate(ids)}


async def test_async_code_sends_the_same_pieces(app: App, conn: psycopg.Connection) -> None:
    ids = await app.configure_task("t").batch_defer_async(*numbered(10))

    assert stored(conn) == {job_id: n for n, job_id in enumerate(ids)}


async def test_what_fits_in_one_statement_is_one_call(app: App, wire: Wire) -> None:
    await app.configure_task("t").batch_defer_async(*numbered(4))

    assert wire.statements == [4]


def test_no_statement_is_larger_than_it_may_be(
    sync_app: App, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MOST_JOBS", 1000)
    monkeypatch.setattr(pieces, "MOST_TEXT", 10_000)
    arguments: list[JSONDict] = [{"n": "x" * 900} for _ in range(50)]
    arguments[30] = {"n": "x" * 50_000}

    sync_app.configure_task("t").batch_defer(*arguments)

    assert sum(jobs for jobs, _ in sent) == 50
    (large,) = [(jobs, size) for jobs, size in sent if size > 11_000]
    assert large[0] == 1


def test_a_batch_is_not_built_as_a_whole(
    sync_app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[jobs.Job]] = []
    most = 0
    make: Any = jobs.JobDeferrer.make_new_job

    def watch(deferrer: Any, **kwargs: Any) -> jobs.Job:
        nonlocal most
        job: jobs.Job = make(deferrer, **kwargs)
        alive.append(weakref.ref(job))
        most = max(most, sum(ref() is not None for ref in alive))
        return job

    monkeypatch.setattr(jobs.JobDeferrer, "make_new_job", watch)

    ids = sync_app.configure_task("t").batch_defer(*numbered(100))

    assert len(ids) == 100
    assert most <= 3 * pieces.MOST_JOBS


@pytest.mark.parametrize("count", [3, 4, 5, 10])
def test_the_arguments_of_each_job_are_written_once(dsn: str, count: int) -> None:
    written: list[Any] = []

    def dumps(value: Any) -> str:
        written.append(value)
        return json.dumps(value)

    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1, json_dumps=dumps)
    app = App(connector=connector)
    with app.open():
        app.configure_task("t").batch_defer(*numbered(count))

    assert written == numbered(count)


def test_a_transaction_that_is_repeated_has_all_jobs(
    sync_app: App, conn: psycopg.Connection
) -> None:
    conn.execute("create sequence tries")  # what sequences count is never undone
    conn.execute(
        """
        create function flaky() returns trigger language plpgsql as $$
        begin
            if nextval('tries') <= 2 then
                raise exception using errcode = '40P01', message = 'others';
            end if;
            return null;
        end $$
        """
    )
    conn.execute(
        "create trigger flaky after insert on procrastinate_jobs execute function flaky()"
    )

    ids = sync_app.configure_task("t").batch_defer(*numbered(10))

    assert stored(conn) == {job_id: n for n, job_id in enumerate(ids)}


@pytest.mark.parametrize("bad", [0, 5, 9])
def test_a_bad_job_of_any_piece_lets_none_in(
    sync_app: App, conn: psycopg.Connection, bad: int
) -> None:
    arguments = numbered(10)
    arguments[bad] = {"n": "\0"}

    with pytest.raises(exceptions.ConnectorException):
        sync_app.configure_task("t").batch_defer(*arguments)

    assert stored(conn) == {}
    assert len(sync_app.configure_task("t").batch_defer(*numbered(10))) == 10


async def test_so_it_is_in_async_code(app: App, conn: psycopg.Connection) -> None:
    for bad, error in (("\0", exceptions.ConnectorException), (object(), TypeError)):
        arguments: list[Any] = [*numbered(9), {"n": bad}]
        with pytest.raises(error):
            await app.configure_task("t").batch_defer_async(*arguments)

    assert stored(conn) == {}


async def test_a_queueing_lock_of_two_pieces_is_named(
    app: App, conn: psycopg.Connection
) -> None:
    batch = [a_job(f"lock {n}") for n in range(9)] + [a_job("lock 2")]

    with pytest.raises(exceptions.AlreadyEnqueued, match="queueing lock lock 2"):
        await app.job_manager.batch_defer_jobs_async(batch)

    assert stored(conn) == {}


def test_the_jobs_come_back_with_their_numbers(sync_app: App) -> None:
    batch = [a_job(queue=f"q{n}") for n in range(10)]

    deferred = sync_app.job_manager.batch_defer_jobs(batch)

    assert [job.queue for job in deferred] == [job.queue for job in batch]
    assert {job.status for job in deferred} == {"todo"}
    ids = [job.id for job in deferred if job.id is not None]
    assert len(ids) == 10
    assert ids == sorted(ids)


def test_a_batch_is_part_of_the_callers_transaction(
    sync_app: App, connect: Connect, conn: psycopg.Connection
) -> None:
    mine = connect(autocommit=False)
    deferrer = sync_app.configure_task("t", connection=mine)

    deferrer.batch_defer(*numbered(10))
    assert stored(conn) == {}
    mine.rollback()
    assert stored(conn) == {}
    deferrer.batch_defer(*numbered(10))
    mine.commit()
    assert list(stored(conn).values()) == list(range(10))

    with pytest.raises(exceptions.ConnectorException):
        deferrer.batch_defer(*numbered(5), {"n": "\0"})
    assert mine.info.transaction_status == psycopg.pq.TransactionStatus.INERROR


def test_a_connection_without_a_transaction_gets_one_for_the_batch(
    sync_app: App, connect: Connect, conn: psycopg.Connection
) -> None:
    deferrer = sync_app.configure_task("t", connection=connect())

    with pytest.raises(exceptions.ConnectorException):
        deferrer.batch_defer(*numbered(5), {"n": "\0"})
    assert stored(conn) == {}
    deferrer.batch_defer(*numbered(5))

    assert list(stored(conn).values()) == list(range(5))


async def test_so_does_an_async_connection(
    app: App, aconnect: AsyncConnect, conn: psycopg.Connection
) -> None:
    deferrer = app.configure_task("t", connection=await aconnect())

    with pytest.raises(exceptions.ConnectorException):
        await deferrer.batch_defer_async(*numbered(5), {"n": "\0"})
    assert stored(conn) == {}
    await deferrer.batch_defer_async(*numbered(5))

    assert list(stored(conn).values()) == list(range(5))


def test_a_deadlock_repeats_the_whole_batch(
    sync_app: App, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Call[Any].encode
    calls = 0

    def fail_once(call: Call[Any], *args: Any) -> dict[str, str | None]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise psycopg.errors.DeadlockDetected
        return encode(call, *args)

    monkeypatch.setattr(Call, "encode", fail_once)

    ids = sync_app.configure_task("t").batch_defer(*numbered(10))

    assert calls == 2 + 3
    assert stored(conn) == {job_id: n for n, job_id in enumerate(ids)}


async def test_a_batch_is_one_record(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.jobs")

    ids = await app.configure_task("t").batch_defer_async(*numbered(10))

    before, after = (record.__dict__ for record in caplog.records)
    assert (before["message"], after["message"]) == (
        "About to defer 10 jobs",
        "Deferred 10 jobs",
    )
    assert [job["id"] for job in before["jobs"]] == [None] * 10
    assert [(job["id"], job["task_kwargs"], job["status"]) for job in after["jobs"]] == [
        (job_id, {"n": "..."}, "todo") for job_id in ids
    ]


async def test_memory_takes_a_batch_as_a_whole() -> None:
    memory = testing.InMemoryConnector()
    app = App(connector=memory)

    ids = await app.configure_task("t").batch_defer_async(*numbered(10))

    assert ids == list(range(1, 11))
    with pytest.raises(exceptions.InvalidArgument):
        await app.configure_task("t", queue="q" * 129).batch_defer_async(*numbered(10))
    assert len(memory.jobs) == 10
