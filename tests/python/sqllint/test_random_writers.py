"""
One session that writes whatever it likes, and a worker whose fetches can be foretold.

Nobody else writes, so that a fetch has no excuse: what it gets is told by the jobs alone, each
highest priority first, then lowest id, of each lock the first if nobody holds it (I4). After
every statement what is derived is true (I1).
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import psycopg
import pytest

Connect = Callable[..., psycopg.Connection]

STATEMENTS = 120
LOCKS = [None, None, "a", "b", "c", ""]
QUEUES = ["q", "r", "s"]
SPREADS = [2, -1, 0, 300]
# No such transition, no such job, a waiting job asked to abort; and what 3.x said to the first.
REFUSALS = {"PQ001", "PQ002", "23514", "P0001"}
LATER = "2999-01-01T00:00:00Z"
SOON = "procrastinate_now() + interval '20 s' * random()"
TRAVEL = (
    "select set_config('procrastinate.now',"
    " (procrastinate_now() + interval '5 s' * random())::text, false)"
)

FORETOLD = """
select j.id
from procrastinate_jobs as j
where
    j.status = 'todo'
    and (j.scheduled_at is null or j.scheduled_at <= procrastinate_now())
    and (%(queues)s::text[] is null or j.queue_name = any(%(queues)s))
    and not exists (
        select from procrastinate_queues as s
        where s.queue_name = j.queue_name and s.paused_at is not null
    )
    and not exists (
        select from procrastinate_jobs as x
        where
            x.lock = j.lock
            and (
                x.status = 'doing'
                or (x.status = 'todo' and (-x.priority::bigint, x.id) < (-j.priority::bigint, j.id))
            )
    )
