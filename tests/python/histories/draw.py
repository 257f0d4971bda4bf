"""
Draw what clients do next: every verb, on few queues, locks and priorities, so that they
collide.

Each `Client` is one session's view of the world: a worker that holds claims, a producer, an
operator in psql, or all of it. It draws a statement, and is told the rows that came of it. The
same seed draws the same statements as long as it is told the same rows.
"""

from __future__ import annotations

import collections
import datetime
import threading
from typing import TYPE_CHECKING

import attrs

from tests.python.races import harness, verbs

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection

    import psycopg

QUEUES = ("a", "b", "c")
LOCKS = (None, None, "l0", "l1", "l2", "m0")
QUEUEING_LOCKS = (None, None, None, "q0", "q1")
PRIORITIES = (0, 0, 0, 1, 5, -2)
STATUSES = ("succeeded", "succeeded", "failed", "aborted")
START = datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)
LOCK = "procrastinate_jobs_lock_idx_v1"
END = "2099-01-01"  # past all that is ever scheduled

# what a statement may be told instead of rows
REFUSALS: dict[str, set[str]] = {
    "23505": {"procrastinate_jobs_queueing_lock_idx_v1", LOCK},
    "23514": {"check_not_todo_abort_requested"},
    "PQ001": set(),  # the job has moved on
    "PQ002": set(),  # it is gone
    "PQ004": set(),  # the worker was pruned
    "PQ007": set(),  # the key for all locks was not to be had
}


@attrs.define
class World:
    """What all clients of one history share."""

    minutes: int = 0
    highest: int = 1
    ticks: int = 0
    mutex: threading.Lock = attrs.field(factory=threading.Lock)
    claimed: collections.Counter[tuple[int, int]] = attrs.field(
        factory=collections.Counter[tuple[int, int]]
    )
    ended: collections.Counter[tuple[int, int]] = attrs.field(
        factory=collections.Counter[tuple[int, int]]
    )
    told: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    swept: int = 0

    @property
    def now(self) -> datetime.datetime:
        return START + datetime.timedelta(minutes=self.minutes)

    def claim(self, claim: harness.Claim) -> None:
        with self.mutex:
            self.claimed[claim.job_id, claim.claim_id] += 1
            self.highest = max(self.highest, claim.job_id)

    def end(self, job_id: int, claim_id: int) -> None:
        with self.mutex:
            self.ended[job_id, claim_id] += 1

    def saw(self, job_id: int) -> None:
        with self.mutex:
            self.highest = max(self.highest, job_id)

    def tell(self, what: str) -> None:
        with self.mutex:
            self.told[what] += 1

    def breaches(self) -> list[str]:
        """Each claim is handed out once and ends at most once."""
        return [
            *(f"claim {key} handed out {n} times" for key, n in self.claimed.items() if n > 1),
            *(f"claim {key} ended {n} times" for key, n in self.ended.items() if n > 1),
        ]


def ignore(_: list[harness.Row]) -> None:
    """Nothing to remember of the answer."""


@attrs.frozen
class Drawn:
    kind: str
    text: str
    tell: Callable[[list[harness.Row]], None] = ignore


