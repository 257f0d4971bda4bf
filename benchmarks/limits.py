"""Very many queues, locks, workers and connections: what one call costs beside few of them."""

from __future__ import annotations

import statistics
from concurrent import futures
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import Connection, Server, install_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.options import Options

FEW = 100
QUEUES = 10_000
LOCKS = 100_000
WORKERS = 1_000
CONNECTIONS = 200
FEW_CONNECTIONS = 10
CALLS = 50  # of each kind in a round; their median counts
EXCHANGES = 3  # of each connection

PER_QUEUE = (
    "insert into procrastinate_jobs (queue_name, task_name) select 'queue ' || i, 'task'"
    " from generate_series(1, %s) as i"
)
REGISTER = (
    "select count(procrastinate_register_worker_v2(%s, array['q', 'queue ' || i]))"
    " from generate_series(1, %s) as i"
)


@attrs.frozen
class World:
    """A database with so many of something, and what is asked of it."""

    conn: Connection
    worker: wires.OurWorker
    lock: bool

    def defer(self) -> None:
        lock = "lock 7" if self.lock else None
        self.conn.execute("select procrastinate_defer_job('queue 7', 't', 0, %s)", (lock,))

    def exchange(self) -> None:
        self.worker.step(1)

    def heartbeat(self) -> None:
        self.conn.execute("select procrastinate_heartbeat_v1(%s)", (self.worker.worker_id,))

    def sweep(self) -> None:
        self.conn.execute("select procrastinate_sweep_v1()")

    def overview(self) -> None:
        self.conn.execute("select * from procrastinate_overview")

    def locks(self) -> None:
        self.conn.execute("select * from procrastinate_locks")


ONE_JOB = ("defer", "exchange", "heartbeat", "sweep")
ALL = ("overview", "locks")
BARS = {"sweep": 40}


def timed(work: Callable[[], object], calls: int) -> float:
    """The median of so many calls, in milliseconds."""
    return statistics.median(figures.seconds(work) * 1e3 for _ in range(calls))


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start("limits", "milliseconds a call", f"beside {FEW}")
    for name, many, calls in (
        ("queues", QUEUES, (*ONE_JOB, "overview")),
        ("locks", LOCKS, (*ONE_JOB, "locks")),
        ("workers", WORKERS, (*ONE_JOB, "overview")),
    ):
        compare(server, options, report, name, options.scaled(many), calls)
    connections(server, options, report)


def compare(
    server: Server,
    options: Options,
    report: figures.Report,
    name: str,
    many: int,
    calls: tuple[str, ...],
) -> None:
    with server.database("few") as few, server.database("many") as lot:
        worlds = [world(server, few, name, FEW), world(server, lot, name, many)]
        for call in calls:
            # what shows all grows with all, and no faster; a sweep looks at a part of it
            bar = figures.at_most(many / FEW * 1.5 if call in ALL else BARS.get(call, 3))
            times: list[list[float]] = [[], []]
            for _ in range(options.rounds):
                for values, place in zip(times, worlds, strict=True):
                    values.append(timed(getattr(place, call), 5 if call in ALL else CALLS))
            report.add(f"{call}, {many:,} {name}", "ms", times[1], base=times[0], bar=bar)
        for place in worlds:
            place.conn.close()


def world(server: Server, database: str, name: str, number: int) -> World:
    install_ours(server, database)
    conn = server.connect(database)
    if name == "queues":
        conn.execute(PER_QUEUE, (number,))
    elif name == "locks":
        wires.fill(conn, number, locks=number)
    else:
        conn.execute(REGISTER, ("benchmark", number))
        wires.fill(conn, 1000)
    wires.settle(conn)
    return World(conn=conn, worker=wires.OurWorker(conn, queues=None), lock=name == "locks")


def connections(server: Server, options: Options, report: figures.Report) -> None:
    """So many connections, each a worker of its own: a job in 0.1 ms is 10,000 jobs a second."""
    with server.database("connected") as database:
        install_ours(server, database)
        with server.connect(database) as conn:
            times: list[list[float]] = [[], []]
            for _ in range(options.rounds):
                for values, number in zip(times, (FEW_CONNECTIONS, CONNECTIONS), strict=True):
                    wires.fill(conn, number * EXCHANGES * 10)
                    values.append(all_at_once(server, database, number))
                    assert left(conn) == 0
    report.add(
        f"a job, {CONNECTIONS} connections (beside {FEW_CONNECTIONS})",
        "ms",
        times[1],
        base=times[0],
        bar=figures.at_most(3),
    )


def left(conn: Connection) -> int:
    """How many jobs wait or run."""
    row = conn.execute(
        "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def all_at_once(server: Server, database: str, number: int) -> float:
    """Milliseconds a job while so many workers drain the queue, tens of jobs at a time."""
    workers = list(opened(server, database, number))
    with futures.ThreadPoolExecutor(number) as pool:
        taken = figures.seconds(lambda: list(pool.map(drained, workers)))
    for worker in workers:
        worker.conn.close()
    return taken * 1e3 / (number * EXCHANGES * 10)


def drained(worker: wires.OurWorker) -> int:
    return worker.drain(10)


def opened(server: Server, database: str, number: int) -> Iterator[wires.OurWorker]:
    for _ in range(number):
        yield wires.OurWorker(server.connect(database))
