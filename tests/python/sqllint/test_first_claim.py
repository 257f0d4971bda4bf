"""A database in which nothing was ever claimed."""

from __future__ import annotations

import psycopg


def test_the_first_claim_of_all_holds_its_lock(conn: psycopg.Connection) -> None:
    """A sequence that nobody has called yet says what it says after the first call."""
    worker = conn.execute("select procrastinate_register_worker_v2()").fetchall()[0][0]
    fetch = (
        "select job_id from procrastinate_fetch_jobs_v1(%s, null, 1) where outcome = 'claimed'"
    )
    head, low = (
        job
        for (job,) in conn.execute(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            " values ('q', 't', 'l'), ('q', 't', 'l') returning id"
        )
    )
    conn.execute("select procrastinate_cancel_job(%s)", [head])  # promotes the other
    ((high,),) = conn.execute(
        "select procrastinate_defer_job('q', 't', priority => 5, lock => 'l')"
    ).fetchall()

    assert conn.execute(fetch, [worker]).fetchall() == [(high,)]
    assert conn.execute(fetch, [worker]).fetchall() == []
    assert conn.execute("select * from procrastinate_check()").fetchall() == []

    conn.execute("update procrastinate_jobs set status = 'succeeded' where id = %s", [high])
    assert conn.execute(fetch, [worker]).fetchall() == [(low,)]
