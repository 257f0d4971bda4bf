"""
Step connections statement by statement, as PostgreSQL's own isolation tests do.

Each session is one connection with a thread of its own, so that a statement that waits for a
lock stays under way while the test goes on with another session. A test never naps: it waits
until each statement has either ended or is seen, by a connection that only watches, to wait
for a lock that another session of the test holds. Every wait has a deadline.

`IdleWorker` is the one witness of invariant I7: it fetches when it is told to and never polls,
so what it leaves undone was lost.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeAlias, cast

import attrs
import psycopg
import psycopg.conninfo
import psycopg.rows

if TYPE_CHECKING:
    from types import TracebackType

DEADLINE = 30.0  # seconds; nothing here waits as long unless it is stuck
GLANCE = (
    0.002  # seconds between two looks at pg_locks; a statement that ends ends the wait at once
)

# rows of these sessions carry whatever the statement returns
Row: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Sequence[object] | Mapping[str, object] | None


class HarnessError(AssertionError):
    """A test asked for something that did not come about before the deadline."""


def query(text: str) -> LiteralString:
    """Statements are put together by the tests themselves; no input of a user is in them."""
    return cast("LiteralString", text)  # type: ignore[redundant-cast]  # mypy: it is str


@attrs.define(eq=False)
class Statement:
    """A statement under way (or ended) in a session."""

    session: Session
    text: str
    future: concurrent.futures.Future[list[Row]]

    @property
    def ended(self) -> bool:
        return self.future.done()

    @property
    def error(self) -> psycopg.Error | None:
        if not self.ended:
            raise HarnessError(f"{self} has not ended")
        exception = self.future.exception()
        if exception is None or isinstance(exception, psycopg.Error):
            return exception
        raise exception

    @property
    def sqlstate(self) -> str | None:
        error = self.error
        return None if error is None else (error.sqlstate or "?????")

    @property
    def rows(self) -> list[Row]:
        if not self.ended:
            raise HarnessError(f"{self} has not ended")
        return self.future.result()

    def assert_blocked(self) -> None:
        """The statement waits for a lock that another session of the test holds."""
        if not self.session.stage.settled_blocked(self):
            outcome = self.error or self.rows
            raise HarnessError(f"{self} was expected to wait, but ended: {outcome!r}")

    def result(self) -> list[Row]:
        """Wait (with the deadline) for the end; the rows, or the statement's error."""
        self.session.stage.settle()
        if not self.ended:
            raise HarnessError(f"{self} waits: {self.session.stage.describe_waits()}")
        return self.future.result()

    def __str__(self) -> str:
        return f"[{self.session.name}] {self.text}"


@attrs.define(eq=False)
class Session:
    """One connection, driven by one thread."""

    stage: Stage
    name: str
    connection: psycopg.Connection[Row]
    thread: concurrent.futures.ThreadPoolExecutor = attrs.field(
        factory=lambda: concurrent.futures.ThreadPoolExecutor(max_workers=1)
    )
    current: Statement | None = None

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    @property
    def status(self) -> psycopg.pq.TransactionStatus:
        return self.connection.info.transaction_status

    @property
    def busy(self) -> bool:
        return self.current is not None and not self.current.ended

    def start(self, text: str, parameters: Parameters = None) -> Statement:
        """Send a statement and return at once."""
        if self.busy:
            raise HarnessError(f"{self.name} is still busy with {self.current}")
        future = self.thread.submit(self._execute, text, parameters)
        self.current = Statement(session=self, text=text, future=future)
        return self.current

    def run(self, text: str, parameters: Parameters = None) -> list[Row]:
        """Send a statement that must not wait for another session; its rows."""
        return self.start(text, parameters).result()

    def value(self, text: str, parameters: Parameters = None) -> Any:
        """The one value of the one row."""
        (row,) = self.run(text, parameters)
        (value,) = row.values()
        return value

    def begin(self) -> None:
        self.run("begin")

    def commit(self) -> None:
        self.run("commit")

    def rollback(self) -> None:
        self.run("rollback")

    def _execute(self, text: str, parameters: Parameters) -> list[Row]:
        cursor = self.connection.execute(query(text), parameters)
        return [] if cursor.description is None else cursor.fetchall()

    def close(self) -> None:
        if self.busy:
            self.connection.cancel_safe(timeout=DEADLINE)
        self.thread.shutdown(wait=True)
        self.connection.close()


def connect(dsn: str, name: str) -> psycopg.Connection[Row]:
    connection = psycopg.connect(
        psycopg.conninfo.make_conninfo(dsn, application_name=name),
        autocommit=True,
        # the checker takes the default row type for the one wanted
        row_factory=cast("Any", psycopg.rows.dict_row),
        # a deadlock is reported at once: the tests assert that there is none; nothing here
        # outlives the server, so no commit needs to wait for the disk
        options="-c deadlock_timeout=50ms -c synchronous_commit=off"
        " -c client_min_messages=warning",
    )
    return cast("psycopg.Connection[Row]", connection)


