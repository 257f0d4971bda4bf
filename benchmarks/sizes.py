"""How many bytes a job is, on the disk and in the write-ahead log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import figures, wires
from benchmarks.server import install_ours

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.server import Connection, Server

JOBS = 50_000
SINGLY = 2_000  # deferred, or done, one by one
TABLES = ("jobs", "todo", "doing", "events", "results", "counts")
ARGS = '{"customer": 1234567, "template": "welcome", "language": "en", "attempts_left": 3}'


def bytes_of(conn: Connection, table: str) -> int:
    return number(conn, f"select pg_total_relation_size('procrastinate_{table}')")


def number(conn: Connection, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))


def log_position(conn: Connection) -> int:
    return number(conn, "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")


def defer(conn: Connection, jobs: int, rest: str = "") -> None:
    conn.execute(
        (
            "insert into procrastinate_jobs (queue_name, task_name, args, ttl)"
            f" select 'q', 'send_welcome_mail', '{ARGS}', {rest or 'null'}"
            f" from generate_series(1, {jobs})"
        ).encode()
    )


def written(conn: Connection, jobs: int, report: figures.Report, name: str, batch: int) -> None:
    """What the log takes for jobs that are deferred, and then for their runs."""
    wires.empty(conn)
    conn.execute("checkpoint")
    start = log_position(conn)
    if batch == 1:
        for _ in range(jobs):
            conn.execute(f"select procrastinate_defer_job('q', 't', args => '{ARGS}')".encode())
    else:
        for _ in range(jobs // batch):
            defer(conn, batch)
    middle = log_position(conn)
    report.add(f"WAL: defer, {name}", "bytes a job", [(middle - start) / jobs])
    conn.execute("checkpoint")
    middle = log_position(conn)
    assert wires.OurWorker(conn).drain(batch) == jobs
    report.add(f"WAL: run, {name}", "bytes a job", [(log_position(conn) - middle) / jobs])


def run(server: Server, options: Options, report: figures.Report) -> None:
    report.start("sizes", f"arguments of {len(ARGS)} bytes")
    jobs = options.scaled(JOBS, least=2_000)
    with server.database("ours") as database:
        install_ours(server, database)
        with server.connect(database) as conn:
            weigh(conn, jobs, report)
            # without images of whole pages, which depend on how often checkpoints come
            conn.execute("alter system set full_page_writes = off")
            conn.execute("select pg_reload_conf()")
            try:
                for name, count, batch in (
                    ("one by one", options.scaled(SINGLY), 1),
                    ("batches of 100", jobs, 100),
                ):
                    written(conn, count, report, name, batch)
            finally:
                conn.execute("alter system reset full_page_writes")
                conn.execute("select pg_reload_conf()")


def weigh(conn: Connection, jobs: int, report: figures.Report) -> None:
    before = {table: bytes_of(conn, table) for table in TABLES}

    def say(state: str, *tables: str) -> None:
        for table in tables:
            grown = (bytes_of(conn, table) - before[table]) / jobs
            report.add(f"{state}: {table}", "bytes a job", [grown])

    for _ in range(jobs // 1_000):
        defer(conn, 1_000, "interval '1 day'")
    say("waits", "jobs", "todo", "events")
    worker = wires.OurWorker(conn)
    claims = worker.exchange(1_000)
    done = 0
    while claims.job_ids:
        conn.execute(
            "select procrastinate_finish_jobs_v1(%s, %s::bigint[], %s::bigint[],"
            " array_fill('succeeded'::procrastinate_job_status, array[%s]), '{}')",
            [
                worker.worker_id,
                wires.array(claims.job_ids),
                wires.array(claims.claim_ids),
                len(claims),
            ],
        )
        done += len(claims)
        claims = worker.exchange(1_000)
    assert done == jobs // 1_000 * 1_000
    say("ended", *TABLES)
    conn.execute(
        "insert into procrastinate_results (job_id, result, updated_at, expires_at)"
        " select id, '{\"sent\": true}', now(), now() + interval '1 day' from"
        " procrastinate_jobs on conflict (job_id) do update set result = excluded.result"
    )
    say("with a result of 14 bytes", "results")
