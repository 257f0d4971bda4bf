"""One verb for many jobs, on a real schema."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from procrastinate import PsycopgConnector, SyncPsycopgConnector, bulk, exceptions
from procrastinate.manager import JobManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def verbs(dsn: str) -> Iterator[JobManager]:
    connector = SyncPsycopgConnector(conninfo=dsn, min_size=1)
    connector.open()
    yield JobManager(connector)
    connector.close()


@pytest.fixture
async def async_verbs(dsn: str) -> AsyncIterator[JobManager]:
    connector = PsycopgConnector(conninfo=dsn, min_size=1)
    await connector.open_async()
    yield JobManager(connector)
    await connector.close_async()


def insert(conn: psycopg.Connection, count: int = 1, **columns: Any) -> list[int]:
    """Insert jobs as an import does; return their ids."""
    values: dict[str, Any] = {
        "queue_name": "q",
        "task_name": "t",
        "status": "failed",
        **columns,
    }
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    query = (
        f"insert into procrastinate_jobs ({names}) "
        f"select {marks} from generate_series(1, {count}) returning id"
    )
    return sorted(row[0] for row in conn.execute(query.encode(), values))


def statuses(conn: psycopg.Connection, ids: list[int]) -> list[str]:
    query = b"select status::text from procrastinate_jobs where id = any(%s) order by id"
    return [row[0] for row in conn.execute(query, (ids,))]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 4)


def test_one_refusal_leaves_ninety_nine_jobs_retried(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    ids = insert(conn, 49)
    (refused,) = insert(conn, queueing_lock="taken")
    ids += insert(conn, 50)
    insert(conn, status="todo", queueing_lock="taken")

    result = verbs.retry_jobs(queue="q")

    assert result.changed == ids
    assert result.left == {refused: "queueing_lock_taken"}
    assert result.counts == {"retried": 99, "queueing_lock_taken": 1}
    assert set(statuses(conn, ids)) == {"todo"}
    assert statuses(conn, [refused]) == ["failed"]


async def test_both_colours_do_the_same(
    async_verbs: JobManager, conn: psycopg.Connection
) -> None:
    ids = insert(conn, 9)

    retried = await async_verbs.retry_jobs_async(task="t")
    cancelled = await async_verbs.cancel_jobs_async(task="t")

    assert retried.outcomes == dict.fromkeys(ids, "retried")
    assert cancelled.outcomes == dict.fromkeys(ids, "cancelled")


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "mine"},
        {"task": "mine"},
        {"lock": "mine"},
        {"queueing_lock": "mine"},
        {"ids": "mine"},
        {"older_than": HOUR},
        {"all": True, "max_jobs": 1},
    ],
    ids=str,
)
def test_only_jobs_that_pass_the_filter_are_touched(
    verbs: JobManager, conn: psycopg.Connection, options: dict[str, Any]
) -> None:
    mine = insert(
        conn,
        status="todo",
        queue_name="mine",
        task_name="mine",
        lock="mine",
        queueing_lock="mine",
    )
    other = insert(conn, 5, status="todo")
    conn.execute(
        "update procrastinate_events set at = at - interval '2 hours' where job_id = %s", mine
    )

    filters: dict[str, Any] = {
        name: mine if name == "ids" else value for name, value in options.items()
    }
    result = verbs.cancel_jobs(**filters)

    assert result.changed == mine
    assert statuses(conn, mine + other) == ["cancelled"] + ["todo"] * 5


def test_jobs_that_failed_lately_can_be_told_from_those_before(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    before, lately = insert(conn, 2, status="todo"), insert(conn, 2, status="todo")
    conn.execute("update procrastinate_jobs set status = 'failed'")
    conn.execute(
        "update procrastinate_events set at = at - interval '2 hours' where job_id = any(%s)",
        (before,),
    )

    assert verbs.retry_jobs(newer_than=HOUR).changed == lately
    assert verbs.retry_jobs(older_than=HOUR).changed == before


def test_all_filters_must_be_passed(verbs: JobManager, conn: psycopg.Connection) -> None:
    insert(conn, task_name="a", queue_name="b")

    assert verbs.retry_jobs(task="a", queue="c").outcomes == {}


@pytest.mark.parametrize("options", [{}, {"status": "failed"}, {"max_jobs": 3}], ids=str)
def test_nothing_is_done_without_a_filter_unless_all_is_meant(
    verbs: JobManager, conn: psycopg.Connection, options: dict[str, Any]
) -> None:
    ids = insert(conn, 6)

    with pytest.raises(ValueError, match=r"No filter: .*all=True"):
        verbs.retry_jobs(**options)
    assert statuses(conn, ids) == ["failed"] * 6

    assert len(verbs.retry_jobs(**options, all=True).changed) == options.get("max_jobs", 6)


def test_very_many_ids_may_be_given_in_any_order_and_twice(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    ids = insert(conn, 12)
    conn.execute("update procrastinate_jobs set task_name = 'other' where id <= %s", (ids[4],))

    result = verbs.retry_jobs(ids=[*reversed(ids), *ids, 998, 999], task="t")

    assert result.changed == ids[5:]
    assert statuses(conn, ids) == ["failed"] * 5 + ["todo"] * 7


def test_a_million_ids_are_looked_up_by_the_ten_thousand(
    verbs: JobManager, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 500)
    ids = insert(conn, 1200)
    told: list[int] = []

    result = verbs.retry_jobs(ids=range(1, 10**6 + 1), on_progress=told.append)

    assert result.changed == ids
    assert told == [500, 1000, *[1200] * 100]


def test_the_largest_id_that_there_can_be_is_one(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    (largest,) = insert(conn, id=2**63 - 1)

    assert verbs.retry_jobs(ids=[5, largest]).changed == [largest]


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ({"ids": [2**63]}, ValueError, f"No job has the id {2**63}"),
        ({"ids": [2**64]}, ValueError, f"No job has the id {2**64}"),
        ({"ids": [0]}, ValueError, "No job has the id 0"),
        ({"ids": [-1]}, ValueError, "No job has the id -1"),
        ({"ids": ["1"]}, TypeError, "ids are whole numbers, and '1' is none"),
        ({"ids": [1.0]}, TypeError, "ids are whole numbers"),
        ({"ids": [True]}, TypeError, "ids are whole numbers"),
        ({"ids": [None]}, TypeError, "ids are whole numbers"),
        ({"queue": 5}, TypeError, "queue must be of type str, and 5 is not"),
        ({"task": "t\0"}, ValueError, r"task is 't\x00': no job's has a NUL character"),
        ({"lock": "\0"}, ValueError, "lock is"),
        ({"queueing_lock": "\0"}, ValueError, "queueing_lock is"),
        ({"older_than": 5}, TypeError, "older_than must be of type timedelta"),
        ({"newer_than": "5 days"}, TypeError, "newer_than must be of type timedelta"),
        ({"all": "no"}, TypeError, "all must be of type bool"),
        ({"dry_run": "no"}, TypeError, "dry_run must be of type bool"),
        ({"max_jobs": 0}, ValueError, "max_jobs is 0: ask for one job or more"),
        ({"max_jobs": 1.5}, TypeError, "max_jobs must be of type int"),
        ({"status": "nope"}, ValueError, "status is 'nope': there are todo, doing, "),
        ({"status": 5}, ValueError, "status is 5"),
        ({"older_than": -HOUR}, exceptions.InvalidArgument, "age of jobs is negative"),
        ({"older_than": datetime.timedelta.max}, ValueError, "no job is so old"),
        ({"newer_than": datetime.timedelta.max}, ValueError, "no job is so old"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("verb", ["retry_jobs", "cancel_jobs"])
def test_what_no_job_can_have_is_refused_before_anything_is_written(
    verbs: JobManager,
    conn: psycopg.Connection,
    verb: str,
    filters: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    given = insert(conn, 6, status="failed" if verb == "retry_jobs" else "todo")
    before = statuses(conn, given)
    if isinstance(filters.get("ids"), list):
        filters = {"ids": [*given, *filters["ids"]]}

    with pytest.raises(error, match=re.escape(message)):
        getattr(verbs, verb)(**{"all": True, **filters})

    assert statuses(conn, given) == before


@pytest.mark.parametrize(
    ("retry_at", "error"), [("2020-01-01", TypeError), (datetime.datetime.min, ValueError)]
)
def test_a_retry_is_at_a_moment_with_a_timezone(
    verbs: JobManager, conn: psycopg.Connection, retry_at: Any, error: type[Exception]
) -> None:
    ids = insert(conn, 2)

    with pytest.raises(error, match="retry_at"):
        verbs.retry_jobs(queue="q", retry_at=retry_at)

    assert statuses(conn, ids) == ["failed"] * 2


@pytest.mark.parametrize("ids", ["{9223372036854775808}", "{18446744073709551616}", "{x}"])
def test_sql_refuses_an_id_that_is_none(conn: psycopg.Connection, ids: str) -> None:
    given = insert(conn, 2)

    with pytest.raises(psycopg.errors.DataError):
        conn.execute(
            "select procrastinate_retry_jobs(job_ids => %s::bigint[] || %s::bigint[])",
            (given, ids),
        )

    assert statuses(conn, given) == ["failed"] * 2


def test_sql_finds_nothing_by_ids_that_no_job_has(conn: psycopg.Connection) -> None:
    insert(conn, 2)
    ids = [0, -1, -(2**63), 2**63 - 1, None]

    for verb in (b"procrastinate_retry_jobs", b"procrastinate_cancel_jobs"):
        assert not conn.execute(b"select " + verb + b"(job_ids => %s)", (ids,)).fetchall()


def test_no_ids_are_no_jobs(verbs: JobManager, conn: psycopg.Connection) -> None:
    insert(conn, 2)

    assert verbs.retry_jobs(ids=[]).outcomes == {}


def test_an_unknown_filter_is_an_error(verbs: JobManager) -> None:
    filters: dict[str, Any] = {"colour": "red"}
    with pytest.raises(TypeError, match="colour"):
        verbs.cancel_jobs(**filters)


def test_a_status_that_can_not_be_changed_is_refused(verbs: JobManager) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Only failed jobs"):
        verbs.retry_jobs(queue="q", status="succeeded")


def test_a_dry_run_tells_what_it_would_be_and_does_nothing(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    ids = insert(conn, 6)

    result = verbs.retry_jobs(queue="q", dry_run=True)

    assert result.counts == {"matched": 6}
    assert (result.changed, result.left) == ([], {})
    assert statuses(conn, ids) == ["failed"] * 6


def test_progress_is_told_after_each_batch(verbs: JobManager, conn: psycopg.Connection) -> None:
    insert(conn, 10)
    told: list[int] = []

    verbs.retry_jobs(queue="q", max_jobs=9, on_progress=told.append)

    assert told == [4, 8, 9]


def test_a_batch_that_fails_does_not_undo_those_before(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    ids = insert(conn, 6)

    def interrupt(considered: int) -> None:
        raise KeyboardInterrupt(considered)

    with pytest.raises(KeyboardInterrupt, match="4"):
        verbs.retry_jobs(queue="q", on_progress=interrupt)

    assert statuses(conn, ids) == ["todo"] * 4 + ["failed"] * 2


def test_a_retry_may_be_for_later(verbs: JobManager, conn: psycopg.Connection) -> None:
    (job_id,) = insert(conn)
    later = datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)

    verbs.retry_jobs(ids=[job_id], retry_at=later)

    (job,) = verbs.list_jobs(id=job_id)
    assert job.scheduled_at == later


def test_waiting_jobs_may_be_deleted_and_running_ones_asked_to_abort(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    (waits,), (runs,) = insert(conn, status="todo"), insert(conn, status="doing")

    result = verbs.cancel_jobs(queue="q", abort=True, delete_jobs=True)

    assert result.outcomes == {waits: "deleted", runs: "abort_requested"}
    (job,) = verbs.list_jobs()
    assert (job.id, job.abort_requested) == (runs, True)


@pytest.mark.parametrize("verb", ["retry_jobs", "cancel_jobs"])
def test_a_job_that_another_transaction_has_is_left_and_nobody_waits(
    verbs: JobManager, conn: psycopg.Connection, dsn: str, verb: str
) -> None:
    first, held, last = insert(conn, 3, status="failed" if verb == "retry_jobs" else "todo")
    with psycopg.connect(dsn) as other:
        other.execute("select from procrastinate_jobs where id = %s for update", (held,))

        result = getattr(verbs, verb)(queue="q")

    assert result.changed == [first, last]
    assert result.left == {held: "busy"}
    assert getattr(verbs, verb)(queue="q").changed == [held]


def test_a_job_that_a_foreign_key_holds_is_cancelled_but_not_deleted(
    verbs: JobManager, conn: psycopg.Connection, dsn: str
) -> None:
    conn.execute("create table orders (job_id bigint references procrastinate_jobs)")
    ids = insert(conn, 2, status="todo")
    with psycopg.connect(dsn) as other:
        other.execute("insert into orders values (%s)", (ids[0],))

        assert verbs.cancel_jobs(queue="q", delete_jobs=True).outcomes == {
            ids[0]: "busy",
            ids[1]: "deleted",
        }
        assert verbs.cancel_jobs(queue="q").changed == ids[:1]


def test_the_jobs_of_a_lock_go_on_in_order_after_many_were_cancelled(
    verbs: JobManager, conn: psycopg.Connection
) -> None:
    heads = insert(conn, 9, status="todo", lock="l", queue_name="heads")
    (behind,) = insert(conn, status="todo", lock="l", queue_name="behind")

    verbs.cancel_jobs(queue="heads")

    assert statuses(conn, heads) == ["cancelled"] * 9
    query = b"select state::text from procrastinate_todo where job_id = %s"
    assert conn.execute(query, (behind,)).fetchall() == [("r",)]
    assert conn.execute(b"select procrastinate_check()").fetchall() == []
