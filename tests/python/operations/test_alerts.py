"""The alerts of the page: silent on a queue that is well, and heard on one that is not."""

from __future__ import annotations

import operator
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import psycopg
import pytest

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "alerts.md"
ALERT = re.compile(
    r"^### (?P<name>\w+)\n\n```sql\n(?P<query>.*?)^```\n\nRings: "
    r"\*\*(?P<side>[<>]) (?P<threshold>[\d.]+)\*\*",
    re.MULTILINE | re.DOTALL,
)
SETUP = re.compile(r"^```sql setup\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Connection = psycopg.Connection[Any]
Connect = Callable[..., psycopg.Connection[Any]]


@attrs.frozen
class Alert:
    name: str
    query: str
    side: str
    threshold: float

    def values(self, watcher: Connection) -> list[float]:
        cursor = watcher.execute(self.query.encode())
        assert cursor.description is not None
        assert cursor.description[-1].name == "value"
        rows = cursor.fetchall()
        assert all(isinstance(row[-1], float) for row in rows), rows
        return [row[-1] for row in rows]

    def rings(self, watcher: Connection) -> bool:
        beyond = {">": operator.gt, "<": operator.lt}[self.side]
        return any(beyond(figure, self.threshold) for figure in self.values(watcher))


ALERTS = {
    found["name"]: Alert(
        found["name"], found["query"], found["side"], float(found["threshold"])
    )
    for found in ALERT.finditer(PAGE.read_text())
}


def run(text: str) -> Callable[[Connection, Connect], object]:
    return lambda conn, _connect: conn.execute(text.encode())


def jobs(count: int, rest: str = "") -> str:
    return (
        "insert into procrastinate_jobs (queue_name, task_name, lock)"
        f" select 'q', 't', {rest or 'null'} from generate_series(1, {count});"
    )


WORKER = "select procrastinate_register_worker_v2('w');"
FETCH = "select procrastinate_fetch_jobs_v1(max(id), null, 100) from procrastinate_workers;"


def with_more_connections(_conn: Connection, connect: Connect) -> None:
    for _ in range(5):
        connect()


#: What makes an alert ring, if a test can do that.
RINGS: dict[str, Callable[[Connection, Connect], object]] = {
    "queue_latency_seconds": run(jobs(1)),
    "queue_ready": run(jobs(10_001)),
    "queue_without_workers": run(jobs(1)),
    "queue_paused_seconds": run("select procrastinate_pause_queue('q', 'why')"),
    "stalled_jobs": run(jobs(1) + WORKER + FETCH),
    "dead_workers": run(WORKER),
    "longest_run_seconds": run(jobs(1) + WORKER + FETCH),
    "task_failed_ratio": run(
        jobs(100) + "update procrastinate_jobs set status = 'failed' where id > 80;"
        "update procrastinate_jobs set status = 'succeeded' where id <= 80"
    ),
    "task_retried_jobs": run(jobs(1_001) + "update procrastinate_jobs set attempts = 1"),
    "lock_held_seconds": run(jobs(2, "'l'") + WORKER + FETCH),
    "breaches": run(jobs(1) + "truncate procrastinate_todo"),
    # last: no transaction takes these back
    "sequence_behind": run(jobs(10) + "select setval('procrastinate_jobs_id_seq', 3)"),
    "sequence_used": run("select setval('procrastinate_jobs_id_seq', 5000000000000000000)"),
}

#: What moves the figure of an alert that no test can afford to let ring.
MOVES: dict[str, Callable[[Connection, Connect], object]] = {
    "size_bytes": run(jobs(1_000)),
    "dead_rows": run(
        "alter table procrastinate_todo set (autovacuum_enabled = off);"
        + jobs(1_000)
        + "update procrastinate_todo set priority = 1"
    ),
    "connections_used": with_more_connections,
    "oldest_snapshot_seconds": lambda _conn, connect: connect(autocommit=False).execute(
        "select pg_current_xact_id()"
    ),
    "freeze_age": run("select pg_current_xact_id()"),
}

#: What makes it ring if it is committed.
COUNTED = (
    "create index on procrastinate_jobs (priority);"
    + jobs(1_001)
    + "update procrastinate_jobs set priority = 1"
)

#: What depends on the whole server: they are heard in tests of their own, or only asked.
ASKED = {"blocked_sessions", "notify_queue_usage", "replication_slot_xmin_age"}


@pytest.fixture
def watcher(conn: Connection, connect: Connect) -> Iterator[Connection]:
    """A session of the role that the page makes."""
    setup = SETUP.search(PAGE.read_text())
    assert setup is not None
    conn.execute(setup[1].encode())
    watcher = connect()
    watcher.execute("set role queue_watcher")
    yield watcher
    watcher.close()
    conn.execute("drop owned by queue_watcher")
    conn.execute("drop role queue_watcher")


def test_each_alert_is_tried() -> None:
    assert set(ALERTS) == {*RINGS, *MOVES, *ASKED, "hot_update_ratio"}


def test_nothing_rings_on_a_queue_that_is_well(conn: Connection, watcher: Connection) -> None:
    conn.execute(
        (
            WORKER
            + jobs(30, "'l'")
            + jobs(30)
            + FETCH
            + "select procrastinate_finish_jobs_v1(1, '{1}', '{1}', '{succeeded}', '{}')"
        ).encode()
    )
    assert [name for name, alert in ALERTS.items() if alert.rings(watcher)] == []


def test_each_rings(conn: Connection, connect: Connect, watcher: Connection) -> None:
    silent: list[str] = []
    for name, scene in RINGS.items():
        with conn.transaction(force_rollback=True):
            conn.execute("set local procrastinate.now = '2020-01-01'")
            scene(conn, connect)
            conn.execute("set local procrastinate.now to default")
            conn.execute("set local role queue_watcher")
            if not ALERTS[name].rings(conn):
                silent.append(name)
    assert silent == []


def test_each_other_figure_moves(
    conn: Connection, connect: Connect, watcher: Connection
) -> None:
    still: list[str] = []
    for name, scene in MOVES.items():
        before = max(ALERTS[name].values(watcher))
        scene(conn, connect)
        conn.execute("select pg_stat_force_next_flush()")
        conn.execute("select 1")
        if max(ALERTS[name].values(watcher)) <= before:
            still.append(name)
    assert still == []


def test_updates_that_write_an_index_are_heard_of(
    conn: Connection, watcher: Connection
) -> None:
    conn.execute(COUNTED.encode())
    conn.execute("select pg_stat_force_next_flush()")
    conn.execute("select 1")
    assert ALERTS["hot_update_ratio"].rings(watcher)


def test_a_session_that_waits_is_seen(
    conn: Connection, connect: Connect, watcher: Connection
) -> None:
    query = ALERTS["blocked_sessions"].query.replace("10 seconds", "0 seconds")
    assert query != ALERTS["blocked_sessions"].query
    holder, waiter = connect(autocommit=False), connect()
    holder.execute("lock table procrastinate_jobs")
    waiter.pgconn.send_query(b"select count(*) from procrastinate_jobs")
    waiting = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
    while conn.execute(waiting, [waiter.info.backend_pid]).fetchone() != (True,):
        pass
    assert watcher.execute(query.encode()).fetchone() == (1.0,)


def test_the_role_may_not_write(conn: Connection, watcher: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        watcher.execute("select procrastinate_defer_job('q', 't')")
    conn.execute("select procrastinate_defer_job('q', 't')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        watcher.execute("select procrastinate_cancel_job(1)")
