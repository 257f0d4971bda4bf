"""
`python -m benchmarks.stress SECONDS [DSN]`: workers, producers and operators on hot locks.

8 workers, 4 producers and 4 operators, each a process of its own, work on 8 locks for that
long; then what waits is drained. Printed: what each did, each error that came, what was left.
The exit status is 0 only if there was no error but those that the design names, nothing is
stuck, `procrastinate_check()` is empty and the sweeps found nothing to heal.

The server is the one that DSN names, else PROCRASTINATE_DSN, else the embedded one; the
database is made and dropped there.
"""

from __future__ import annotations

import collections
import contextlib
import json
import multiprocessing
import multiprocessing.queues
import multiprocessing.synchronize
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any, LiteralString, cast

import attrs
import psycopg
import psycopg.rows

from benchmarks import figures
from benchmarks import server as servers

WORKERS, PRODUCERS, OPERATORS = 8, 4, 4
LOCKS = [f"hot {n}" for n in range(8)]
QUEUES = ["a", "b"]
MOMENT = 0.01  # seconds; how long a user's transaction stays open at most
DRAIN = 60.0  # seconds; the drain after the run may take no longer

Row = dict[str, Any]
Connection = psycopg.Connection[Row]
Event = multiprocessing.synchronize.Event

# Errors that the design names. Two writers may want one queueing lock; a bare UPDATE may come
# too late, or bring a lock that another holds to a job that has just begun to run; a
# transaction of several statements takes its locks in its own order (40P01). Two bare
# statements of many rows may meet them in different orders: rows, never keys of locks.
ALLOWED = {
    "worker": set[str](),
    "producer": {"23505 procrastinate_jobs_queueing_lock_idx_v1"},
    "operator": {
        "23505 procrastinate_jobs_queueing_lock_idx_v1",
        "23505 procrastinate_jobs_lock_idx_v1",
        "PQ001",
        "PQ002",
    },
    "operator in a transaction": {
        "23505 procrastinate_jobs_queueing_lock_idx_v1",
        "23505 procrastinate_jobs_lock_idx_v1",
        "PQ001",
        "PQ002",
        "40P01",
    },
}


def connect(dsn: str) -> Connection:
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        row_factory=cast("Any", psycopg.rows.dict_row),
        prepare_threshold=1,
    )
    return cast("Connection", connection)


# Of a deadlock with a transaction of several statements, that one is the victim as a rule: it
# looks first. It looks once, though: where the circle closes after that, another finds it. So
# these transactions have connections of their own, and a deadlock that names one is theirs.
SEVERAL, SINGLE = "20ms", "2s"


def victim(connection: Connection, after: str) -> None:
    run(connection, f"set deadlock_timeout = '{after}'")


def run(connection: Connection, text: str, parameters: object = None) -> list[Row]:
    statement = cast("LiteralString", text)  # type: ignore[redundant-cast]  # mypy: it is str
    cursor = connection.execute(statement, cast("Any", parameters))
    return [] if cursor.description is None else cursor.fetchall()


@attrs.define
class Tally:
    """What one process did and met."""

    role: str
    done: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    allowed: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    faults: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    deadlocks: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    several: set[int] = attrs.field(factory=set[int])  # backends of several statements
    promoted: int = 0

    def meet(self, error: psycopg.Error, role: str) -> None:
        key = f"{error.sqlstate} {error.diag.constraint_name or ''}".strip()
        rows_only = error.sqlstate == "40P01" and "advisory" not in str(
            error.diag.message_detail
        )
        if key in ALLOWED[role] or (rows_only and "operator" in role):
            self.allowed[key] += 1
        else:
            told = f"{error.diag.message_primary}; {error.diag.message_detail}"
            counter = self.deadlocks if error.sqlstate == "40P01" else self.faults
            counter[f"{role}: {key} {told}; {error.diag.context}"] += 1


EXCHANGE = """
select * from procrastinate_finish_and_fetch_v1(
    %(worker)s, %(queues)s, %(limit)s, %(marks)s, %(jobs)s::bigint[], %(claims)s::bigint[],
    %(statuses)s::procrastinate_job_status[], %(delete)s::boolean[])
"""
RETRY = """
select outcome from procrastinate_retry_jobs_v1(
    %(worker)s, %(jobs)s::bigint[], %(claims)s::bigint[], %(ats)s::timestamptz[],
    %(none)s::integer[], %(none)s::text[], %(none)s::text[])
"""


