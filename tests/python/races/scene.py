"""
The queue as a race finds it, and what must be true when it is over.

`Scene.ends_well` is the one verdict of all races: nobody waits, the one idle worker, which
never polls, ran all that may run, `procrastinate_check()` is empty, the sweep has nothing to
heal, and what happened to each job was legal, in order, and told by its events.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from tests.python.races import audit, harness, points, script, verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TABLES = (
    "procrastinate_jobs",
    "procrastinate_events",
    "procrastinate_workers",
    "procrastinate_periodic_defers",
    "procrastinate_queues",
    "races_audit",
)

RUNNABLE = """
select t.job_id, t.state::text as state, t.queue_name, t.lock
from procrastinate_todo as t
where not exists (
        select from procrastinate_queues as q
        where q.queue_name = t.queue_name and q.paused_at is not null
            and (q.paused_until is null or q.paused_until > procrastinate_now())
    )
    and (t.scheduled_at is null or t.scheduled_at <= procrastinate_now())
    and (t.lock is null or not exists (
            select from procrastinate_doing as d where d.lock = t.lock
        ) and not exists (
            select from procrastinate_todo as h
            where h.lock = t.lock
                and (h.priority > t.priority or h.priority = t.priority and h.job_id < t.job_id)
        ))
"""


@attrs.define
class Scene:
    stage: harness.Stage
    idle: harness.IdleWorker = attrs.field(init=False)
    claims: dict[int, harness.Claim] = attrs.field(factory=dict[int, harness.Claim], init=False)
    jobs: list[int] = attrs.field(factory=list[int], init=False)

    def __attrs_post_init__(self) -> None:
        audit.install(self.stage.watcher)
        self.idle = harness.IdleWorker(self.stage)

    # -- setting up

    def reset(self, *, idle: bool = True) -> None:
        """
        An empty queue. `idle`: with a worker that found nothing to do and went to sleep.

        Jobs that the setup itself defers wake it only when the test calls `idle.react()`.
        """
        self.stage.settle()
        for table in TABLES:
            self.stage.look(f"delete from {table}")
        self.stage.look("select set_config('procrastinate.now', '', false)")
        self.claims, self.jobs = {}, []
        self.idle.register()
        if idle:
            self.idle.react()

    def worker(self) -> int:
        return int(self.value("select procrastinate_register_worker_v2()"))

    def value(self, text: str) -> Any:
        return self.stage.look_value(text)

    def defer(self, *queues: str, **given: Any) -> list[int]:
        ids = [row["id"] for row in self.stage.look(verbs.defer(*queues, **given))]
        self.jobs += ids
        return ids

    def fetch(
        self, worker: int, limit: int = 1, queues: Sequence[str] | None = None
    ) -> harness.Exchange:
        return harness.Exchange.of(self.stage.look(verbs.fetch(worker, limit, queues)))

    def claim(self, worker: int, limit: int = 1) -> list[harness.Claim]:
        exchange = self.fetch(worker, limit)
        assert len(exchange.claims) == limit, exchange
        return exchange.claims

    def quiet(self) -> None:
        """What the setup itself notified was heard: only what comes now wakes the idle worker."""
        self.idle.hear()
        self.idle.woken = False

    # -- the verdict

    def status(self, job: int) -> str | None:
        rows = self.stage.look(
            "select status::text as status from procrastinate_jobs where id = %s", [job]
        )
        return rows[0]["status"] if rows else None

    def check(self, context: object = "") -> None:
        breaches = [row["breach"] for row in self.stage.look(verbs.CHECK)]
        assert not breaches, f"{context}: procrastinate_check(): {breaches}"

    def ends_well(self, context: object = "", *, sweep_finds: int = 0) -> None:
        self.check(context)
        self.idle.react()
        self.finish_held()
        if isinstance(context, script.Ran):
            self.idle.heed(context.statements)
        elif isinstance(context, Explored):
            self.idle.heed([context.first, *context.others])
        self.idle.react()
        left = self.stage.look(RUNNABLE)
        assert not left, f"{context}: nobody was told of {left}"
        (swept,) = self.stage.look(verbs.SWEEP)
        assert swept["promoted"] == sweep_finds, f"{context}: the sweep healed {swept}"
        self.check(context)
        breaches = audit.breaches(self.stage.watcher)
        assert not breaches, f"{context}: {breaches}"

    def finish_held(self) -> None:
        """The workers of the test end what they still hold."""
        held = self.stage.look("select job_id, claim_id, worker_id from procrastinate_doing")
        for row in held:
            worker = row["worker_id"] or self.idle.worker_id
            claim = harness.Claim(row["job_id"], row["claim_id"])
            (ended,) = self.stage.look(verbs.finish(worker, [claim]))
            assert ended["outcome"] == "finished", ended

    def runs(self, order: Sequence[int]) -> bool:
        """Whether these jobs were started in this order."""
        started = [
            row["job_id"]
            for row in self.stage.look(
                "select job_id from races_audit where new_status = 'doing'"
                " and old_status = 'todo' order by seq"
            )
        ]
        return [job for job in started if job in order] == list(order)

    def close(self) -> None:
        self.idle.close()


# ---------------------------------------------------------------- statements stopped midway


@attrs.frozen(repr=False)
class Explored:
    """One run of `explore`."""

    point: int
    place: str
    first: harness.Statement
    others: list[harness.Statement]
    waited: list[harness.Statement]

    def __repr__(self) -> str:
        def tell(statement: harness.Statement) -> str:
            mark = " (waited)" if statement in self.waited else ""
            if statement.sqlstate:
                return f"{statement}{mark} !{statement.error}"
            rows = json.dumps(statement.rows, default=str)
            return f"{statement}{mark} = {rows}"

        place = (
            f"stopped at point {self.point} ({self.place})" if self.place else "ran to its end"
        )
        parts = [f"{tell(self.first)} {place}, meanwhile", *(tell(s) for s in self.others)]
        return "\n  ".join(parts)


def explore(
    queue: Scene,
    setup: Callable[[], tuple[str, list[tuple[str, str]]]],
    *,
    after_each: Callable[[], None] | None = None,
    in_transaction: bool = False,
    every: int = 1,
) -> Iterator[Explored]:
    """
    Stop one statement at each of its points in turn and run others meanwhile.

    `setup` makes the scene anew and returns the statement and the others, each with the name of
    its session. After the last point comes one run in which the others come between the
    statement and its commit (`in_transaction`: always a transaction of its own).
    """
    stage = queue.stage
    react = queue.idle.react if after_each is None else after_each
    session = stage.session("stopped")
    gate = points.Gate(stage, session, number=1)
    point = 0
    while True:
        point += every
        text, others = setup()
        gate.stop_at(point)
        if in_transaction:
            session.begin()
        first = session.start(text)
        stage.settle()
        stopped = not first.ended
        if not stopped and not in_transaction:
            gate.open()
        started: list[harness.Statement] = []
        waited: list[harness.Statement] = []
        react()
        for name, other in others:
            stage.settle()
            if stage.session(name).busy:
                continue
            statement = stage.session(name).start(other)
            started.append(statement)
            stage.settle()
            if not statement.ended:
                waited.append(statement)
            react()
        gate.open()
        stage.settle()
        react()
        if in_transaction:
            session.run("rollback" if first.ended and first.sqlstate else "commit")
        stage.settle()
        assert first.ended, stage.describe_waits()
        place = gate.close()
        run = Explored(point, place, first, started, waited)
        assert all(s.ended for s in started), f"{run.first} {place}: {stage.describe_waits()}"
        yield run
        if not stopped:
            return
