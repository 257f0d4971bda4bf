"""
Many clients that defer one by one while workers are busy, with and without NOTIFY.

A transaction that notifies holds a lock of the whole cluster through its commit: all others
that notify queue up behind it. Busy workers say that they look by themselves, and then nobody
notifies; the base is the same database with `_procrastinate_notify` emptied.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import attrs

from benchmarks import figures, wires
from benchmarks.server import install_ours
from procrastinate.contrib.embedded import programs

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

CLIENTS = 32
SECONDS = 15  # of one measurement, at a scale of 1
LEAST_SECONDS = 3
SCRIPT = "select procrastinate_defer_job('q', 'task', args => '{\"a\": 1}');\n"
RATE = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
PATIENCE = 60.0  # seconds for a worker to become what it is to be

# jobs that wait from the start, so that workers whose tasks take their time stay busy
BACKLOG = 20_000

PROGRAM = """\
import asyncio, logging, sys
import procrastinate

dsn, concurrency, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
logging.disable()
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))

@app.task(name="task", queue="q")
async def task(a):
    await asyncio.sleep(seconds)

app.run_worker(queues=["q"], concurrency=concurrency)
"""

SILENCE = """
create or replace function _procrastinate_notify(p_queue_name text, p_type text, p_job_id bigint)
returns boolean language plpgsql volatile as 'begin return true; end'
"""


@attrs.frozen(kw_only=True)
class Scene:
    """Workers and what their tasks take."""

    name: str
    workers: int
    concurrency: int
    seconds: float
    backlog: int
    idlers: int = 0  # rows of workers that sleep
    bar: figures.Bar | None = None


SCENES = (
    Scene(
        name="two busy workers, tasks of 50 ms",
        workers=2,
        concurrency=5,
        seconds=0.05,
        backlog=BACKLOG,
        bar=figures.at_least(0.85),
    ),
    # it has free slots all the time; the base is not told of jobs, and polls
    Scene(name="a worker that keeps up", workers=1, concurrency=100, seconds=0, backlog=0),
    # somebody sleeps: the worker is told of each job, as all would be without this
    Scene(
        name="one busy, one idle",
        workers=1,
        concurrency=5,
        seconds=0.05,
        backlog=BACKLOG,
        idlers=1,
    ),
)


def pgbench() -> str:
    """Find the program: beside the embedded server's, else on the path."""
    found = shutil.which("pgbench", path=programs.find_programs()) or shutil.which("pgbench")
    if found is None:
        raise FileNotFoundError("There is no pgbench: it comes with PostgreSQL's programs")
    return found


@contextlib.contextmanager
def working(dsn: str, scene: Scene) -> Generator[None]:
    """Let workers run meanwhile."""
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                PROGRAM,
                dsn,
                str(scene.concurrency),
                str(scene.seconds),
            ]
        )
        for _ in range(scene.workers)
    ]
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def await_them(conn: Connection, scene: Scene) -> None:
    """Wait until the workers are there, and have had the time to find out how busy they are."""
    deadline = time.monotonic() + PATIENCE
    rows = "select count(*) = %s from procrastinate_workers where quiet = %s"
    while conn.execute(rows, [scene.workers, scene.backlog > 0]).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{scene.name}: the workers did not come so far")
        time.sleep(0.1)


def rate(server: Server, database: str, scene: Scene, seconds: int) -> float:
    """Return the jobs that all clients together defer in a second."""
    with server.connect(database) as conn, tempfile.NamedTemporaryFile("w") as script:
        wires.empty(conn)
        conn.execute("delete from procrastinate_workers")
        if scene.backlog:
            wires.fill(conn, scene.backlog)
        wires.settle(conn)
        script.write(SCRIPT)
        script.flush()
        dsn = server.dsn_of(database)
        with working(dsn, scene):
            await_them(conn, scene)
            for _ in range(scene.idlers):
                conn.execute("select procrastinate_register_worker_v2('asleep')")
            done = subprocess.run(
                [
                    pgbench(),
                    f"--client={CLIENTS}",
                    "--jobs=2",
                    f"--time={seconds}",
                    "--no-vacuum",
                    "--protocol=prepared",
                    f"--file={script.name}",
                    dsn,
                ],
                capture_output=True,
                text=True,
                check=True,
            )
    found = RATE.search(done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def run(server: Server, options: Options, report: figures.Report) -> None:
    """Both take turns, scene by scene."""
    report.start("notify", f"jobs a second that {CLIENTS} clients defer", "without NOTIFY")
    seconds = max(LEAST_SECONDS, round(SECONDS * options.scale))
    with server.database("told") as told, server.database("untold") as untold:
        install_ours(server, told)
        install_ours(server, untold)
        with server.connect(untold) as conn:
            conn.execute(SILENCE)
        for scene in SCENES:
            rates: dict[str, list[float]] = {told: [], untold: []}
            for _ in range(options.rounds):
                for database, measured in rates.items():
                    measured.append(rate(server, database, scene, seconds))
            report.add(scene.name, "jobs/s", rates[told], rates[untold], bar=scene.bar)
