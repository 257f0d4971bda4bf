"""Where the time of a job goes: Python, the server's processor time, the log's flushes."""

from __future__ import annotations

import functools
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
from psycopg import sql

from benchmarks import drain, figures, saq, upstream
from benchmarks.server import install_ours
from tools import upstream as published

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

PROC = pathlib.Path("/proc")
TICKS = 100  # of /proc in a second: what Linux tells programs, whatever its own clock does

# A flush is counted and timed by whoever makes it; all who drained have gone, and told.
FLUSHES = {
    False: "select wal_sync::float8, wal_sync_time from pg_stat_wal",
    True: "select sum(fsyncs)::float8, sum(fsync_time) from pg_stat_io where object = 'wal'",
}
IN_IO_SINCE = 180000  # version of the server


@attrs.frozen
class Shape:
    """A worker, and what it drains."""

    name: str
    concurrency: int
    jobs: int
    base_jobs: int
    locks: int = 0
    is_saq: bool = False  # through SAQ's interface, against SAQ: results are kept


SHAPES = (
    Shape("concurrency 1", 1, 2_000, 1_000),
    Shape("concurrency 10", 10, 10_000, 1_000),
    Shape("concurrency 100", 100, 40_000, 1_000),
    Shape("100 locks, concurrency 10", 10, 5_000, 1_000, locks=100),
    Shape("one lock, concurrency 1", 1, 1_000, 1_000, locks=1),
    Shape("SAQ's interface, concurrency 1", 1, 2_000, 1_000, is_saq=True),
    Shape("SAQ's interface, concurrency 10", 10, 5_000, 1_000, is_saq=True),
    Shape("SAQ's interface, concurrency 50", 50, 10_000, 1_000, is_saq=True),
)


@attrs.frozen
class Costs:
    """Of one job, in microseconds, and flushes."""

    wall: float
    python: float
    server: float
    flushes: float
    flushing: float


PARTS = (
    ("wall time", "µs", "wall"),
    ("Python, processor time", "µs", "python"),
    ("server, processor time", "µs", "server"),
    ("flushes of the log", "", "flushes"),
    ("in flushes", "µs", "flushing"),
)


def _fields(pid: int) -> list[str]:
    # The name, in parentheses, may have spaces.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def server_seconds(conn: Connection) -> float:
    """Processor time of all processes of a server on this machine, also of those that ended."""
    postmaster = int(_fields(conn.info.backend_pid)[1])
    ticks = sum(map(int, _fields(postmaster)[11:15]))  # its own, and that of ended children
    for entry in PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = _fields(int(entry.name))
        except OSError:  # It has ended just now.
            continue
        if int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / TICKS


def flushes(conn: Connection) -> tuple[float, float]:
    """How often the log was flushed since the server's start, and for how many milliseconds."""
    row = conn.execute(FLUSHES[conn.info.server_version >= IN_IO_SINCE].encode()).fetchone()
    assert row is not None
    count, milliseconds = row
    assert isinstance(count, float)
    assert isinstance(milliseconds, float)
    return count, milliseconds


@attrs.frozen(kw_only=True)
class Side:
    """Who drains."""

    server: Server
    database: str
    interpreter: str
    is_ours: bool

    def fill(self, shape: Shape, jobs: int) -> None:
        if shape.is_saq:
            self._saq("fill", 0, jobs)
        else:
            drain.fill(self.server, self.database, jobs, shape.locks)

    def work(self, shape: Shape, jobs: int) -> tuple[float, float]:
        """Return the seconds that a worker takes, and those of Python's processor time."""
        if shape.is_saq:
            _rate, wall, python = self._saq("drain", shape.concurrency, jobs)
            return wall, python
        how = ("async", shape.concurrency)
        return drain.work(self.server, self.database, self.interpreter, how, jobs)

    def _saq(self, kind: str, concurrency: int, jobs: int) -> list[float]:
        dsn = saq.url(self.server.dsn_of(self.database))
        side = "ours" if self.is_ours else "theirs"
        return saq.program(self.interpreter, side, dsn, kind, concurrency, jobs)


def measure(side: Side, shape: Shape, jobs: int) -> Costs:
    """Drain once; what it takes to fill the table does not count."""
    side.fill(shape, jobs)
    with side.server.connect() as conn:
        seconds, (count, milliseconds) = server_seconds(conn), flushes(conn)
        wall, python = side.work(shape, jobs)
        seconds = server_seconds(conn) - seconds
        later_count, later = flushes(conn)
    return Costs(
        wall=wall / jobs * 1e6,
        python=python / jobs * 1e6,
        server=seconds / jobs * 1e6,
        flushes=(later_count - count) / jobs,
        flushing=(later - milliseconds) / jobs * 1e3,
    )


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Both sides take turns, drain by drain."""
    report.start("costs", "what a job costs a worker", f"3.10 {published.VERSION}, or SAQ")
    with server.connect() as conn:
        if not (PROC / str(conn.info.backend_pid)).exists():
            report.say("the server is on another machine: its processor time can't be read")
            return
    old = str(published.python())
    saq.PUBLISHED.ready()
    with (
        server.database("ours") as ours,
        server.database("theirs") as theirs,
        server.database("saq") as of_saq,
    ):
        install_ours(server, ours)
        upstream.install(server, theirs)
        for database in (ours, theirs, of_saq):
            time_flushes(server, database)
        side = functools.partial(Side, server=server)
        us = side(database=ours, interpreter=sys.executable, is_ours=True)
        them = side(database=theirs, interpreter=old, is_ours=False)
        other = side(database=of_saq, interpreter=str(saq.PUBLISHED.interpreter), is_ours=False)
        for shape in SHAPES:
            costs: list[Costs] = []
            base_costs: list[Costs] = []
            for _ in range(options.rounds):
                costs.append(measure(us, shape, options.scaled(shape.jobs)))
                base = other if shape.is_saq else them
                try:
                    base_costs.append(measure(base, shape, options.scaled(shape.base_jobs)))
                except subprocess.TimeoutExpired:
                    # SAQ, now and then: what it left is in the way of all that follows.
                    report.say(f"{shape.name}: not all jobs had run after {saq.PATIENCE} s")
                    return
            for name, unit, part in PARTS:
                report.add(
                    f"{shape.name}, {name}",
                    unit,
                    [getattr(each, part) for each in costs],
                    [getattr(each, part) for each in base_costs],
                    cheaper=True,
                )


def time_flushes(server: Server, database: str) -> None:
    """Let all connections to a database time what they flush."""
    with server.connect() as conn:
        conn.execute(
            sql.SQL("alter database {} set track_wal_io_timing = on").format(
                sql.Identifier(database)
            )
        )