order by j.priority desc, j.id
limit %(limit)s
"""


@attrs.define
class Session:
    """A connection, a worker on it, and what it did."""

    connection: psycopg.Connection
    other: psycopg.Connection  # a transaction of it may stay open, with jobs that it deferred
    chance: random.Random
    spread: int = 2  # priorities lie between -1 and this
    queues: list[str] = attrs.Factory(lambda: QUEUES)  # that jobs are put in
    latecomers: bool = False
    early: Iterator[int] = attrs.Factory(lambda: itertools.count(9_999, -1))  # ids
    worker: int = 0
    workers: list[int] = attrs.Factory(list[int])
    marks: dict[str, list[int] | None] = attrs.Factory(dict[str, "list[int] | None"])
    done: list[str] = attrs.Factory(list[str])

    def rows(self, query: str, arguments: Any = None) -> list[Any]:
        cursor = self.connection.execute(query.encode(), arguments)
        return cursor.fetchall() if cursor.description else []

    def attempt(self, query: str) -> None:
        """A statement that may be refused: by the state machine, a lock or a queueing lock."""
        self.done.append(query)
        try:
            self.rows(query)
        except psycopg.errors.UniqueViolation:
            self.done[-1] += "  -- unique violation"
        except psycopg.DatabaseError as exc:
            if exc.sqlstate not in REFUSALS:
                raise
            self.done[-1] += f"  -- {exc.sqlstate}"

    def literal(self, value: object) -> str:
        return "null" if value is None else f"'{value}'"

    def some(self) -> str:
        """A condition that some jobs meet."""
        return self.chance.choice(
            [
                f"id % {self.chance.randint(2, 9)} = 0",
                "id = (select id from procrastinate_jobs order by random() limit 1)",
                f"queue_name = '{self.chance.choice(self.queues)}'",
                f"lock = '{self.chance.choice(['a', 'b', 'c', ''])}'",
                f"priority = {self.chance.randint(-1, self.spread)}",
                f"status = '{self.chance.choice(['todo', 'doing', 'failed', 'succeeded'])}'",
                "id > (select max(id) - 3 from procrastinate_jobs)",
            ]
        )

    def a_value(self) -> str:
        pick = self.chance.choice
        return pick(
            [
                f"priority = {self.chance.randint(-1, self.spread)}",
                *["priority = priority + 1"] * (self.spread >= 0),
                f"lock = {self.literal(pick(LOCKS))}",
                f"queue_name = '{pick(self.queues)}'",
                f"scheduled_at = {self.literal(pick([None, LATER, '2001-01-01Z']))}",
                f"scheduled_at = {SOON}",
                f"queueing_lock = {self.literal(pick([None, None, 'k1', 'k2', 'k3']))}",
                "status = 'todo'",
                "status = 'cancelled'",
                "status = case status when 'doing' then 'failed' else status end",
                "status = case status when 'doing' then 'succeeded' else status end",
                "status = case status when 'doing' then 'todo' when 'failed' then 'todo'"
                " else status end",
                "status = case status when 'todo' then 'doing' else status end",
                "abort_requested = status = 'doing'",
            ]
        )

    def insert(self) -> str:
        pick = self.chance.choice
        jobs = ", ".join(
            f"('{pick(self.queues)}', 't', {self.chance.randint(-1, self.spread)},"
            f" {self.literal(pick(LOCKS))},"
            f" {self.literal(pick([None] * 6 + ['k1', 'k2']))},"
            f" {self.literal(pick([None, None, None, LATER, '2001-01-01Z']))},"
            f" '{pick(['todo'] * 9 + ['failed', 'doing'])}')"
            for _ in range(self.chance.choice([1, 1, 2, 5, 20]))
        )
        return (
            "insert into procrastinate_jobs (queue_name, task_name, priority, lock, queueing_lock,"
            f" scheduled_at, status) values {jobs}"
        )

    def late(self) -> str:
        """An id below all others, as of a transaction that took its time."""
        queue, lock = self.chance.choice(self.queues), self.literal(self.chance.choice(LOCKS))
        return (
            "insert into procrastinate_jobs (id, queue_name, task_name, priority, lock)"
            f" values ({next(self.early)}, '{queue}', 't', -1, {lock})"
        )

    def update(self) -> str:
        values = {value.split(" =")[0]: value for value in (self.a_value(), self.a_value())}
        return f"update procrastinate_jobs set {', '.join(values.values())} where {self.some()}"

    def merge(self) -> str:
        return (
            "merge into procrastinate_jobs as j using (select id, id % 3 as part from"
            f" procrastinate_jobs where {self.some()}) as s on j.id = s.id"
            " when matched and s.part = 0 and j.status = 'failed' then delete"
            f" when matched and s.part = 1 then update set {self.a_value()}"
            " when matched then do nothing"
        )

    def cte(self) -> str:
        return (
            f"with gone as (delete from procrastinate_jobs where {self.some()} and id % 2 = 0)"
            f" update procrastinate_jobs set {self.a_value()} where {self.some()} and id % 2 = 1"
        )

    def write(self) -> None:
        kind = self.chance.choices(
            [self.insert, self.late, self.update, self.merge, self.cte],
            [6, self.latecomers, 8, 1, 1],
        )[0]
        self.attempt(kind())

    def operate(self) -> None:
        job = "(select id from procrastinate_jobs order by random() limit 1)"
        queue = self.chance.choice(self.queues)
        self.attempt(
            self.chance.choice(
                [
                    f"select procrastinate_cancel_job({job}, true)",
                    f"select procrastinate_cancel_job({job}, delete_job => true)",
                    f"select procrastinate_retry_job({job})",
                    f"select procrastinate_reschedule_job({job}, null)",
                    f"select procrastinate_pause_queue('{queue}')",
                    *[f"select procrastinate_resume_queue('{q}')" for q in self.queues],
                    "select procrastinate_recover_stalled_jobs('0', 3)",
                    f"select procrastinate_finish_job_v1({job}, 'failed', false)",
                    f"select procrastinate_retry_job_v2({job}, null, null, null, null)",
                    *[self.of_worker("retry_jobs_v1", "null, null, null, null")] * 2,
                    self.of_worker("release_jobs_v1", "null"),
                    *[TRAVEL] * 3,
                    f"delete from procrastinate_jobs where {self.some()} and id % 4 = 0",
                ]
            )
        )

    def of_worker(self, verb: str, rest: str) -> str:
        """A report of some of the jobs that the worker holds."""
        arguments = "" if rest == "null" else f", {rest}"
        return (
            f"select procrastinate_{verb}({self.worker}, array_agg(job_id), array_agg(claim_id)"
            f"{arguments}) from procrastinate_doing"
            f" where worker_id = {self.worker} and random() < 0.3 having count(*) > 0"
        )

    def exchange(self) -> None:
        """Report some ends, and fetch what is foretold."""
        self.worker = self.chance.choice(self.workers)
        queues = self.chance.choice([None, ["q"], ["q", "r"], ["s", "r", "q"]])
        limit = self.chance.choice([1, 2, 5, 50])
        ends = self.rows(
            "select job_id, claim_id from procrastinate_doing where worker_id = %s"
            " and random() < 0.5",
            [self.worker],
        )
        self.connection.execute("begin")
        self.rows(
            "update procrastinate_jobs set status = 'failed' where id = any(%s)",
            [[job for job, _ in ends]],
        )
        foretold = [job for (job,) in self.rows(FORETOLD, {"queues": queues, "limit": limit})]
        ready = [job for (job,) in self.rows(FORETOLD, {"queues": queues, "limit": None})]
        self.connection.execute("rollback")

        key = f"{self.worker} {queues}"
        got: list[int] = []
        calls = 0
        more = True
        while more and len(got) < limit:
            sent = self.marks.get(key) if self.chance.random() < 0.9 else None
            if sent and sent[1]:  # as if the last look from the start had cost nothing
                due = int(time.time() * 1e6) + 100_000
                sent[1:3] = [due, min(sent[2], due)]
            found = self.rows(
                "select outcome, job_id, more, marks, next_due_in"
                " from procrastinate_finish_and_fetch_v1("
                "%s, %s, %s, %s, %s, %s, %s::procrastinate_job_status[], null)",
                [
                    self.worker,
                    queues,
                    limit - len(got),
                    sent,
                    [job for job, _ in ends],
                    [claim for _, claim in ends],
                    ["failed"] * len(ends),
                ],
            )
            ends = []
            claimed = [job for outcome, job, *_ in found if outcome == "claimed"]
            got += claimed
            calls += bool(claimed)
            *_, (_, _, more, marks, look_in) = found
            if not more and sent and sent[1] and look_in is not None and 0 < look_in <= 0.1:
                # What was written with an id of one's own is found by the look from the
                # start that is said to be due soon: as if it were then.
                more, marks[1] = True, 0
            self.marks[key] = marks
        self.done.append(f"fetch {limit} of {queues}: {got}")
        assert len(got) == len(foretold), (got, foretold, self.done)
        if self.latecomers:  # an id that came late may be passed for a moment
            assert set(got) <= set(ready), (got, ready, self.done)
        elif calls <= 1:
            assert got == foretold, (got, foretold, self.done)
        else:  # each goes from the highest priority down for itself
            assert sorted(got) == sorted(foretold), (got, foretold, self.done)

    def linger(self) -> None:
        """Another transaction defers jobs, and commits them late or not at all."""
        if self.other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            self.other.execute("begin")
        action = self.chance.choice(["insert", "insert", "commit", "rollback"])
        self.done.append(f"another transaction: {action}")
        if action != "insert":
            self.other.execute(action.encode())
            return
        self.other.execute(
            "insert into procrastinate_jobs (queue_name, task_name, priority)"
            " select %s, 'late', %s from generate_series(1, 3)",
            [self.chance.choice(self.queues), self.chance.randint(-1, min(self.spread, 2))],
        )

    def check(self) -> None:
        breaches = self.rows("select breach, job_id, detail from procrastinate_check()")
        assert not breaches, (breaches, self.done)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_written_what_is_derived_is_true(connect: Connect, seed: int) -> None:
    session = Session(
        connection=connect(),
        other=connect(),
        chance=random.Random(seed),
        # the last four have but one line, for which there are short ways
        queues=QUEUES if seed < 8 else QUEUES[:1],
        spread=SPREADS[seed % 4] if seed < 8 else -1,
        latecomers=seed % 4 > 1 if seed >= 8 else seed > 3,
    )
    for _ in range(2):
        ((worker,),) = session.rows("select procrastinate_register_worker_v2()")
        session.workers.append(worker)
    session.worker = session.workers[0]
    session.rows(f"select setseed({seed / 1000})")
    session.rows("alter sequence procrastinate_jobs_id_seq restart with 10000")

    for _ in range(STATEMENTS):
        step = session.chance.choices(
            [session.write, session.operate, session.exchange, session.linger],
            [5, 2, 4, session.latecomers],
        )[0]
        step()
        session.check()
