"""What whoever is on call waits for: the overview, and pausing a long queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import figures, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options

FINISHED = 5_000_000
WAITING = 1_000_000
TIMES = 5


def milliseconds(conn: Connection, statement: bytes, rounds: int) -> list[float]:
    conn.execute(statement)  # caches and catalogue: the first look of the day is not the bar
    return [figures.seconds(lambda: conn.execute(statement)) * 1e3 for _ in range(rounds)]


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start("overview", "milliseconds")
    with server.database("ours") as database:
        install_ours(server, database)
        with server.connect(database) as conn:
            measure(conn, options, report)


def measure(conn: Connection, options: Options, report: figures.Report) -> None:
    rounds = max(TIMES, options.rounds)
    overview = b"select * from procrastinate_overview"
    finished, waiting = options.scaled(FINISHED), options.scaled(WAITING)
    wires.fill(conn, finished, status="succeeded")
    for n in range(20):
        wires.fill(conn, 100, queue=f"queue {n}")
    name = f"overview beside {finished:,} finished"
    bar = figures.at_most(50)
    report.add(f"{name}, just filled", "ms", milliseconds(conn, overview, rounds), bar=bar)
    wires.settle(conn)
    report.add(f"{name}, vacuumed", "ms", milliseconds(conn, overview, rounds), bar=bar)

    worker = wires.OurWorker(conn, queues=None)
    worker.drain(100)
    report.add(f"{name}, after a drain", "ms", milliseconds(conn, overview, rounds), bar=bar)

    wires.fill(conn, waiting)
    name = f"overview, {waiting:,} waiting, too"
    report.add(name, "ms", milliseconds(conn, overview, rounds))

    pauses: list[float] = []
    resumes: list[float] = []
    for _ in range(rounds):
        pause = b"select procrastinate_pause_queue('q', 'benchmark')"
        pauses.append(figures.seconds(lambda: conn.execute(pause)) * 1e3)  # noqa: B023
        if worker.exchange(1).job_ids:
            raise wires.StuckError("a paused queue's job was fetched")
        resumes.append(
            figures.seconds(lambda: conn.execute(b"select procrastinate_resume_queue('q')"))
            * 1e3
        )
    report.add(f"pause {waiting:,} waiting jobs", "ms", pauses, bar=figures.at_most(5))
    report.add(f"resume {waiting:,} waiting jobs", "ms", resumes)
