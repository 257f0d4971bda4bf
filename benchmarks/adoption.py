"""
How long is a client of 3.10 held up while its schema becomes ours, with many jobs there?

``python -m benchmarks.adoption --waiting 1000000 --finished 5000000`` fills a database of 3.10,
lets clients of its package work on it (benchmarks/old_clients.py), adopts it meanwhile, and
prints the longest calls of those clients and how long each step took. Its status is 1 if a call
took longer than a second, failed, or left something that is not sound.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psycopg

import procrastinate
from benchmarks import figures, upstream
from benchmarks import server as servers
from tools import upstream as package

if TYPE_CHECKING:
    from collections.abc import Generator

#: Seconds that a call of a client of 3.10 may take; "fetch and finish" is two.
BLOCK = 1.0
CLIENTS = pathlib.Path(__file__).parent / "old_clients.py"

FILL = (
    "set session_replication_role = replica",  # no triggers: they would take hours
    "insert into procrastinate_jobs (queue_name, task_name, args, status, attempts)"
    " select 'q' || n %% 10, 'nothing', jsonb_build_object('n', n), (case when n %% 20 = 0"
    " then 'failed' else 'succeeded' end)::procrastinate_job_status, 1"
    " from generate_series(1, %(finished)s) as n",
    "insert into procrastinate_events (job_id, type)"
    " select j.id, e.type::procrastinate_job_event_type from procrastinate_jobs as j"
    " cross join (values ('deferred'), ('started'), ('succeeded')) as e (type)",
    "with jobs as ("
    " insert into procrastinate_jobs (queue_name, task_name, args, lock, queueing_lock)"
    " select 'q' || n %% 10, 'nothing', jsonb_build_object('n', n),"
    " case when n %% 10 = 0 then 'lock ' || n %% 1000 end,"
    " case when n %% 10 = 1 then 'queueing lock ' || n end"
    " from generate_series(1, %(waiting)s) as n returning id)"
    " insert into procrastinate_events (job_id, type) select id, 'deferred' from jobs",
    "vacuum analyze",
)


def fill(dsn: str, waiting: int, finished: int) -> None:
    """Fill a database of 3.10, with the history that its triggers would write."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in FILL:
            parameters = {"waiting": waiting, "finished": finished}
            conn.execute(statement.encode(), parameters if "%(" in statement else None)


def adopt(dsn: str, seconds: dict[str, float]) -> None:
    """Adopt it, and keep how long each part took."""
    last = ("expand", time.monotonic())

    def tell(what: str) -> None:
        nonlocal last
        name = what.partition(": ")[2] or "expand"
        name = "derive" if "looked at" in name else name
        seconds[last[0]] = seconds.get(last[0], 0.0) + time.monotonic() - last[1]
        last = (name, time.monotonic())

    connector = procrastinate.SyncPsycopgConnector(conninfo=dsn)
    with procrastinate.App(connector=connector).open() as app:
        app.schema_manager.migrate(tell)
    tell("")


def verify(dsn: str) -> dict[str, Any]:
    """Look whether all is sound, and each job ran once."""
    questions = {
        "breaches": "select count(*) from procrastinate_check()",
        "jobs": "select count(*) from procrastinate_jobs",
        "started twice": "select count(*) from (select job_id from procrastinate_events"
        " where type = 'started' group by job_id having count(*) > 1) as x",
    }
    with psycopg.connect(dsn, autocommit=True) as conn:
        return {
            name: conn.execute(question.encode()).fetchall()[0][0]
            for name, question in questions.items()
        }


def measure(
    server: servers.Server, waiting: int, finished: int, failures: list[str]
) -> Generator[str]:
    """Say what was measured, line by line; what must not be goes to the failures as well."""
    with server.database("adoption") as database:
        dsn = server.dsn_of(database)
        upstream.install(server, database)
        fill(dsn, waiting, finished)
        yield f"filled: {waiting} waiting, {finished} finished"
        command = [str(package.python()), "-I", str(CLIENTS), dsn]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as clients:
            assert clients.stdout is not None
            assert clients.stdin is not None
            clients.stdout.readline()
            time.sleep(5)  # seconds of theirs alone
            seconds: dict[str, float] = {}
            began = time.monotonic()
            adopt(dsn, seconds)
            yield f"adopted in {time.monotonic() - began:.1f} s"
            yield from (f"  {name}: {took:.1f} s" for name, took in seconds.items())
            time.sleep(5)
            clients.stdin.close()
            said = json.loads(clients.stdout.readline())
        for name, watch in said.items():
            longest = ", ".join(f"{took:.3f}" for took in reversed(watch["longest"]))
            if longest:
                yield f"{name}: {watch['calls']} calls, longest {longest} s"
            failures += [f"{name}: {error}" for error in watch["errors"][:5]]
            failures += [f"{name}: {took:.3f} s" for took in watch["longest"] if took > BLOCK]
        found = verify(dsn)
        deferred = said["defer"]["calls"] - len(said["defer"]["errors"])
        jobs, expected = found.pop("jobs"), waiting + finished + deferred
        if jobs != expected:
            failures.append(f"{jobs} jobs are there, and {expected} were deferred")
        longest = max(took for watch in said.values() for took in watch["longest"])
        yield f"{jobs} jobs, none lost: {jobs == expected}; longest block {longest:.3f} s"
        failures += [f"{name}: {value}" for name, value in found.items() if value]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adoption", description=__doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--finished", type=int, default=100_000)
    parser.add_argument("--dsn")
    options = parser.parse_args()
    report = figures.Report()
    with servers.chosen(options.dsn, report) as server:
        failures: list[str] = []
        for line in measure(server, options.waiting, options.finished, failures):
            print(line, flush=True)
    for failure in failures:
        print(f"FAILED: {failure}")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