@attrs.define(eq=False)
class Stage:
    """The sessions of one test, and the connection that watches them."""

    dsn: str
    watcher: psycopg.Connection[Row] = attrs.field(init=False)
    sessions: dict[str, Session] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.watcher = self.connect("watcher")

    def connect(self, name: str) -> psycopg.Connection[Row]:
        return connect(self.dsn, f"races {name}")

    def session(self, name: str) -> Session:
        if name not in self.sessions:
            self.sessions[name] = Session(stage=self, name=name, connection=self.connect(name))
        return self.sessions[name]

    def look(self, text: str, parameters: Parameters = None) -> list[Row]:
        """Read or change something from outside, now."""
        cursor = self.watcher.execute(query(text), parameters)
        return [] if cursor.description is None else cursor.fetchall()

    def look_value(self, text: str, parameters: Parameters = None) -> Any:
        (row,) = self.look(text, parameters)
        (value,) = row.values()
        return value

    def waiting(self) -> dict[int, list[int]]:
        """The backends of this stage that wait for a lock -> the backends they wait for."""
        pids = [session.pid for session in self.sessions.values()]
        pids.append(self.watcher.info.backend_pid)
        rows = self.look(
            """
            select a.pid, pg_blocking_pids(a.pid) as blockers
            from pg_stat_activity as a
            where a.pid = any(%s) and a.wait_event_type = 'Lock'
                and pg_blocking_pids(a.pid) && %s::integer[]
            """,
            [pids, pids],
        )
        return {row["pid"]: row["blockers"] for row in rows}

    def settle(self) -> None:
        """Return when each statement has ended or waits for another session."""
        deadline = time.monotonic() + DEADLINE
        while True:
            busy = [s.current for s in self.sessions.values() if s.current and s.busy]
            if not busy:
                return
            waiting = self.waiting()
            if all(statement.ended or statement.session.pid in waiting for statement in busy):
                # a statement may have ended, and woken another, between the two looks
                again = [s for s in busy if not s.ended]
                if len(again) == len(busy) and not self._in_a_circle(waiting):
                    return
            if time.monotonic() > deadline:
                raise HarnessError(f"not settled: {self.describe_waits()}")
            concurrent.futures.wait(
                [statement.future for statement in busy],
                timeout=GLANCE,
                return_when=concurrent.futures.FIRST_COMPLETED,
            )

    def _in_a_circle(self, waiting: dict[int, list[int]]) -> bool:
        """A deadlock, which the server is about to end."""

        def reaches(start: int) -> bool:
            seen: set[int] = set()
            todo = list(waiting.get(start, []))
            while todo:
                pid = todo.pop()
                if pid == start:
                    return True
                if pid not in seen:
                    seen.add(pid)
                    todo += waiting.get(pid, [])
            return False

        return any(reaches(pid) for pid in waiting)

    def settled_blocked(self, statement: Statement) -> bool:
        self.settle()
        return not statement.ended

    def describe_waits(self) -> str:
        pids = {session.pid: name for name, session in self.sessions.items()}
        lines = [
            f"{session.name}: {session.current.text}"
            for session in self.sessions.values()
            if session.current and session.busy
        ]
        for pid, blockers in self.waiting().items():
            names = [pids.get(blocker, str(blocker)) for blocker in blockers]
            lines.append(f"{pids.get(pid, pid)} waits for {names}")
        return "; ".join(lines) or "nothing is under way"

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()
        self.watcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# ---------------------------------------------------------------- workers


@attrs.frozen
class Claim:
    job_id: int
    claim_id: int
    lock: str | None = None


@attrs.define
class Exchange:
    """The rows of a fetch or of a finish_and_fetch."""

    claims: list[Claim]
    not_held: list[int]
    next_due_in: float | None
    contended: bool
    more: bool
    marks: list[int] | None

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        rows = list(rows)
        *others, last = rows
        assert last["outcome"] == "summary", rows
        return cls(
            claims=[
                Claim(row["job_id"], row["claim_id"], row["lock"])
                for row in others
                if row["outcome"] == "claimed"
            ],
            not_held=[row["job_id"] for row in others if row["outcome"] == "not_held"],
            next_due_in=last["next_due_in"],
            contended=last["contended"],
            more=last["more"],
            marks=last["marks"],
        )


REGISTER = "select procrastinate_register_worker_v2(p_queues => %s::text[])"
FETCH = """
select * from procrastinate_fetch_jobs_v1(
    p_worker_id => %(worker)s, p_queues => %(queues)s, p_limit => %(limit)s,
    p_marks => %(marks)s)
"""
FINISH = """
select * from procrastinate_finish_jobs_v1(
    p_worker_id => %(worker)s, p_job_ids => %(jobs)s::bigint[],
    p_claim_ids => %(claims)s::bigint[],
    p_statuses => %(statuses)s::procrastinate_job_status[],
    p_delete => %(delete)s::boolean[])
"""