@attrs.define
class Client:
    world: World
    random: random.Random
    roles: tuple[str, ...] = ("worker", "producer", "operator")
    worker_id: int | None = None
    queues: list[str] | None = None
    held: list[harness.Claim] = attrs.field(factory=list[harness.Claim])
    marks: list[int] | None = None
    limit: int = 0

    def draw(self) -> Drawn:
        role = self.random.choice(self.roles)
        if role == "worker":
            return self._as_worker()
        return self._as_producer() if role == "producer" else self._as_operator()

    def failed(self, sqlstate: str) -> None:
        if sqlstate == "PQ004":
            self.worker_id = None

    # -- a worker

    def _as_worker(self) -> Drawn:
        if self.worker_id is None:
            self.held, self.marks = [], None
            self.queues = self.random.choice([None, None, ["a"], ["a", "b", "c"]])
            queues = verbs.array(self.queues, "text")
            return Drawn(
                "register",
                f"select procrastinate_register_worker_v2(p_queues => {queues}) as id",
                self._registered,
            )
        worker = self.worker_id
        choice = self.random.choices(
            ["fetch", "finish", "both", "retry", "release", "heartbeat", "forget", "leave"],
            [6, 6, 8, 2, 1, 1, 0.5, 0.1],
        )[0]
        limit = self.limit = self.random.choice([1, 1, 3, 10])
        if choice == "leave":
            self.worker_id = None
            return Drawn("unregister", verbs.unregister(worker))
        if choice == "forget" and self.held:
            # the reply was lost: a heartbeat shows the claim
            self.held.pop(self.random.randrange(len(self.held)))
        if choice in {"heartbeat", "forget"}:
            return Drawn("heartbeat", verbs.heartbeat(worker), self._beaten)
        some = self._some_held()
        if choice == "fetch" or (not some and choice != "both"):
            text = verbs.fetch(worker, limit, self.queues, self.marks)
            return Drawn("fetch", text, self._fetched)
        status = self.random.choice(STATUSES)
        delete = self.random.random() < 0.15
        if choice == "finish":
            text = verbs.finish(worker, some, status, delete=delete)
            return Drawn("finish", text, lambda rows: self._ended(some, rows))
        if choice == "retry":
            text = verbs.retry(
                worker,
                some,
                retry_at=self.random.choice([None, None, self._moment()]),
                priority=self.random.choice([None, None, 3]),
                queue=self.random.choice([None, None, "c"]),
                lock=self.random.choice([None, None, "l0", "m0"]),
            )
            return Drawn("retry", text, lambda rows: self._ended(some, rows))
        if choice == "release":
            text = verbs.release(worker, some)
            return Drawn("release", text, lambda rows: self._ended(some, rows))
        text = verbs.finish_and_fetch(
            worker,
            some,
            limit,
            queues=self.queues,
            marks=self.marks,
            status=status,
            delete=delete,
        )
        return Drawn("finish_and_fetch", text, lambda rows: self._exchanged(some, rows))

    def _some_held(self) -> list[harness.Claim]:
        count = self.random.randint(0, len(self.held))
        some = self.random.sample(self.held, count)
        if some and self.random.random() < 0.05:
            some.append(some[0])  # reported twice in one call
        return some

    def _registered(self, rows: list[harness.Row]) -> None:
        self.worker_id = rows[0]["id"]

    def _fetched(self, rows: list[harness.Row]) -> None:
        exchange = harness.Exchange.of(rows)
        self.marks = exchange.marks
        assert len(exchange.claims) <= self.limit, "claimed more than there are free slots"
        self.held += exchange.claims
        for claim in exchange.claims:
            self.world.claim(claim)

    def _exchanged(self, some: list[harness.Claim], rows: list[harness.Row]) -> None:
        refused = harness.Exchange.of(rows).not_held
        for claim in dict.fromkeys(some):
            if claim.job_id not in refused:
                self.world.end(claim.job_id, claim.claim_id)
        self._drop(some)
        self._fetched(rows)

    def _ended(self, some: list[harness.Claim], rows: list[harness.Row]) -> None:
        claims = {claim.job_id: claim.claim_id for claim in some}
        # a claim that one call reports twice is answered twice
        for job in {row["job_id"] for row in rows if row["outcome"] != "not_held"}:
            self.world.end(job, claims[job])
        self._drop(some)

    def _drop(self, some: list[harness.Claim]) -> None:
        self.held = [claim for claim in self.held if claim not in some]

    def _beaten(self, rows: list[harness.Row]) -> None:
        """What the database says we hold is what we hold (I6)."""
        known = {(claim.job_id, claim.claim_id) for claim in self.held}
        self.held = [harness.Claim(row["job_id"], row["claim_id"]) for row in rows]
        for claim in self.held:
            if (claim.job_id, claim.claim_id) not in known:
                self.world.tell("found by the heartbeat")

    # -- a producer

    def _as_producer(self) -> Drawn:
        n = self.random.choice([1, 1, 1, 4, 12])
        choice = self.random.choices(
            ["defer", "one", "try", "periodic", "insert"], [4, 4, 3, 1, 2]
        )[0]
        locks = [self.random.choice(LOCKS) for _ in range(n)]
        queueing = [self.random.choice(QUEUEING_LOCKS) for _ in range(n)]
        priorities = [self.random.choice(PRIORITIES) for _ in range(n)]
        moments = [self._moment() if self.random.random() < 0.2 else None for _ in range(n)]
        queues = [self.random.choice(QUEUES) for _ in range(n)]
        if choice == "one":
            text = verbs.defer_one(
                queues[0],
                lock=locks[0],
                queueing_lock=queueing[0],
                priority=priorities[0],
                scheduled_at=moments[0],
            )
            return Drawn("defer_one", text, self._deferred)
        if choice == "periodic":
            self.world.ticks += self.random.choice([0, 0, 1])
            text = verbs.defer_periodic(self.world.ticks, queue=queues[0], lock=locks[0])
            return Drawn("defer_periodic", text, self._deferred)
        if choice == "insert":
            status = self.random.choice(["todo", "todo", "doing", "succeeded", "failed"])
            row = ", ".join(
                [
                    verbs.literal(queues[0]),
                    "'t'",
                    str(priorities[0]),
                    verbs.literal(locks[0]),
                    verbs.literal(queueing[0]),
                    verbs.literal(status),
                    verbs.literal(moments[0]),
                ]
            )
            text = (
                "insert into procrastinate_jobs (queue_name, task_name, priority, lock,"
                f" queueing_lock, status, scheduled_at) values ({row}) returning id"
            )
            return Drawn(f"insert {status}", text, self._deferred)
        make = verbs.defer if choice == "defer" else verbs.try_defer
        text = make(
            *queues,
            priorities=priorities,
            locks=locks,
            queueing_locks=queueing,
            scheduled_ats=moments,
        )
        return Drawn(choice, text, self._deferred)

    def _deferred(self, rows: list[harness.Row]) -> None:
        for row in rows:
            job = row.get("id", row.get("job_id"))
            if job is not None:
                self.world.saw(job)

    def _moment(self) -> str:
        minutes = self.random.choice([-5, 1, 2, 10, 600])
        return (self.world.now + datetime.timedelta(minutes=minutes)).isoformat()

    # -- an operator

    def _job(self) -> int:
        return max(1, self.world.highest - int(self.random.expovariate(1 / 12)))

    def _as_operator(self) -> Drawn:
        job = self._job()
        queue = self.random.choice(QUEUES)
        yes = self.random.random() < 0.5
        few = self.random.randint(1, 6)
        change = self.random.choice(
            [
                f"priority = {self.random.choice(PRIORITIES)}",
                f"lock = {verbs.literal(self.random.choice(LOCKS))}",
                f"queue_name = '{queue}'",
                f"scheduled_at = {verbs.literal(self._moment())}",
                "scheduled_at = null",
                f"queueing_lock = {verbs.literal(self.random.choice(QUEUEING_LOCKS))}",
                "args = '{\"changed\": true}'",
                "status = 'cancelled'",
                "status = 'todo'",
                "status = 'failed'",
                "status = 'succeeded'",
                "status = 'doing'",
                "abort_requested = true",
            ]
        )
        bulk = self.random.choice(
            [
                f"lock = {verbs.literal(self.random.choice(LOCKS))}",
                "queue_name = 'c'",
                "priority",
            ]
        )
        choices: list[tuple[float, str, Callable[[], str]]] = [
            (4, "cancel", lambda: verbs.cancel(job, abort=yes, delete=not yes and few == 1)),
            (2, "abort", lambda: verbs.abort(job)),
            (3, "retry_by_id", lambda: verbs.retry_by_id(job, priority=few if yes else None)),
            (2, "reschedule", lambda: verbs.reschedule(job, self._moment() if yes else None)),
            (1, "pause", lambda: verbs.pause(queue)),
            (2, "resume", lambda: verbs.resume(queue)),
            (6, "update", lambda: f"update procrastinate_jobs set {change} where id = {job}"),
            (
                1,
                "update some",
                lambda: (
                    "update procrastinate_jobs set priority = priority + 1 where status = 'todo'"
                    f" and id % 5 = {few % 5} and priority < 100"
                ),
            ),
            (
                1,
                "cancel some",
                lambda: (
                    "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
                    f" and id % 4 = {few % 4}"
                ),
            ),
            (
                0.5,
                "change all waiting",
                lambda: (
                    f"update procrastinate_jobs set {bulk if '=' in bulk else 'priority = 0'}"
                    " where status = 'todo'"
                ),
            ),
            (1, "delete", lambda: f"delete from procrastinate_jobs where id = {job}"),
            (
                0.5,
                "delete some",
                lambda: (
                    f"delete from procrastinate_jobs where id % 7 = {few} and status = 'todo'"
                ),
            ),
            (0.5, "prune", verbs.prune),
            (1, "recover", lambda: verbs.recover("3 minutes")),
            (0.3, "recover all", lambda: verbs.recover("0 seconds")),
            (2, "sweep", lambda: verbs.SWEEP),
            (0.5, "purge", lambda: "select procrastinate_purge_jobs('10 minutes')"),
            (0.5, "explain", lambda: f"select * from procrastinate_explain_job({job})"),
            (0.5, "check", lambda: verbs.CHECK),
            (0.3, "repair", lambda: "select * from procrastinate_repair()"),
        ]
        weights = [weight for weight, _, _ in choices]
        _, kind, make = self.random.choices(choices, weights)[0]
        if kind == "sweep":
            return Drawn(kind, make(), self._swept)
        if kind == "check":
            return Drawn(kind, make(), self._checked)
        return Drawn(kind, make())

    def _swept(self, rows: list[harness.Row]) -> None:
        with self.world.mutex:
            self.world.swept += rows[0]["promoted"]

    def _checked(self, rows: list[harness.Row]) -> None:
        assert not rows, f"procrastinate_check() in the midst of it: {rows}"


REPORTS = {"finish", "finish_and_fetch"}
MAY_FIND_A_LOCK_HELD = {"update", "change all waiting", "insert doing"}  # a bare statement


def refusal(error: psycopg.Error, kinds: Collection[str], *, several: bool) -> bool:
    """
    Whether the design names this error for statements of these kinds.

    `several`: in a transaction of several statements. A bare UPDATE of many rows locks them
    as it meets them, so two of those may deadlock on rows, as anywhere; never on the keys of
    locks.
    """
    constraint = error.diag.constraint_name
    if error.sqlstate == "40001":  # an operator began the next run: to be sent again
        return REPORTS.issuperset(kinds)
    if error.sqlstate in {"40P01", "25P02"}:
        return several or "advisory" not in (error.diag.message_detail or "")
    if error.sqlstate == "55P03":  # it gave up waiting, as only those do
        return several
    if constraint == LOCK and not MAY_FIND_A_LOCK_HELD.intersection(kinds):
        return False
    constraints = REFUSALS.get(error.sqlstate or "")
    return constraints is not None and (not constraints or constraint in constraints)
