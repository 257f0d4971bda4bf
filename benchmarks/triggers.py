"""
One row, then 100,000, in one session: a plan made for the first must not ruin the second.

Plans over transition tables are generic and remember the size that they first met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options

JOBS = 100_000
BAR = figures.at_most(1.5)
EACH = figures.at_most(200)  # microseconds a job: what grows with the square shows here


@attrs.frozen(kw_only=True)
class Statement:
    """``small`` touches one job that ``prepare`` made; ``large`` all others."""

    name: str
    before: str  # the status that the jobs are filled with; "" if the statement fills
    small: bytes
    large: bytes


def insert(values: str, rows: str) -> bytes:
    return (
        "insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock,"
        f" scheduled_at) select 'q', 'task', {values} from generate_series(1, {rows}) as i"
    ).encode()


FIRST = " where id = (select min(id) from procrastinate_jobs)"
TODO = " where status = 'todo'"
DOING = " where status = 'doing'"


def statements(jobs: int) -> list[Statement]:
    def update(name: str, change: str, where: str, before: str = "todo") -> Statement:
        head = f"update procrastinate_jobs set {change}"
        return Statement(
            name=name,
            before=before,
            small=(head + FIRST).encode(),
            large=(head + where).encode(),
        )

    def fresh(name: str, values: str) -> Statement:
        # the small one's lock may not be among the large one's queueing locks
        small = insert(values.replace("i", "-i"), "1")
        return Statement(name=name, before="", small=small, large=insert(values, str(jobs)))

    return [
        fresh("insert", "null, null, null"),
        fresh("insert, a lock each", "'l' || i, null, null"),
        fresh("insert, one lock", "'l', null, null"),
        fresh("insert, a queueing lock each", "null, 'k' || i, null"),
        fresh("insert, delayed", "null, null, '2999-01-01'"),
        update("update priority", "priority = priority + 1", TODO),
        update("update queue", "queue_name = 'other'", TODO),
        update("update lock", "lock = 'm' || id", TODO),
        update("update schedule", "scheduled_at = '2999-01-01'", TODO),
        update("update todo to cancelled", "status = 'cancelled'", TODO),
        update("update todo to doing", "status = 'doing'", TODO),
        update("update doing to succeeded", "status = 'succeeded'", DOING, before="doing"),
        Statement(
            name="delete",
            before="todo",
            small=f"delete from procrastinate_jobs{FIRST}".encode(),
            large=b"delete from procrastinate_jobs",
        ),
    ]


def cost(
    server: Server, database: str, statement: Statement, jobs: int, small_first: bool
) -> float:
    """Milliseconds that the large statement takes in a new session."""
    with server.connect(database) as conn:
        wires.empty(conn)
        if statement.before:
            fill(server, database, jobs, statement.before)
        if small_first:
            conn.execute(statement.small)
        return figures.seconds(lambda: conn.execute(statement.large)) * 1e3


def fill(server: Server, database: str, jobs: int, status: str) -> None:
    """In a session of its own: the one that is measured has to meet the small one first."""
    with server.connect(database) as conn:
        wires.fill(conn, jobs, status="todo")
        if status == "doing":
            become(conn)


def become(conn: Connection) -> None:
    conn.execute("update procrastinate_jobs set status = 'doing' where status = 'todo'")


def run(server: Server, options: Options, report: figures.Report) -> None:
    jobs = options.scaled(JOBS)
    report.start(
        "triggers",
        f"one statement over {jobs:,} jobs after one over 1, in the same session",
        "in a new session",
    )
    with server.database("ours") as database:
        install_ours(server, database)
        for statement in statements(jobs):
            after: list[float] = []
            alone: list[float] = []
            for _ in range(options.rounds):
                after.append(cost(server, database, statement, jobs, small_first=True))
                alone.append(cost(server, database, statement, jobs, small_first=False))
            report.add(statement.name, "ms", after, alone, bar=BAR)
            each = [took * 1e3 / jobs for took in alone]
            report.add(f"{statement.name}, each job", "µs", each, bar=EACH)
