"""Tables as they are after some time: masses of jobs that a call must not look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import psycopg

FAR_OFF = "2999-01-01"

_FILL = (
    b"insert into procrastinate_jobs"
    b" (queue_name, task_name, priority, lock, queueing_lock, status, scheduled_at)"
    b" select %(queue)s, 'task', %(priority)s, %(lock)s || case when %(own_locks)s then i::text"
    b" else '' end, %(queueing_lock)s || i::text, %(status)s::procrastinate_job_status,"
    b" %(scheduled_at)s::timestamptz from generate_series(1, %(jobs)s) as i returning id"
)


@attrs.define
class World:
    conn: psycopg.Connection[Any]
    worker_id: int = 0

    def __attrs_post_init__(self) -> None:
        self.worker_id = self.value("select procrastinate_register_worker_v2('plans')")

    def value(self, statement: str, arguments: dict[str, object] | None = None) -> Any:
        row = self.conn.execute(statement.encode(), arguments).fetchone()
        assert row is not None
        return row[0]

    def jobs(
        self,
        jobs: int,
        *,
        queue: str = "q",
        priority: int = 0,
        lock: str | None = None,
        own_locks: bool = False,
        queueing_lock: str | None = None,
        status: str = "todo",
        scheduled_at: str | None = None,
    ) -> list[int]:
        arguments = {
            "jobs": jobs,
            "queue": queue,
            "priority": priority,
            "lock": lock,
            "own_locks": own_locks,
            "queueing_lock": queueing_lock,
            "status": status,
            "scheduled_at": scheduled_at,
        }
        return [row[0] for row in self.conn.execute(_FILL, arguments).fetchall()]

    def claim(self, jobs: int, queue: str = "q") -> list[tuple[int, int]]:
        """Job and claim ids of ``jobs`` jobs that our worker fetches."""
        rows = self.conn.execute(
            b"select job_id, claim_id from procrastinate_fetch_jobs_v1(%s, array[%s], %s)"
            b" where outcome = 'claimed'",
            (self.worker_id, queue, jobs),
        ).fetchall()
        return [(row[0], row[1]) for row in rows]

    def hold(self, jobs: int, *, lock: str | None = None) -> list[tuple[int, int]]:
        """Jobs of a queue of their own that our worker runs."""
        self.jobs(jobs, queue="held", lock=lock, own_locks=True)
        held = self.claim(jobs, "held")
        assert len(held) == jobs
        return held

    # The masses. None of their jobs may be fetched from queue q.

    def finished(self, jobs: int) -> None:
        self.jobs(jobs, status="succeeded")

    def delayed(self, jobs: int) -> None:
        self.jobs(jobs, scheduled_at=FAR_OFF)

    def foreign(self, jobs: int) -> None:
        self.jobs(jobs, queue="other")
        self.jobs(jobs // 10, queue="other", lock="foreign lock", own_locks=True)

    def blocked(self, jobs: int) -> None:
        """Parked behind a job that runs: fetches have met them all."""
        if not self.value(
            "select exists (select from procrastinate_doing where lock is not null)"
        ):
            self.jobs(1, lock="the lock", priority=100)
            assert len(self.claim(1)) == 1
        self.jobs(jobs, lock="the lock")
        for _ in range(jobs):
            assert not self.claim(100)
            if not self.value("select count(*) from procrastinate_todo where state = 'r'"):
                return
        raise AssertionError("jobs of a lock that is held stay ready")

    def running(self, jobs: int) -> None:
        self.jobs(jobs, queue="running")
        assert len(self.claim(jobs, "running")) == jobs

    def masses(self, jobs: int) -> None:
        """All of them, made before anything is ready in queue q."""
        self.finished(jobs)
        self.blocked(jobs)
        self.delayed(jobs)
        self.foreign(jobs)
        other = World(self.conn)
        other.running(jobs // 10)
