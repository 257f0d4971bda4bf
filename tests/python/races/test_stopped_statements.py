"""
Every pair of verbs, the first one stopped in its middle.

The queue of the scene has a lock that is held, with jobs waiting behind it, a delayed head
with a job behind it, a plain job, one that failed, and a worker whose heartbeat is old. One
statement stops between two statements of the engine; meanwhile another one runs, as far as it
can, and the idle worker does what it is told. Whatever they are: no deadlock, no lost
wake-up, no breach.

RACES_EVERY=1 stops at each point of each pair (hours on a small machine); by default some
pairs are tried at a few points, which differ from pair to pair.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest

from tests.python.races import harness, points, scene, verbs

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = int(os.environ.get("RACES_EVERY", "0"))


@attrs.define
class Cast:
    """Who is on the scene."""

    queue: scene.Scene
    stalled: int = 0
    worker: int = 0
    other: int = 0
    held: harness.Claim = attrs.field(default=harness.Claim(0, 0))
    plain_held: harness.Claim = attrs.field(default=harness.Claim(0, 0))
    head: int = 0
    second: int = 0
    plain: int = 0
    delayed: int = 0
    behind: int = 0
    failed: int = 0

    def set_up(self) -> None:
        queue = self.queue
        queue.reset()
        self.stalled, self.worker, self.other = queue.worker(), queue.worker(), queue.worker()
        queue.defer("a", locks=["f"])
        queue.stage.look(verbs.finish(self.worker, queue.claim(self.worker), "failed"))
        self.failed = queue.jobs[0]
        queue.defer("a", locks=["l"])
        (self.held,) = queue.claim(self.stalled)
        queue.defer("a")
        (self.plain_held,) = queue.claim(self.worker)
        self.head, self.second, self.plain, self.delayed, self.behind = queue.defer(
            *["a"] * 5,
            locks=["l", "l", None, "m", "m"],
            queueing_locks=[None, None, "q", None, None],
            scheduled_ats=[None, None, None, "2090-01-01", None],
        )
        queue.stage.look(
            "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
            " where id = %s",
            [self.stalled],
        )
        queue.quiet()


VERBS: dict[str, Callable[[Cast], str]] = {
    "fetch": lambda c: verbs.fetch(c.other, 10),
    "fetch_of_queue": lambda c: verbs.fetch(c.other, 1, ["a"]),
    "fetch_later": lambda c: (
        # a statement of one round trip whose clock is past the delayed head's time
        "with later as materialized ("
        "select set_config('procrastinate.now', '2095-01-01', true))"
        f" select f.* from later, lateral procrastinate_fetch_jobs_v1({c.other},"
        " case when later.set_config is null then array['b'] end::text[], 10, null) as f"
    ),
    "finish": lambda c: verbs.finish(c.stalled, [c.held]),
    "finish_deleting": lambda c: verbs.finish(c.stalled, [c.held], delete=True),
    "finish_plain": lambda c: verbs.finish(c.worker, [c.plain_held], "failed"),
    "finish_and_fetch": lambda c: verbs.finish_and_fetch(c.stalled, [c.held], 10),
    "retry": lambda c: verbs.retry(c.stalled, [c.held]),
    "retry_later": lambda c: verbs.retry(c.stalled, [c.held], retry_at="2090-01-01"),
    "retry_elsewhere": lambda c: verbs.retry(
        c.stalled, [c.held], queue="b", lock="m", priority=4
    ),
    "release": lambda c: verbs.release(c.stalled, [c.held]),
    "cancel_head": lambda c: verbs.cancel(c.head),
    "cancel_delayed": lambda c: verbs.cancel(c.delayed, delete=True),
    "abort_held": lambda c: verbs.abort(c.held.job_id),
    "delete_head": lambda c: f"delete from procrastinate_jobs where id = {c.head}",
    "delete_held": lambda c: f"delete from procrastinate_jobs where id = {c.held.job_id}",
    "raise_second": lambda c: (
        f"update procrastinate_jobs set priority = 10 where id = {c.second}"
    ),
    "lower_head": lambda c: f"update procrastinate_jobs set priority = -10 where id = {c.head}",
    "lock_head": lambda c: f"update procrastinate_jobs set lock = 'm' where id = {c.head}",
    "unlock_delayed": lambda c: (
        f"update procrastinate_jobs set lock = null where id = {c.delayed}"
    ),
    "lock_plain": lambda c: (
        f"update procrastinate_jobs set lock = 'l', priority = 9 where id = {c.plain}"
    ),
    "lock_held": lambda c: (
        f"update procrastinate_jobs set lock = 'n' where id = {c.held.job_id}"
    ),
    "move_head": lambda c: (
        f"update procrastinate_jobs set queue_name = 'b' where id = {c.head}"
    ),
    "run_delayed_now": lambda c: verbs.reschedule(c.delayed, None),
    "delay_head": lambda c: verbs.reschedule(c.head, "2090-01-01"),
    "cancel_all": lambda _: (
        "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
    ),
    "retry_failed": lambda c: verbs.retry_by_id(c.failed, lock="l", priority=7),
    "defer": lambda _: verbs.defer("a", "b", locks=["l", "m"], priorities=[3, 0]),
    "defer_queueing_lock": lambda _: verbs.defer("a", locks=["l"], queueing_locks=["q"]),
    "try_defer": lambda _: verbs.try_defer("a", "a", queueing_locks=["q", None]),
    "insert_doing": lambda _: (
        "insert into procrastinate_jobs (queue_name, task_name, lock, status)"
        " values ('a', 't', 'o', 'doing')"
    ),
    "start_delayed": lambda c: (
        f"update procrastinate_jobs set status = 'doing' where id = {c.delayed}"
    ),
    "pause": lambda _: verbs.pause("a"),
    "heartbeat": lambda c: verbs.heartbeat(c.stalled),
    "prune": lambda _: verbs.prune(),
    "recover": lambda _: verbs.recover(),
    "unregister": lambda c: verbs.unregister(c.stalled),
    "sweep": lambda _: verbs.SWEEP,
    "repair": lambda _: "select * from procrastinate_repair()",
    "purge": lambda _: "select procrastinate_purge_jobs('0 seconds', statuses => '{failed}')",
}

# a verb may be told no, by these; anything else, a deadlock above all, is a fault
REFUSALS = {
    "23505": "the queueing lock is taken, or the lock is held",
    "PQ001": "the job has moved on",
    "PQ002": "the job is gone",
    "PQ004": "the worker was pruned",
}
NEVER_WAITS = {"fetch", "fetch_of_queue", "fetch_later"}


def verdict(cast: Cast, run: scene.Explored, names: tuple[str, ...]) -> None:
    queue = cast.queue
    for statement in (run.first, *run.others):
        assert statement.sqlstate is None or statement.sqlstate in REFUSALS, run
    for statement in run.waited:
        assert names[run.others.index(statement) + 1] not in NEVER_WAITS, run
    queue.stage.look(verbs.resume("a"))
    for session in (queue.idle.session, queue.stage.session("stopped")):
        session.run(verbs.set_clock(None))
    try:
        queue.ends_well(run)
        # in the end, when all is due
        queue.idle.session.run(verbs.set_clock("2095-01-01"))
        queue.idle.woken = True
        queue.idle.react()
        queue.finish_held()
        queue.idle.woken = True
        queue.idle.react()
        left = queue.stage.look("select * from procrastinate_todo")
        assert not left, f"{run}\nnever run: {left}"
        queue.check(run)
    finally:
        queue.idle.session.run(verbs.set_clock(None))


def explore_pair(queue: scene.Scene, first: str, second: str, *, in_transaction: bool) -> int:
    cast = Cast(queue)

    def setup() -> tuple[str, list[tuple[str, str]]]:
        cast.set_up()
        return VERBS[first](cast), [("other", VERBS[second](cast))]

    every = EVERY or 15 + zlib.crc32(f"{first} {second}".encode()) % 16
    runs = scene.explore(queue, setup, in_transaction=in_transaction, every=every)
    count = 0
    for run in runs:
        verdict(cast, run, (first, second))
        count += 1
    return count


@pytest.fixture
def stopping(queue: scene.Scene) -> scene.Scene:
    assert points.instrument(queue.stage.watcher) > 100
    return queue


# repair locks the whole table: while it is stopped, everybody waits for its end
@pytest.mark.parametrize("first", [name for name in VERBS if name != "repair"])
def test_whatever_comes_while_it_is_stopped_midway_nothing_is_lost(
    stopping: scene.Scene, first: str
) -> None:
    for second in VERBS:
        drawn = zlib.crc32(f"{first}/{second}".encode()) % 10 == 0
        if EVERY or drawn or second == "fetch":
            explore_pair(stopping, first, second, in_transaction=False)


HOT = ["fetch", "finish", "finish_and_fetch", "retry", "cancel_head", "raise_second"]


@pytest.mark.parametrize("first", HOT)
def test_the_hot_pairs_hold_when_the_first_also_commits_late(
    stopping: scene.Scene, first: str
) -> None:
    for second in HOT:
        assert explore_pair(stopping, first, second, in_transaction=True) > 1


# ---------------------------------------------------------------- what was once found


@pytest.mark.parametrize("deleted", ["l", "m"])
def test_a_report_that_ends_some_jobs_and_deletes_others_takes_its_keys_at_once(
    stopping: scene.Scene, deleted: str
) -> None:
    """It took those of the ended, then those of the deleted: out of order, for one of the two."""
    queue = stopping

    def setup() -> tuple[str, list[tuple[str, str]]]:
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "m"])
        held = queue.claim(worker, 2)
        queue.defer("a", "a", locks=["l", "m"])
        queue.quiet()
        jobs = verbs.array([claim.job_id for claim in held], "bigint")
        claims = verbs.array([claim.claim_id for claim in held], "bigint")
        gone = verbs.array([claim.lock == deleted for claim in held], "boolean")
        finish = (
            f"select * from procrastinate_finish_jobs_v1({worker}, {jobs}, {claims},"
            f" '{{succeeded,succeeded}}', {gone})"
        )
        other = "update procrastinate_jobs set priority = 3 where status = 'todo'"
        return finish, [("other", other)]

    for run in scene.explore(queue, setup, every=EVERY or 2):
        assert run.first.sqlstate is None, run
        assert [s.sqlstate for s in run.others] == [None], run
        queue.ends_well(run)


@pytest.mark.parametrize("priority", [0, 9])
def test_a_head_handed_over_within_an_exchange_gives_way_to_one_that_came_before_it(
    stopping: scene.Scene, priority: int
) -> None:
    """Both were claimed: two jobs of one lock ran at once."""
    queue = stopping
    late = queue.stage.session("late")

    def setup() -> tuple[str, list[tuple[str, str]]]:
        queue.reset()
        if late.status != psycopg.pq.TransactionStatus.IDLE:
            late.rollback()
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        held = queue.claim(worker)
        late.begin()  # its id is lower than that of the job which waits
        late.run(verbs.defer("a", locks=["l"], priorities=[priority]))
        queue.defer("a", locks=["l"])
        queue.idle.react()
        return verbs.finish_and_fetch(worker, held, 10), [("late", "commit")]

    for run in scene.explore(queue, setup, every=EVERY or 2):
        assert run.first.sqlstate is None, run
        running = queue.value("select count(*) from procrastinate_doing where lock = 'l'")
        assert running <= 1, run
        queue.ends_well(run)


@pytest.mark.parametrize(
    "change", ["lock = 'm'", "queue_name = 'b'", "scheduled_at = now() + interval '1 day'"]
)
def test_a_job_that_changes_between_being_seen_and_being_claimed_is_left(
    stopping: scene.Scene, change: str
) -> None:
    """It was claimed as it had been: without the key of the lock that it had been given."""
    queue = stopping

    def setup() -> tuple[str, list[tuple[str, str]]]:
        queue.reset()
        worker, other = queue.worker(), queue.worker()
        queue.defer("a", locks=["m"])
        queue.claim(other)
        queue.defer("a", "a")
        queue.quiet()
        change_it = f"update procrastinate_jobs set {change} where id = {queue.jobs[1]}"
        return verbs.fetch(worker, 1, ["a"]), [("other", change_it)]

    for run in scene.explore(queue, setup, every=EVERY or 4):
        assert run.first.sqlstate is None, run
        claims = harness.Exchange.of(run.first.rows).claims
        for claim in [] if run.waited else claims:
            changed = queue.stage.look(
                f"select from procrastinate_jobs where id = {claim.job_id} and ({change})"
            )
            assert not changed or run.place == "", run
        queue.stage.look(
            "update procrastinate_jobs set scheduled_at = null where status = 'todo'"
        )
        queue.idle.woken = True
        queue.ends_well(run)


def test_a_head_that_fell_due_while_its_lock_was_being_released_is_told_of(
    stopping: scene.Scene,
) -> None:
    """The release judged its schedule by a clock that had stood still since it began."""
    queue = stopping
    cast = Cast(queue)

    def setup() -> tuple[str, list[tuple[str, str]]]:
        cast.set_up()
        retry = verbs.retry_by_id(cast.failed, lock="l", priority=7)
        return VERBS["finish_and_fetch"](cast), [("other", retry)]

    for run in scene.explore(queue, setup, every=EVERY or 2):
        verdict(cast, run, ("finish_and_fetch", "retry_failed"))
