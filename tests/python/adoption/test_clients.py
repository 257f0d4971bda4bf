"""Clients of 3.10 notice nothing while their schema becomes ours."""

from __future__ import annotations

import json
import pathlib
import subprocess

import psycopg

from tests.python.adoption import old
from tests.python.adoption.bare import Bare
from tools import upstream

CLIENTS = pathlib.Path(__file__).parents[3] / "benchmarks" / "old_clients.py"
#: Seconds. They are tenths on a machine that does nothing else, as benchmarks/adoption.py says.
LONGEST = 3.0


def test_a_worker_and_two_clients_of_3_10_go_on_through_an_adoption(empty_dsn: str) -> None:
    upstream.apply_schema(empty_dsn)
    old.fill(empty_dsn)
    command = [str(upstream.python()), "-I", str(CLIENTS), empty_dsn]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        clients.stdout.readline()
        until_finished(empty_dsn, 20)
        with Bare(empty_dsn) as bare:
            old.migrate(empty_dsn)
        until_finished(empty_dsn, 20)
        clients.stdin.close()
        said = json.loads(clients.stdout.readline())

    assert {name: watch["errors"] for name, watch in said.items()} == {
        "defer": [],
        "fetch and finish": [],
        "worker": [],
    }
    assert bare.errors == []
    assert max(max(watch["longest"], default=0) for watch in said.values()) < LONGEST
    assert old.breaches(empty_dsn) == []
    with psycopg.connect(empty_dsn) as connection:
        twice = connection.execute(
            "select job_id from procrastinate_events join procrastinate_jobs as j on job_id = j.id"
            " where type = 'started' and j.queue_name = 'live'"
            " group by job_id having count(*) > 1"
        )
        assert twice.fetchall() == []


def until_finished(dsn: str, more: int) -> None:
    """Wait until the clients have run so many jobs more."""
    count = "select count(*) from procrastinate_jobs where status = 'succeeded'"
    with psycopg.connect(dsn, autocommit=True) as connection:
        (begun,) = connection.execute(count).fetchall()
        while connection.execute(count).fetchall()[0][0] < begun[0] + more:
            pass
