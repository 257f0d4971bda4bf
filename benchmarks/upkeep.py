"""
What a worker says each few seconds, after many jobs came and went beside an old snapshot.

A row for each job that runs is all that these calls mean to read; but of those that are gone
none can be vacuumed while somebody's snapshot may still see them.
"""

from __future__ import annotations

import contextlib
import statistics
from typing import TYPE_CHECKING

from benchmarks import figures, wires
from benchmarks.server import Connection, Server, install_ours
from benchmarks.snapshot import old_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.options import Options

JOBS = 900_000
BATCH = 100
RUNNING = 10
CALLS = 5  # of each kind in a round; their median counts
WHOLE = ("beat for all", "expire", "recover")  # read all that is gone, and are rare
UPKEEP = {
    "beat for all": "select * from procrastinate_heartbeat_v2(%(worker)s)",
    "beat": "select * from procrastinate_heartbeat_v2(%(worker)s, null, %(jobs)s)",
    "aborts": "select * from procrastinate_list_jobs_to_abort_v2(%(worker)s, %(jobs)s)",
    "expire": "select * from procrastinate_expire_jobs_v1('30 seconds')",
    "recover": "select * from procrastinate_recover_jobs_v1('30 seconds', '{task}', '{null}')",
    "prune": "select * from procrastinate_prune_workers_v1('30 seconds')",
    "sweep": "select * from procrastinate_sweep_v1()",
}


def run(server: Server, options: Options, report: figures.Report) -> None:
    jobs = options.scaled(JOBS)
    report.start("upkeep", "milliseconds a call", "without a snapshot")
    times: dict[tuple[str, bool], list[float]] = {}
    with server.database("ours") as database:
        install_ours(server, database)
        for _ in range(options.rounds):
            for held in (True, False):
                measure(server, database, held=held, jobs=jobs, times=times)
    for call in UPKEEP:
        report.add(
            f"{call}, {jobs:,} jobs gone, snapshot held",
            "ms",
            times[call, True],
            base=times[call, False],
            bar=None if call in WHOLE else figures.at_most(3),
        )


def measure(
    server: Server,
    database: str,
    *,
    held: bool,
    jobs: int,
    times: dict[tuple[str, bool], list[float]],
) -> None:
    with contextlib.ExitStack() as stack:
        conn = stack.enter_context(server.connect(database))
        wires.empty(conn)
        wires.fill(conn, jobs + RUNNING)
        wires.settle(conn)
        if held:
            stack.enter_context(old_snapshot(server.dsn_of(database)))
        worker = wires.OurWorker(conn)
        ended = wires.NOTHING
        for _ in range(jobs // BATCH):
            ended = worker.exchange(BATCH, ended)
        claims = worker.exchange(RUNNING, ended)
        if not held:
            conn.execute("vacuum (analyze) procrastinate_doing")
        given = {"worker": worker.worker_id, "jobs": [int(job) for job in claims.job_ids]}
        for call, text in UPKEEP.items():
            times.setdefault((call, held), []).append(timed(conn, text, given))


def timed(conn: Connection, text: str, given: Mapping[str, object]) -> float:
    """The median of a few calls, in milliseconds."""

    def call() -> object:
        return conn.execute(text.encode(), given).fetchall()

    return statistics.median(figures.seconds(call) * 1e3 for _ in range(CALLS))
