"""Below the marks nothing is read again that is settled, and nothing hides that came late."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from psycopg import rows

from tests.python.races import harness, verbs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.conftest import Connect

FAR = 9_000_000_000_000_000  # a time, in microseconds: there is no scan from the start
READ = """
    select coalesce(sum(pg_stat_get_xact_tuples_returned(indexrelid)), 0)
    from pg_index where indrelid = 'procrastinate_todo'::regclass
"""


@attrs.define
class Worker:
    """One that reports what it claimed when it claims again."""

    conn: psycopg.Connection[Any]
    queues: list[str] | None
    number: int
    has_locks: bool
    """Each job has a lock, of its own: those have another short way."""
    marks: list[int] | None = None
    held: list[harness.Claim] = attrs.field(factory=list[harness.Claim])
    locks: Iterator[int] = attrs.field(factory=itertools.count)

    def fetch(self, limit: int = 50) -> list[int]:
        text = verbs.finish_and_fetch(
            self.number, self.held, limit, queues=self.queues, marks=self.marks
        )
        with self.conn.cursor(row_factory=rows.dict_row) as cursor:
            answer = harness.Exchange.of(cursor.execute(text.encode()).fetchall())
        self.held, self.marks = answer.claims, answer.marks
        return [claim.job_id for claim in self.held]

    def defer(
        self, jobs: int = 1, queue: str = "a", conn: psycopg.Connection[Any] | None = None
    ) -> list[int]:
        locks = [f"l{next(self.locks)}" if self.has_locks else None for _ in range(jobs)]
        text = verbs.defer(*[queue] * jobs, locks=locks)
        return [job for (job,) in (conn or self.conn).execute(text.encode()).fetchall()]

    def look_from_the_start(self) -> None:
        """Once, at the next fetch, and then never again."""
        assert self.marks is not None
        self.marks[1] = 0
        self.fetch()
        self.marks[1:3] = [FAR, 0]  # but for a reason, however dear this one was


@pytest.fixture(params=["one", "one with locks", "all", "two"])
def worker(connect: Connect, request: pytest.FixtureRequest) -> Worker:
    """A worker with marks over a job or two, and a floor that is raised no more by the start."""
    conn = connect()
    (number,) = conn.execute("select procrastinate_register_worker_v2()").fetchone() or (0,)
    queues = {"all": None, "two": ["a", "b"]}.get(request.param, ["a"])
    found = Worker(conn, queues, number, request.param == "one with locks")
    found.defer()
    if queues != ["a"]:
        found.defer(queue="b")
    found.fetch()
    found.look_from_the_start()
    work(found)
    return found


def work(worker: Worker, rounds: int = 5) -> None:
    """Some jobs come and go, and all that came late is found."""
    for _ in range(rounds):
        jobs = worker.defer(2)
        assert set(jobs) <= set(worker.fetch())


def test_what_is_committed_late_is_found_by_the_next_fetch(
    worker: Worker, connect: Connect
) -> None:
    other = connect(autocommit=False)
    for _ in range(3):
        late = worker.defer(conn=other)
        work(worker)
        other.commit()
        assert worker.fetch() == late


def test_of_several_that_commit_late_each_is_found_at_once(
    worker: Worker, connect: Connect
) -> None:
    others = [connect(autocommit=False) for _ in range(3)]
    late = [worker.defer(conn=other) for other in others]
    for place in (1, 2, 0):
        work(worker, rounds=2)
        others[place].commit()
        assert worker.fetch() == late[place]
        late[place] = worker.defer(conn=others[place])
    for other, jobs in zip(others, late, strict=True):
        other.commit()
        assert worker.fetch() == jobs


def test_what_is_committed_late_is_found_beside_what_is_claimed(
    worker: Worker, connect: Connect
) -> None:
    other = connect(autocommit=False)
    late = worker.defer(conn=other)
    work(worker, rounds=40)  # the mark is far above the floor
    other.commit()
    jobs = worker.defer(3)
    # a full batch goes on from the mark; the first that is not full looks behind it
    assert worker.fetch(3) == jobs
    assert worker.fetch(3) == late


def test_what_a_long_transaction_wrote_is_found_as_soon_as_it_ends(
    worker: Worker, connect: Connect
) -> None:
    others = [connect(autocommit=False) for _ in range(2)]
    late = [*worker.defer(conn=others[0]), *worker.defer(conn=others[1])]
    work(worker, rounds=2)
    worker.look_from_the_start()  # it knows them as old ones now
    work(worker)
    late += worker.defer(conn=others[0])  # it goes on, above ids that are settled
    work(worker)
    others[0].commit()
    assert worker.fetch() == [late[0], late[2]]
    assert worker.marks is not None
    worker.marks[1:3] = [FAR, 0]
    work(worker)
    others[1].commit()
    assert worker.fetch() == [late[1]]


def test_what_somebody_held_is_found_below_the_floor(worker: Worker, connect: Connect) -> None:
    other = connect(autocommit=False)
    (held,) = worker.defer()
    other.execute("select from procrastinate_jobs where id = %s for update", [held])
    work(worker)
    other.rollback()
    assert worker.fetch() == [held]


@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
def test_what_is_gone_is_not_read_again_though_a_snapshot_keeps_it(
    worker: Worker, connect: Connect, *, writes: bool
) -> None:
    other = connect(autocommit=False)
    other.execute("set transaction isolation level repeatable read")
    other.execute("create temporary table t ()" if writes else "select from procrastinate_jobs")
    work(worker, rounds=10)
    worker.look_from_the_start()
    worker.defer(500)
    while worker.fetch(100):
        pass
    worker.fetch()
    worker.fetch()
    with worker.conn.transaction():
        worker.defer()
        (before,) = worker.conn.execute(READ).fetchone() or (0,)
        assert len(worker.fetch()) == 1
        (after,) = worker.conn.execute(READ).fetchone() or (0,)
    assert after - before < 50
