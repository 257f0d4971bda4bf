"""Below the marks nothing is read again that is settled, and nothing hides that came late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

if TYPE_CHECKING:
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
    held: list[tuple[int, int]] = attrs.field(factory=list[tuple[int, int]])

    def fetch(self, limit: int = 50) -> list[int]:
        rows = self.conn.execute(
            "select outcome, job_id, claim_id, marks from procrastinate_finish_and_fetch_v1("
            "%s, %s, %s, %s, %s, %s, %s::procrastinate_job_status[], null)",
            [
                self.number,
                self.queues,
                limit,
                self.marks,
                [job for job, _ in self.held],
                [claim for _, claim in self.held],
                ["succeeded"] * len(self.held),
            ],
        ).fetchall()
        self.held = [(job, claim) for outcome, job, claim, _ in rows if outcome == "claimed"]
        self.marks = rows[-1][3]
        return [job for job, _ in self.held]

    def defer(
        self, jobs: int = 1, queue: str = "a", conn: psycopg.Connection[Any] | None = None
    ) -> list[int]:
        rows = (conn or self.conn).execute(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            " select %s, 't', case when %s then gen_random_uuid() end"
            " from generate_series(1, %s) returning id",
            [queue, self.has_locks, jobs],
        )
        return [job for (job,) in rows.fetchall()]

    def look_from_the_start(self, *, ever_again: bool) -> None:
        """At the next fetch; and then at its own time or, as if that were far, never."""
        assert self.marks is not None
        self.marks[1] = 0
        self.fetch()
        if not ever_again:
            self.marks[1] = FAR


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
    found.look_from_the_start(ever_again=False)
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
    worker.look_from_the_start(ever_again=False)  # it knows them as old ones now
    work(worker)
    late += worker.defer(conn=others[0])  # it goes on, above ids that are settled
    work(worker)
    others[0].commit()
    assert worker.fetch() == [late[0], late[2]]
    assert worker.marks is not None
    worker.marks[1] = FAR
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
    worker.look_from_the_start(ever_again=False)
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