def work(dsn: str, seed: int, stop: Event, tally: Tally) -> None:
    connection, rng = connect(dsn), random.Random(seed)
    victim(connection, SINGLE)
    queues = rng.choice([None, ["a"], ["a", "b"]])
    (row,) = run(connection, "select procrastinate_register_worker_v2() as id")
    worker = row["id"]
    held: list[Row] = []
    marks: list[int] | None = None
    while not stop.is_set() or held:
        limit = 0 if stop.is_set() else rng.choice([1, 3, 10, 50])
        parameters = {
            "worker": worker,
            "queues": queues,
            "limit": limit,
            "marks": marks,
            "jobs": [job["job_id"] for job in held],
            "claims": [job["claim_id"] for job in held],
            "statuses": [rng.choice(["succeeded", "succeeded", "failed"]) for _ in held],
            "delete": [rng.random() < 0.2 for _ in held],
            "ats": [None for _ in held],
            "none": [None for _ in held],
        }
        try:
            if held and rng.random() < 0.1:
                rows = run(connection, RETRY, parameters)
                tally.done["retried"] += sum(row["outcome"] == "retried" for row in rows)
                held = []
                continue
            rows = run(connection, EXCHANGE, parameters)
        except psycopg.Error as error:
            tally.meet(error, "worker")
            continue
        marks = rows[-1]["marks"]
        tally.done["finished"] += len(held)
        held = [row for row in rows if row["outcome"] == "claimed"]
        tally.done["exchanges"] += 1
        if rng.random() < 0.02:
            (swept,) = run(connection, "select promoted from procrastinate_sweep_v1()")
            tally.promoted += swept["promoted"]
        if not held and not rows[-1]["more"]:
            stop.wait(0.005)


def produce(dsn: str, seed: int, stop: Event, tally: Tally) -> None:
    connection, rng = connect(dsn), random.Random(seed)
    victim(connection, SINGLE)
    while not stop.is_set():
        n = rng.choice([1, 1, 5, 20])
        jobs = {
            "queues": [rng.choice(QUEUES) for _ in range(n)],
            "tasks": ["t"] * n,
            "priorities": [rng.randrange(3) for _ in range(n)],
            "locks": [rng.choice([None, *LOCKS]) for _ in range(n)],
            "queueing": [
                f"q{rng.randrange(1000)}" if rng.random() < 0.05 else None for _ in range(n)
            ],
            "args": ['{"a": 1}'] * n,
            "ats": [None] * n,
        }
        try:
            with connection.transaction():
                run(
                    connection,
                    "select count(*) from procrastinate_defer_jobs_v2(%(queues)s, %(tasks)s,"
                    " %(priorities)s, %(locks)s, %(queueing)s, %(args)s::jsonb[],"
                    " %(ats)s::timestamptz[])",
                    jobs,
                )
                if rng.random() < 0.2:
                    stop.wait(rng.random() * MOMENT)  # its ids commit late
            tally.done["deferred"] += n
        except psycopg.Error as error:
            tally.meet(error, "producer")
        stop.wait(0.004 * n)  # so that workers keep up, nearly


SOME = "select job_id from procrastinate_todo where lock is not null order by random() limit 1"
OPERATIONS = [
    f"select procrastinate_cancel_job(({SOME}))",
    f"select procrastinate_abort_job(({SOME}))",
    f"update procrastinate_jobs set priority = priority + 1 where id = ({SOME})",
    f"update procrastinate_jobs set lock = 'hot 0' where id = ({SOME})",
    f"update procrastinate_jobs set queue_name = 'b' where id = ({SOME})",
    f"delete from procrastinate_jobs where id = ({SOME}) and status = 'todo'",
    "select procrastinate_abort_job((select min(job_id) from procrastinate_doing))",
    (
        "select procrastinate_retry_job((select max(id) from procrastinate_jobs"
        " where status = 'failed'))"
    ),
    "select procrastinate_pause_queue('b', 'stress')",
    "select procrastinate_resume_queue('b')",
    (
        "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
        " and id in (select job_id from procrastinate_todo where lock is not null"
        " order by random() limit 5)"
    ),
]


def operate(dsn: str, seed: int, stop: Event, tally: Tally) -> None:
    connection, together, rng = connect(dsn), connect(dsn), random.Random(seed)
    victim(connection, SINGLE)
    victim(together, SEVERAL)
    tally.several.add(together.info.backend_pid)
    while not stop.is_set():
        several = rng.random() < 0.3
        try:
            if several:
                with together.transaction():
                    for _ in range(rng.choice([2, 3])):
                        run(together, rng.choice(OPERATIONS))
                        stop.wait(rng.random() * MOMENT)
            else:
                run(connection, rng.choice(OPERATIONS))
            tally.done["operations"] += 1
        except psycopg.Error as error:
            tally.meet(error, "operator in a transaction" if several else "operator")
        stop.wait(0.005)


