"""
What a worker says each few seconds, after many jobs came and went beside an old snapshot.

A row for each job that runs is all that these calls mean to read; but of those that are gone
none can be vacuumed while somebody's snapshot may still see them.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from benchmarks import figures, limits, wires
from benchmarks.server import Server, install_ours
from benchmarks.snapshot import old_snapshot

if TYPE_CHECKING:
    from benchmarks.options import Options

JOBS = 900_000
BATCH = 100
RUNNING = 10
CALLS = 5  # of each kind in a round; their median counts
WHOLE = ("beat for all", "expire", "recover")  # read all that is gone, and are rare
UPKEEP = {
    "beat for all": b"select * from procrastinate_heartbeat_v2(%(worker)s)",
    "beat": b"select * from procrastinate_heartbeat_v2(%(worker)s, null, %(jobs)s)",
    "aborts": b"select * from procrastinate_list_jobs_to_abort_v2(%(worker)s, %(jobs)s)",
    "expire": b"select * from procrastinate_expire_jobs_v1('30 seconds')",
    "recover": b"select * from procrastinate_recover_jobs_v1('30 seconds', '{task}', '{null}')",
    "prune": b"select * from procrastinate_prune_workers_v1('30 seconds')",
    "sweep": b"select * from procrastinate_sweep_v1()",
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
            work = functools.partial(conn.execute, text, given)
            times.setdefault((call, held), []).append(limits.timed(work, CALLS))
