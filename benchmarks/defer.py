"""Defer: microseconds a job, a thousand in one call and one by one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, LiteralString

import attrs

from benchmarks import figures, upstream, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
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


@attrs.define
class Side:
    """One way to defer, and what its calls have taken in this round."""

    name: str
    conn: Connection
    statement: LiteralString
    arguments: tuple[str, ...]
    took: float = 0.0

    def call(self) -> None:
        start = time.perf_counter()
        self.conn.execute(self.statement, self.arguments, prepare=True)
        self.took += time.perf_counter() - start


def costs(sides: list[Side], calls: int, jobs: int) -> list[float]:
    """Microseconds a job for each side; they take turns call by call."""
    for conn in {side.conn for side in sides}:
        # not analysed while empty: upstream's foreign key checks would be planned as full scans
        wires.empty(conn)
    for side in sides:
        side.call()  # plans, and the first pages of each relation
        side.took = 0.0
    for _ in range(calls):
        for side in sides:
            side.call()
    if sum(wires.count(conn, "todo") for conn in {side.conn for side in sides}) != (
        len(sides) * (calls + 1) * jobs
    ):
        raise wires.StuckError("a defer was lost")
    return [side.took / (calls * jobs) * 1e6 for side in sides]


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
    many = [
        Side("upstream", theirs, OLD_MANY, (ROWS,)),
        Side("defer_jobs, 1,000 in one call", ours, FRONT_MANY, (ROWS,)),
        Side("defer_jobs_v2, 1,000 in one call", ours, WIRE_MANY, COLUMNS),
        Side("old wire's defer_jobs_v1 on ours", ours, OLD_MANY, (ROWS,)),
    ]
    one = [
        Side("upstream", theirs, OLD_ONE, ONE),
        Side("defer_job, one by one", ours, FRONT_ONE, ONE),
        Side("old wire's defer of one on ours", ours, OLD_ONE, ONE),
    ]
    for sides, calls, jobs, bars in (
        (many, options.scaled(CALLS, least=3), BATCH, (1.5, 1.5, None)),
        (one, options.scaled(SINGLES), 1, (1.0, None)),
    ):
        rounds = [costs(sides, calls, jobs) for _ in range(options.rounds)]
        base, *columns = zip(*rounds, strict=True)
        for side, column, bar in zip(sides[1:], columns, bars, strict=True):
            report.add(
                side.name,
                "µs/job",
                column,
                base,
                bar=None if bar is None else figures.at_least(bar),
                cheaper=True,
            )
