"""The look at the workers' rows, which every defer makes."""

from __future__ import annotations

import psycopg
import pytest

from tests.python.plans.reader import PlanReader
from tests.python.plans.world import World

WORKERS = 300


@pytest.mark.parametrize("quiet", [True, False], ids=["all busy", "all asleep"])
def test_a_defer_reads_one_workers_row_however_many_there_are(dsn: str, quiet: bool) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "insert into procrastinate_workers (queues, quiet)"
            " select '{q}', %s from generate_series(1, %s)",
            [quiet, WORKERS],
        )
        conn.execute("delete from procrastinate_workers where queues is null")
    with psycopg.connect(dsn, autocommit=True) as conn:
        World(conn)  # one that serves all queues
        conn.execute(
            "update procrastinate_workers set quiet = %s where quiet <> %s", [quiet] * 2
        )
        reader = PlanReader(conn)
        with reader.listening():
            conn.execute("select procrastinate_defer_job('q', 'task')")
    scans = [scan for scan in reader.scans if scan.table == "procrastinate_workers"]
    assert [scan.index for scan in scans] == ["procrastinate_workers_quiet_v1"]
    assert scans[0].rows == 1