@attrs.define
class IdleWorker:
    """
    A worker that has nothing to do and sleeps until it is told.

    It fetches when a notification came or when the last fetch told it to come back
    (contended, more, or a full batch), and at no other time: a job that it leaves ready was a
    lost wake-up (I7). What it fetched it finishes at once; a finish may wait for another
    session of the test.
    """

    stage: Stage
    queues: list[str] | None = None
    name: str = "idle worker"
    limit: int = 10
    ear: psycopg.Connection[Row] = attrs.field(init=False)
    worker_id: int = attrs.field(init=False, default=0)
    marks: list[int] | None = None
    woken: bool = True
    come_back: bool = False
    ran: list[int] = attrs.field(factory=list[int])
    fences: Iterator[int] = attrs.field(factory=itertools.count)

    def __attrs_post_init__(self) -> None:
        self.ear = self.stage.connect(f"{self.name}'s ear")
        self.ear.execute("listen races_fence")
        channels = self.stage.look(
            "select c from procrastinate_channels_v1(%s::text[]) as c", [self.queues]
        )
        for row in channels:
            channel = row["c"].replace('"', '""')
            self.ear.execute(query(f'listen "{channel}"'))

    @property
    def session(self) -> Session:
        return self.stage.session(self.name)

    def register(self) -> None:
        """Also forgets what was heard: for a new setup."""
        self.hear()
        self.worker_id = self.session.value(REGISTER, [self.queues])
        self.marks, self.woken, self.come_back, self.ran = None, True, False, []

    def hear(self) -> None:
        """Take in what was notified so far: a fence of our own comes after it in the queue."""
        fence = str(next(self.fences))
        self.stage.look("select pg_notify('races_fence', %s)", [fence])
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            for notify in self.ear.notifies(timeout=DEADLINE, stop_after=1):
                if notify.channel == "races_fence":
                    if notify.payload == fence:
                        return
                elif json.loads(notify.payload)["type"] == "job_inserted":
                    self.woken = True
        raise HarnessError("the fence never came")

    def react(self) -> None:
        """Fetch for as long as there is a reason to, and finish what was fetched."""
        for turn in itertools.count():
            self.stage.settle()
            if self.session.busy:
                return  # its finish waits; it goes on when it is called again
            self.hear()
            if not (self.woken or self.come_back):
                return
            if turn and not self.woken and self.others_are_mid_air():
                return  # contended: it would come back after 5, 10, … 250 ms
            if turn > 100:
                raise HarnessError("the worker is told to come back for ever")
            self.fetch()

    def others_are_mid_air(self) -> bool:
        return any(
            other.busy or other.status != psycopg.pq.TransactionStatus.IDLE
            for other in self.stage.sessions.values()
            if other is not self.session
        )

    def fetch(self) -> None:
        self.woken = False
        parameters = {
            "worker": self.worker_id,
            "queues": self.queues,
            "limit": self.limit,
            "marks": self.marks,
        }
        try:
            rows = self.session.run(FETCH, parameters)
        except psycopg.Error as error:
            if error.sqlstate != "PQ004":
                raise
            # somebody pruned it: it is as a worker that has just started
            self.worker_id = self.session.value(REGISTER, [self.queues])
            self.marks, self.woken = None, True
            return
        exchange = Exchange.of(rows)
        self.marks = exchange.marks
        self.come_back = (
            exchange.contended or exchange.more or len(exchange.claims) >= self.limit
        )
        if exchange.claims:
            self.ran += [claim.job_id for claim in exchange.claims]
            self.session.start(FINISH, finish_parameters(self.worker_id, exchange.claims))

    def heed(self, statements: Iterable[Statement]) -> None:
        """
        Take over what the tests' own workers were told: they would come back, as we do for
        them.
        """
        for statement in statements:
            rows = statement.rows if statement.ended and not statement.sqlstate else []
            if not rows or rows[-1].get("outcome") != "summary":
                continue
            exchange = Exchange.of(rows)
            limit = _LIMIT.search(statement.text)
            assert limit is not None, statement.text
            full = len(exchange.claims) >= int(limit.group(1))
            if exchange.contended or exchange.more or full:
                self.come_back = True

    def close(self) -> None:
        self.ear.close()


_LIMIT = re.compile(
    r"procrastinate_(?:fetch_jobs|finish_and_fetch)_v[12]\(\d+, [^)]*?\[\], (\d+)"
)


def finish_parameters(
    worker_id: int, claims: Sequence[Claim], status: str = "succeeded", *, delete: bool = False
) -> dict[str, object]:
    return {
        "worker": worker_id,
        "jobs": [claim.job_id for claim in claims],
        "claims": [claim.claim_id for claim in claims],
        "statuses": [status] * len(claims),
        "delete": [delete] * len(claims),
    }