Body = Callable[[str, int, Event, Tally], None]


@attrs.frozen
class Part:
    """What one process is to do."""

    body: Body
    role: str
    dsn: str
    seed: int
    stop: Event


def live(part: Part, results: multiprocessing.queues.Queue[Tally]) -> None:
    tally = Tally(part.role)
    try:
        part.body(part.dsn, part.seed, part.stop, tally)
    except BaseException as error:
        tally.faults[f"{part.role} died: {error!r}"] += 1
        raise
    finally:
        results.put(tally)


def drain(connection: Connection) -> list[Row]:
    """Run what is left; what can't be run is returned."""
    run(connection, "select procrastinate_resume_queue('b')")
    (row,) = run(connection, "select procrastinate_register_worker_v2() as id")
    held: list[Row] = []
    marks: list[int] | None = None
    deadline = time.monotonic() + DRAIN
    while time.monotonic() < deadline:
        rows = run(
            connection,
            EXCHANGE,
            {
                "worker": row["id"],
                "queues": None,
                "limit": 100,
                "marks": marks,
                "jobs": [job["job_id"] for job in held],
                "claims": [job["claim_id"] for job in held],
                "statuses": ["succeeded"] * len(held),
                "delete": [False] * len(held),
            },
        )
        marks = rows[-1]["marks"]
        held = [job for job in rows if job["outcome"] == "claimed"]
        if not held and not rows[-1]["more"]:
            break
    return run(connection, "select * from procrastinate_todo order by job_id limit 10")


def stress(dsn: str, seconds: float) -> bool:
    """Whether all was well; prints the figures."""
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.queues.Queue[Tally] = context.Queue()
    stop_writing, stop_working = context.Event(), context.Event()
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    roles: list[tuple[Body, str, Event]] = [
        *[(produce, "producer", stop_writing)] * PRODUCERS,
        *[(operate, "operator", stop_writing)] * OPERATORS,
        *[(work, "worker", stop_working)] * WORKERS,
    ]
    processes = [
        context.Process(target=live, args=(Part(body, role, dsn, seed + n, stop), results))
        for n, (body, role, stop) in enumerate(roles)
    ]
    for process in processes:
        process.start()
    stop_writing.wait(seconds)
    stop_writing.set()
    stop_working.wait(1.0)  # the workers alone for a second
    stop_working.set()
    tallies = [results.get(timeout=DRAIN) for _ in processes]
    for process in processes:
        process.join(timeout=DRAIN)

    with contextlib.closing(connect(dsn)) as connection:
        begun = time.monotonic()
        left = drain(connection)
        took = time.monotonic() - begun
        held = run(connection, "select * from procrastinate_doing limit 10")
        breaches = run(connection, "select * from procrastinate_check() limit 10")
        (swept,) = run(connection, "select promoted from procrastinate_sweep_v1()")
        statuses = run(
            connection,
            "select status::text, count(*) as jobs from procrastinate_jobs group by status",
        )
    done = sum((tally.done for tally in tallies), start=collections.Counter[str]())
    allowed = sum((tally.allowed for tally in tallies), start=collections.Counter[str]())
    faults = sum((tally.faults for tally in tallies), start=collections.Counter[str]())
    several = set[int]().union(*(tally.several for tally in tallies))
    for told, times in sum(
        (tally.deadlocks for tally in tallies), start=collections.Counter[str]()
    ).items():
        theirs = any(int(number) in several for number in re.findall(r"[Pp]rocess (\d+)", told))
        (allowed if theirs else faults)["40P01" if theirs else told] += times
    promoted = sum(tally.promoted for tally in tallies) + swept["promoted"]
    print(f"{WORKERS} workers, {PRODUCERS} producers, {OPERATORS} operators, {seconds:g} s")
    print("done             ", json.dumps(done))
    print("errors by design ", json.dumps(allowed))
    print("other errors     ", json.dumps(faults))
    print(f"drained in        {took:.1f} s; stuck: {left}; held: {held}")
    print("statuses         ", json.dumps({row["status"]: row["jobs"] for row in statuses}))
    print(f"check             {breaches or 'empty'}; promoted by sweeps: {promoted}")
    well = not (faults or left or held or breaches or promoted)
    print("all is well" if well else "NOT WELL")
    return well


def main(arguments: list[str]) -> int:
    seconds = float(arguments[0]) if arguments else 60.0
    report = figures.Report()
    with (
        servers.chosen(arguments[1] if len(arguments) > 1 else None, report) as server,
        server.database("stress") as name,
    ):
        servers.install_ours(server, name)
        return 0 if stress(server.dsn_of(name), seconds) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
