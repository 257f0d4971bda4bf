"""Defer: microseconds a job, a thousand in one call and one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import figures, upstream, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.options import Options

BATCH = 1_000
CALLS = 20  # of a batch, in a row, a round
SINGLES = 1_000  # calls of one job, in a row, a round

# The rows as clients send them: one array of the composite type, or an array a column.
ROWS = "{" + ",".join(['"(q,task,0,,,\\"{\\"\\"a\\"\\": 1}\\",)"'] * BATCH) + "}"
COLUMNS = (
    wires.repeated("q", BATCH),
    wires.repeated("task", BATCH),
    wires.repeated("0", BATCH),
    wires.repeated("null", BATCH),
    wires.repeated("null", BATCH),
    "{" + ",".join(['"{\\"a\\": 1}"'] * BATCH) + "}",
    wires.repeated("null", BATCH),
)

OLD_MANY = "select unnest(procrastinate_defer_jobs_v1(%s::procrastinate_job_to_defer_v1[]))"
FRONT_MANY = "select procrastinate_defer_jobs(%s::procrastinate_job_to_defer_v1[])"
WIRE_MANY = (
    "select procrastinate_defer_jobs_v2(%s::text[], %s::text[], %s::integer[], %s::text[],"
    " %s::text[], %s::jsonb[], %s::timestamptz[])"
)
OLD_ONE = (
    "select procrastinate_defer_jobs_v1(array[row(%s, %s, 0, null, null, %s::jsonb, null)"
    "::procrastinate_job_to_defer_v1])"
)
FRONT_ONE = "select procrastinate_defer_job(%s, %s, args => %s::jsonb)"
ONE = ("q", "task", '{"a": 1}')


def cost(conn: Connection, calls: int, jobs: int, call: Callable[[], object]) -> float:
    """Microseconds a job, from tables that hold nothing else."""
    # not analysed while empty: upstream's foreign key checks would be planned as full scans
    wires.empty(conn)

    def work() -> None:
        for _ in range(calls):
            call()

    call()  # plans, and the first pages of each relation
    took = figures.seconds(work)
    if wires.count(conn, "todo") != (calls + 1) * jobs:
        raise wires.StuckError("a defer was lost")
    return took / (calls * jobs) * 1e6


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start(
        "defer",
        "the ratio is upstream's cost to ours: above 1 ours is cheaper",
        f"upstream {upstream.VERSION}",
    )
    with (
        server.database("ours") as our_database,
        server.database("upstream") as their_database,
    ):
        install_ours(server, our_database)
        upstream.install(server, their_database)
        with server.connect(our_database) as ours, server.connect(their_database) as theirs:
            measure(ours, theirs, options, report)


def measure(
    ours: Connection, theirs: Connection, options: Options, report: figures.Report
) -> None:
    calls, singles = options.scaled(CALLS, least=3), options.scaled(SINGLES)

    def many(conn: Connection) -> float:
        return cost(conn, calls, BATCH, lambda: conn.execute(OLD_MANY, (ROWS,), prepare=True))

    def front_many() -> float:
        return cost(ours, calls, BATCH, lambda: ours.execute(FRONT_MANY, (ROWS,), prepare=True))

    def wire_many() -> float:
        return cost(ours, calls, BATCH, lambda: ours.execute(WIRE_MANY, COLUMNS, prepare=True))

    def one(conn: Connection) -> float:
        return cost(conn, singles, 1, lambda: conn.execute(OLD_ONE, ONE, prepare=True))

    def front_one() -> float:
        return cost(ours, singles, 1, lambda: ours.execute(FRONT_ONE, ONE, prepare=True))

    their_many: list[float] = []
    their_one: list[float] = []
    our: dict[str, list[float]] = {"front": [], "wire": [], "old": [], "one": [], "old one": []}
    for _ in range(options.rounds):
        their_many.append(many(theirs))
        our["front"].append(front_many())
        our["wire"].append(wire_many())
        our["old"].append(many(ours))
        their_one.append(one(theirs))
        our["one"].append(front_one())
        our["old one"].append(one(ours))

    def show(name: str, key: str, base: list[float], bar: figures.Bar | None) -> None:
        report.add(name, "µs/job", our[key], base, bar=bar, cheaper=True)

    bar = figures.at_least(1.5)
    show("defer_jobs, 1,000 in one call", "front", their_many, bar)
    show("defer_jobs_v2, 1,000 in one call", "wire", their_many, bar)
    show("old wire's defer_jobs_v1 on ours", "old", their_many, None)
    show("defer_job, one by one", "one", their_one, figures.at_least(1.0))
    show("old wire's defer of one on ours", "old one", their_one, None)
