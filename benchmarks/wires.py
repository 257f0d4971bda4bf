"""
Both engines as a client sees them: SQL through one prepared, autocommitting connection.

Rows are asked for whole, as a worker needs them, yet only the numbers that go back to the
server are read: what a client language pays to decode a row is not what is measured here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from psycopg import Cursor
    from psycopg.pq.abc import PGresult

    from benchmarks.server import Connection

EXCHANGE = (
    "select * from procrastinate_finish_and_fetch_v1(%s::bigint, %s::text[], %s::integer,"
    " %s::bigint[], %s::bigint[], %s::bigint[], %s::procrastinate_job_status[], %s::boolean[])"
)
REGISTER = "select procrastinate_register_worker_v2(%s::text, %s::text[])"
OLD_REGISTER = "select worker_id from procrastinate_register_worker_v1()"
OLD_FETCH = "select * from procrastinate_fetch_job_v2(%s::varchar[], %s::bigint)"
OLD_FINISH = (
    "select procrastinate_finish_job_v1(%s::bigint, %s::procrastinate_job_status, %s::boolean)"
)

# Both schemas have these columns; both have triggers that do the rest.
FILL = (
    "insert into procrastinate_jobs (queue_name, task_name, priority, lock, args, status,"
    " scheduled_at) select %(queue)s, 'task', 0,"
    " case when %(locks)s::int > 0 then 'lock ' || i %% %(locks)s::int end, '{\"a\": 1}',"
    " %(status)s::procrastinate_job_status, %(scheduled_at)s::timestamptz"
    " from generate_series(1, %(jobs)s) as i"
)
CHUNK = 200_000  # rows in one INSERT: its transition table stays in memory


class StuckError(Exception):
    """Jobs are left, and the engine does not hand them out."""


@attrs.frozen(kw_only=True)
class Claims:
    """What one exchange returned: the jobs to report in the next one, and the summary."""

    job_ids: list[bytes] = attrs.field(factory=list[bytes])
    claim_ids: list[bytes] = attrs.field(factory=list[bytes])
    again: bool = False  # stopped at a bound of its own, or met rows that somebody held

    def __len__(self) -> int:
        return len(self.job_ids)


NOTHING = Claims()


def array(items: list[bytes]) -> str:
    return "{" + b",".join(items).decode() + "}"


def repeated(word: str, times: int) -> str:
    return "{" + ",".join([word] * times) + "}"


def columns(result: PGresult) -> dict[bytes | None, int]:
    return {result.fname(number): number for number in range(result.nfields)}


class Worker(Protocol):
    """Someone who takes jobs and reports them as succeeded."""

    conn: Connection

    def step(self, batch: int) -> int | None:
        """Report what was claimed, claim more; return how many, or None once all is done."""
        ...


@attrs.define
class OurWorker:
    """A registered worker that reports the last batch and claims the next in one call."""

    conn: Connection
    queues: list[str] | None = attrs.field(factory=lambda: ["q"])
    worker_id: int = 0
    marks: str | None = None
    _claims: Claims = attrs.field(init=False, default=NOTHING)
    _idle: int = attrs.field(init=False, default=0)
    _cursor: Cursor[tuple[object, ...]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        row = self.conn.execute(REGISTER, ("benchmark", self.queues)).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        self.worker_id = row[0]
        self._cursor = self.conn.cursor()

    def exchange(self, limit: int, ended: Claims = NOTHING) -> Claims:
        arguments = (
            self.worker_id,
            self.queues,
            limit,
            self.marks,
            array(ended.job_ids),
            array(ended.claim_ids),
            repeated("succeeded", len(ended)),
            repeated("f", len(ended)),
        )
        self._cursor.execute(EXCHANGE, arguments, prepare=True)
        result = self._cursor.pgresult
        assert result is not None
        return self._read(result)

    def _read(self, result: PGresult) -> Claims:
        at = columns(result)
        outcome, job, claim = at[b"outcome"], at[b"job_id"], at[b"claim_id"]
        value = result.get_value
        last = result.ntuples - 1
        job_ids: list[bytes] = []
        claim_ids: list[bytes] = []
        for row in range(last):
            if value(row, outcome) != b"claimed":
                raise StuckError(f"{value(row, outcome)!r} of job {value(row, job)!r}")
            job_ids.append(value(row, job) or b"")
            claim_ids.append(value(row, claim) or b"")
        assert value(last, outcome) == b"summary"
        marks = value(last, at[b"marks"])
        self.marks = None if marks is None else marks.decode()
        again = b"t" in (value(last, at[b"more"]), value(last, at[b"contended"]))
        return Claims(job_ids=job_ids, claim_ids=claim_ids, again=again)

    def step(self, batch: int) -> int | None:
        self._claims = self.exchange(batch, self._claims)
        self._idle = 0 if self._claims.job_ids else self._idle + 1
        if self._idle > 1000:
            raise StuckError("1000 exchanges in a row brought nothing and said: again")
        if self._claims.job_ids or self._claims.again:
            return len(self._claims)
        return None

    def drain(self, batch: int) -> int:
        done = 0
        while (claimed := self.step(batch)) is not None:
            done += claimed
        return done


@attrs.define
class UpstreamWorker:
    """The old wire: one call fetches one job, another finishes it."""

    conn: Connection
    queues: list[str] | None = attrs.field(factory=lambda: ["q"])
    worker_id: int = 0
    _cursor: Cursor[tuple[object, ...]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        row = self.conn.execute(OLD_REGISTER).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        self.worker_id = row[0]
        self._cursor = self.conn.cursor()

    def fetch(self) -> bytes | None:
        self._cursor.execute(OLD_FETCH, (self.queues, self.worker_id), prepare=True)
        result = self._cursor.pgresult
        assert result is not None
        return result.get_value(0, columns(result)[b"id"]) if result.ntuples else None

    def finish(self, job_id: bytes) -> None:
        self._cursor.execute(OLD_FINISH, (job_id.decode(), "succeeded", False), prepare=True)

    def step(self, batch: int) -> int | None:
        assert batch == 1, "the old wire knows no batches"
        job_id = self.fetch()
        if job_id is None:
            return None
        self.finish(job_id)
        return 1


def fill(
    conn: Connection,
    jobs: int,
    *,
    queue: str = "q",
    locks: int = 0,
    status: str = "todo",
    scheduled_at: str | None = None,
) -> None:
    """Add ``jobs`` jobs; with ``locks`` the n-th has lock n modulo ``locks``."""
    arguments = {"queue": queue, "locks": locks, "status": status, "scheduled_at": scheduled_at}
    for start in range(0, jobs, CHUNK):
        conn.execute(FILL, {**arguments, "jobs": min(CHUNK, jobs - start)})


def empty(conn: Connection) -> None:
    conn.execute("truncate procrastinate_jobs, procrastinate_events cascade")


def settle(conn: Connection) -> None:
    """What autovacuum would have done: without it upstream's plans are worse, ours the same."""
    conn.execute("vacuum analyze")


def count(conn: Connection, status: str) -> int:
    row = conn.execute(
        "select count(*) from procrastinate_jobs where status = %s::procrastinate_job_status",
        (status,),
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]
