"""
The races that the design names, each in every order in which it can come about.

Steps are whole statements here, in transactions that stay open meanwhile;
test_stopped_statements stops statements in their middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.python.races import harness, verbs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.races.scene import Scene

Step = harness.Step
QUEUEING = "procrastinate_jobs_queueing_lock_idx_v1"
LOCK = "procrastinate_jobs_lock_idx_v1"


def transaction(
    session: str, *texts: str | Callable[[], str], end: str = "commit"
) -> list[Step]:
    steps = [Step(session, text, label=f"{n}") for n, text in enumerate(texts)]
    return [Step(session, "begin"), *steps, Step(session, end)]


def alone(session: str, text: str | Callable[[], str]) -> list[Step]:
    return [Step(session, text, label="alone")]


def claims_of(statement: harness.Statement) -> list[harness.Claim]:
    return harness.Exchange.of(statement.rows).claims


# ---------------------------------------------------------------- queueing locks


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_defers_with_one_queueing_lock_one_waits_and_only_one_wins(
    queue: Scene, end: str
) -> None:
    defer = verbs.defer("a", queueing_locks=["q"])
    lists = [transaction("one", defer, end=end), transaction("two", defer)]
    for run in harness.permutations(queue.stage, *lists, setup=queue.reset):
        first, second = run.of(lists[0][1]), run.of(lists[1][1])
        errors = [s for s in (first, second) if s.sqlstate]
        for statement in errors:
            assert isinstance(statement.error, psycopg.errors.UniqueViolation)
            assert statement.error.diag.constraint_name == QUEUEING
        committed = (end == "commit" and not first.sqlstate) + (not second.sqlstate)
        assert committed <= 1, run
        count = queue.value("select count(*) from procrastinate_jobs")
        assert count == committed, run
        if end == "commit":
            assert count == 1, run
        queue.ends_well(run)


def test_of_two_try_defers_with_one_queueing_lock_the_second_is_told_of_the_conflict(
    queue: Scene,
) -> None:
    """And each keeps the other jobs of its call."""
    lists = [
        transaction(name, verbs.try_defer("a", "a", queueing_locks=["q", None]))
        for name in ("one", "two")
    ]
    for run in harness.permutations(queue.stage, *lists, setup=lambda: queue.reset(idle=False)):
        assert run.sqlstates() == [], run
        rows = [row for steps in lists for row in run.of(steps[1]).rows]
        assert sorted(row["conflict"] or "" for row in rows) == ["", "", "", "q"], run
        assert all((row["job_id"] is None) == (row["conflict"] is not None) for row in rows)
        assert queue.value("select count(*) from procrastinate_jobs") == 3, run
        queue.ends_well(run)


def test_two_batches_with_the_same_queueing_locks_in_other_orders_do_not_deadlock(
    queue: Scene,
) -> None:
    lists = [
        transaction("one", verbs.defer("a", "a", queueing_locks=["p", "q"])),
        transaction("two", verbs.defer("a", "a", queueing_locks=["q", "p"])),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=queue.reset):
        assert run.sqlstates() == ["23505"], run
        queue.ends_well(run)


def test_a_retry_whose_queueing_lock_was_taken_meanwhile_fails_the_job_and_says_why(
    queue: Scene,
) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", queueing_locks=["q"])
        held[:] = queue.claim(worker)

    lists = [
        transaction("one", verbs.defer("a", queueing_locks=["q"])),
        transaction("two", lambda: verbs.retry(worker, held)),
    ]
    outcomes: set[str] = set()
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        deferred, retried = run.of(lists[0][1]), run.of(lists[1][1])
        assert retried.sqlstate is None, run
        outcome = retried.rows[0]["outcome"]
        outcomes.add(outcome)
        assert (deferred.sqlstate, outcome) in {(None, "failed"), ("23505", "retried")}, run
        job = held[0].job_id
        if outcome == "failed":
            events = queue.stage.look(
                "select error from procrastinate_events where job_id = %s and type = 'failed'",
                [job],
            )
            assert len(events) == 1, run
            assert events[0]["error"], run
        queue.ends_well(run)
    assert outcomes == {"failed", "retried"}


def test_one_taken_queueing_lock_does_not_hold_up_the_other_retries_of_its_batch(
    queue: Scene,
) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    queue.defer("a", "a", "a", queueing_locks=["p", "q", None])
    held = queue.claim(worker, 3)
    queue.defer("a", queueing_locks=["p"])
    session = queue.stage.session("one")
    rows = session.run(verbs.retry(worker, held))
    assert [row["outcome"] for row in rows] == ["failed", "retried", "retried"]
    queue.ends_well()


def test_a_retry_by_id_whose_queueing_lock_is_taken_raises_and_leaves_the_job_failed(
    queue: Scene,
) -> None:
    job = 0

    def setup() -> None:
        nonlocal job
        queue.reset(idle=False)
        worker = queue.worker()
        (job,) = queue.defer("a", queueing_locks=["q"])
        queue.stage.look(verbs.finish(worker, queue.claim(worker), "failed"))

    lists = [
        transaction("one", verbs.defer("a", queueing_locks=["q"])),
        transaction("two", lambda: verbs.retry_by_id(job)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == ["23505"], run
        error = next(s.error for s in run.statements if s.sqlstate)
        assert error is not None
        assert error.diag.constraint_name == QUEUEING
        queue.ends_well(run)


# ---------------------------------------------------------------- fetch against fetch


def test_two_fetches_share_what_is_ready_and_never_wait_or_take_a_job_twice(
    queue: Scene,
) -> None:
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", "a", "a", "b", locks=["l", None, "l", None])

    lists = [
        transaction("one", lambda: verbs.fetch(workers[0], 3)),
        transaction("two", lambda: verbs.fetch(workers[1], 3)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert not run.waited, run
        assert run.sqlstates() == [], run
        claims = [claim for steps in lists for claim in claims_of(run.of(steps[1]))]
        ids = [claim.job_id for claim in claims]
        assert len(ids) == len(set(ids)), run
        assert [claim.lock for claim in claims].count("l") == 1, run
        assert sorted(ids) == [queue.jobs[-4], queue.jobs[-3], queue.jobs[-1]], run
        queue.ends_well(run)


def test_a_fetch_that_cannot_have_what_another_holds_says_contended_and_gets_it_later(
    queue: Scene,
) -> None:
    """I7's exception: the other rolls back, and a rollback can't notify."""
    for locks in ([None], ["l"]):
        queue.reset()
        worker = queue.worker()
        (job,) = queue.defer("a", locks=locks)
        one = queue.stage.session("one")
        one.begin()
        assert claims_of_rows(one.run(verbs.fetch(worker, 1)))[0].job_id == job
        queue.idle.react()
        assert queue.idle.come_back, "the row is held by another: contended"
        one.rollback()
        queue.idle.react()
        assert queue.idle.ran == [job]
        queue.ends_well()


def claims_of_rows(rows: list[harness.Row]) -> list[harness.Claim]:
    return harness.Exchange.of(rows).claims


HOLDS = [
    "update procrastinate_jobs set args = args where id = {job}",
    "update procrastinate_jobs set priority = 5 where id = {job}",
    "select procrastinate_cancel_job({job})",
    "delete from procrastinate_jobs where id = {job}",
    "select from procrastinate_jobs where id = {job} for update",
    "select procrastinate_reschedule_job({job}, procrastinate_now() + interval '1 day')",
]


@pytest.mark.parametrize("lock", [None, "l"])
def test_a_holder_that_rolls_back_costs_no_wake_up(queue: Scene, lock: str | None) -> None:
    one = queue.stage.session("one")
    for text in HOLDS:
        queue.reset()
        jobs = queue.defer("a", "a", locks=[lock, lock])
        one.begin()
        one.run(text.format(job=jobs[0]))
        queue.idle.react()
        one.rollback()
        queue.idle.react()
        assert sorted(queue.idle.ran) == jobs, text
        if lock:
            assert queue.runs(jobs), text
        queue.ends_well(text)


# ---------------------------------------------------------------- fetch against the rest


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("status", ["succeeded", "failed", "aborted"])
def test_a_fetch_beside_the_finish_of_its_lock_s_holder_loses_no_wake_up(
    queue: Scene, end: str, status: str
) -> None:
    """The lost wake-up, both ways: the waiting job is parked before or after the release."""
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset()
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(workers[0])
        queue.defer("a", "a", locks=["l", "l"])
        queue.quiet()

    lists = [
        transaction("one", lambda: verbs.finish(workers[0], held, status), end=end),
        transaction("two", lambda: verbs.fetch(workers[1], 2)),
    ]
    for run in harness.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert lists[1][1] not in run.waited, run
        assert run.sqlstates() == [], run
        queue.ends_well(run)
        assert queue.runs(queue.jobs), run


def test_an_end_that_waits_for_a_change_of_its_lock_releases_the_new_one(
    queue: Scene,
) -> None:
    """It released the new lock with the key of the old one: two jobs of the new one ran."""
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset()
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(workers[0])
        queue.defer("a", "a", "a", locks=["l", "m", "m"])
        queue.quiet()

    lists = [
        transaction(
            "one",
            lambda: f"update procrastinate_jobs set lock = 'm' where id = {held[0].job_id}",
        ),
        transaction("two", lambda: verbs.finish_and_fetch(workers[0], held, 5)),
        alone("three", lambda: verbs.fetch(workers[1], 5)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert lists[2][0] not in run.waited, run
        assert set(run.sqlstates()) <= {"23505"}, run  # the new lock is taken by then
        queue.ends_well(run)


CHANGES = [
    "select procrastinate_cancel_job({head})",
    "select procrastinate_cancel_job({head}, delete_job => true)",
    "select procrastinate_cancel_job({next})",
    "delete from procrastinate_jobs where id = {head}",
    "update procrastinate_jobs set status = 'cancelled' where status = 'todo'",
    "update procrastinate_jobs set priority = 10 where id = {next}",
    "update procrastinate_jobs set priority = -10 where id = {head}",
    "update procrastinate_jobs set lock = null where id = {head}",
    "update procrastinate_jobs set lock = 'm' where id = {next}",
    "update procrastinate_jobs set lock = 'm'",
    "update procrastinate_jobs set queue_name = 'b' where id = {head}",
    "update procrastinate_jobs set scheduled_at = now() + interval '1 day' where id = {head}",
    "select procrastinate_reschedule_job({head}, now() + interval '1 day')",
    (
        "insert into procrastinate_jobs (queue_name, task_name, lock, priority)"
        " values ('a', 't', 'l', 99)"
    ),
    (
        "insert into procrastinate_jobs (queue_name, task_name, lock, status)"
        " values ('a', 't', 'm', 'doing')"
    ),
    "select procrastinate_pause_queue('a')",
    "select procrastinate_prune_stalled_workers()",
    "select procrastinate_recover_stalled_jobs()",
    "select promoted from procrastinate_sweep_v1()",
]
# the change may be refused: two jobs of the lock are running by then, or the worker is pruned
REFUSED = {"update procrastinate_jobs set lock = 'm'": {"23505"}}


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_fetch_beside_any_change_waits_for_nobody_and_loses_nothing(
    queue: Scene, end: str
) -> None:
    for text in CHANGES:
        beside_a_fetch(queue, text, end)


def beside_a_fetch(queue: Scene, text: str, end: str) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", "a", locks=["l", "l", None])
        queue.quiet()

    def change() -> str:
        return text.format(head=queue.jobs[0], next=queue.jobs[1])

    lists = [
        transaction("one", change, end=end),
        transaction("two", lambda: verbs.fetch(worker, 2)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert lists[1][1] not in run.waited, run
        assert set(run.sqlstates()) <= REFUSED.get(text, set()), (
            run,
            [s.error for s in run.statements if s.sqlstate],
        )
        queue.stage.look(verbs.resume("a"))
        in_the_end(queue, run)


def in_the_end(queue: Scene, run: harness.Ran) -> None:
    """Also what was put off for a day has run."""
    queue.idle.woken = True
    queue.ends_well(run)
    for connection in (queue.idle.session.run, queue.stage.look):
        connection(verbs.set_clock("2100-01-01"))
    queue.idle.woken = True
    queue.ends_well(run)
    assert not queue.stage.look("select from procrastinate_todo"), run
    for connection in (queue.idle.session.run, queue.stage.look):
        connection(verbs.set_clock(None))


def test_of_a_fetch_and_a_cancel_of_one_job_one_wins(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "l"])

    lists = [
        alone("one", lambda: verbs.cancel(queue.jobs[0])),
        transaction("two", lambda: verbs.fetch(worker, 1)),
    ]
    outcomes: set[tuple[bool, bool]] = set()
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        cancelled = run.of(lists[0][0]).rows[0]["done"]
        fetched = [claim.job_id for claim in claims_of(run.of(lists[1][1]))]
        outcomes.add((cancelled, queue.jobs[0] in fetched))
        assert cancelled != (queue.jobs[0] in fetched), run
        queue.ends_well(run)
    assert outcomes == {(True, False), (False, True)}


def test_a_foreign_key_check_of_a_user_does_not_hide_a_job_from_a_fetch(queue: Scene) -> None:
    queue.stage.look(
        "create table mine (id integer, job_id bigint references procrastinate_jobs (id))"
    )
    queue.stage.look("alter table mine disable trigger user")
    worker = queue.worker()
    for lock in (None, "l"):
        (job,) = queue.defer("a", locks=[lock])
        one, two = queue.stage.session("one"), queue.stage.session("two")
        one.begin()
        one.run("insert into mine values (1, %s)", [job])
        claims = claims_of_rows(two.run(verbs.fetch(worker, 1)))
        assert [claim.job_id for claim in claims] == [job]
        two.run(verbs.finish(worker, claims))
        one.commit()
        assert queue.status(job) == "succeeded"
        queue.check()


def test_ids_that_commit_late_are_not_hidden_by_the_mark_of_later_ones(queue: Scene) -> None:
    for lock in (None, "l"):
        for priority in (0, 7):
            queue.reset()
            one = queue.stage.session("one")
            one.begin()
            (late,) = [row["id"] for row in one.run(verbs.defer("a", locks=[lock]))]
            for _ in range(3):
                queue.defer("a", "a", priorities=[priority, 0])
                queue.idle.react()
            assert len(queue.idle.ran) == 6
            one.commit()
            queue.idle.react()
            assert late in queue.idle.ran
            queue.ends_well((lock, priority))


def test_a_priority_never_seen_before_goes_first_at_once(queue: Scene) -> None:
    for queues in (None, ["a", "b"]):
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer(*["a"] * 6)
        session = queue.stage.session("one")
        exchange = harness.Exchange.of(session.run(verbs.fetch(worker, 2, queues)))
        for priority in (1, 50, -3, 2_147_483_647):
            (urgent,) = queue.defer("a", priorities=[priority])
            exchange = harness.Exchange.of(
                session.run(verbs.fetch(worker, 1, queues, exchange.marks))
            )
            got = exchange.claims[0].job_id
            assert (got == urgent) == (priority > 0), (priority, queues)
        exchange = harness.Exchange.of(
            session.run(verbs.fetch(worker, 10, queues, exchange.marks))
        )
        assert len(exchange.claims) == 6 + 4 - 2 - 4, queues
        queue.ends_well()


def test_a_higher_priority_that_commits_late_goes_before_lower_ones_that_wait(
    queue: Scene,
) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    one, two = queue.stage.session("one"), queue.stage.session("two")
    one.begin()
    (urgent,) = [row["id"] for row in one.run(verbs.defer("a", priorities=[9]))]
    queue.defer(*["a"] * 4)
    exchange = harness.Exchange.of(two.run(verbs.fetch(worker, 1)))
    exchange = harness.Exchange.of(two.run(verbs.fetch(worker, 1, marks=exchange.marks)))
    one.commit()
    exchange = harness.Exchange.of(two.run(verbs.fetch(worker, 1, marks=exchange.marks)))
    assert [claim.job_id for claim in exchange.claims] == [urgent]
    queue.ends_well()


def test_jobs_of_a_paused_queue_are_left_alone_from_the_next_fetch_on(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "b", locks=["l", None])

    lists = [
        transaction("one", verbs.pause("a")),
        transaction("two", lambda: verbs.fetch(worker, 5)),
    ]
    seen: set[int] = set()
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert not run.waited, run
        fetched = len(claims_of(run.of(lists[1][1])))
        seen.add(fetched)
        paused_first = run.order.index(lists[0][2]) < run.order.index(lists[1][1])
        assert fetched == (1 if paused_first else 2), run
        queue.quiet()
        queue.stage.session("one").run(verbs.resume("a"))
        queue.ends_well(run)  # resume has woken the idle worker
    assert seen == {1, 2}


# ---------------------------------------------------------------- ends against ends


def test_of_two_finishes_of_one_claim_one_happens_and_the_other_is_told(queue: Scene) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(worker)
        queue.defer("a", locks=["l"])
        queue.quiet()

    lists = [
        transaction("one", lambda: verbs.finish(worker, held, "succeeded")),
        transaction("two", lambda: verbs.finish(worker, held, "failed")),
    ]
    for run in harness.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        rows = [run.of(steps[1]).rows[0] for steps in lists]
        assert sorted(row["outcome"] for row in rows) == ["finished", "not_held"], run
        assert rows[0]["status"] == rows[1]["status"] == queue.status(held[0].job_id), run
        queue.ends_well(run)


@pytest.mark.parametrize("other", ["finish", "retry", "release", "delete"])
def test_a_claim_ends_once_whatever_the_two_ends_are(queue: Scene, other: str) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        held[:] = queue.claim(worker)
        queue.defer("a", locks=["l"])
        queue.quiet()

    def end() -> str:
        match other:
            case "finish":
                return verbs.finish(worker, held)
            case "retry":
                return verbs.retry(worker, held)
            case "release":
                return verbs.release(worker, held)
            case _:
                return verbs.finish(worker, held, delete=True)

    lists = [transaction("one", lambda: verbs.retry(worker, held)), transaction("two", end)]
    for run in harness.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        rows = [run.of(steps[1]).rows[0] for steps in lists]
        assert [row["outcome"] for row in rows].count("not_held") == 1, run
        queue.ends_well(run)


def test_the_late_finish_of_a_recovered_job_changes_nothing_and_says_so(queue: Scene) -> None:
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", "a", locks=["l", "l"])
        held[:] = queue.claim(workers[0])
        queue.stage.look(
            "update procrastinate_workers set last_heartbeat = now() - interval '1 hour'"
            " where id = %s",
            [workers[0]],
        )

    lists = [
        [
            Step("one", verbs.recover(), "recover"),
            Step("one", lambda: verbs.fetch(workers[1], 1), "fetch"),
        ],
        alone("two", lambda: verbs.finish(workers[0], held)),
    ]
    outcomes: set[str] = set()
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], run
        (row,) = run.of(lists[1][0]).rows
        recovered = [r["id"] for r in run.of(lists[0][0]).rows]
        assert (row["outcome"] == "not_held") == (recovered == [held[0].job_id]), run
        outcomes.add(row["outcome"])
        if run.order.index(lists[0][1]) < run.order.index(lists[1][0]):
            assert row["status"] == "doing", run  # it is its successor's now
            attempts = queue.value(
                f"select attempts from procrastinate_jobs where id = {held[0].job_id}"
            )
            assert attempts == 1, run
        queue.ends_well(run)
    assert outcomes == {"finished", "not_held"}


def test_a_finish_carries_its_own_claim_even_for_the_same_worker(queue: Scene) -> None:
    """(worker, attempt) repeats itself when a job is given back and fetched again."""
    queue.reset(idle=False)
    worker = queue.worker()
    queue.defer("a")
    held = queue.claim(worker)
    session = queue.stage.session("one")
    assert session.run(verbs.release(worker, held))[0]["outcome"] == "released"
    again = queue.claim(worker)
    assert again[0].job_id == held[0].job_id
    assert again[0].claim_id != held[0].claim_id
    assert session.run(verbs.finish(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.retry(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.release(worker, held))[0]["outcome"] == "not_held"
    assert session.run(verbs.finish(worker, again))[0]["outcome"] == "finished"
    queue.ends_well()


# ---------------------------------------------------------------- workers


OLD = (
    "update procrastinate_workers set last_heartbeat = now() - interval '1 hour' where id = {}"
)


def test_a_prune_beside_a_heartbeat_keeps_the_worker_or_tells_it(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", locks=["l"])
        queue.claim(worker)
        queue.stage.look(OLD.format(worker))

    lists = [
        transaction("one", verbs.prune()),
        transaction("two", lambda: verbs.heartbeat(worker)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        beat = run.of(lists[1][1])
        alive = queue.stage.look("select from procrastinate_workers where id = %s", [worker])
        assert (beat.sqlstate == "PQ004") == (not alive), run
        assert set(run.sqlstates()) <= {"PQ004"}, run
        if alive:
            assert len(beat.rows) == 1, run
        else:
            queue.stage.look("select procrastinate_recover_stalled_jobs()")
        queue.ends_well(run)


@pytest.mark.parametrize("gone", ["prune", "unregister"])
def test_a_fetch_beside_the_end_of_its_own_worker_leaves_no_orphan(
    queue: Scene, gone: str
) -> None:
    """A job in doing under a worker that is gone would never be found."""
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", None])
        queue.stage.look(OLD.format(worker))

    lists = [
        transaction(
            "one", lambda: verbs.prune() if gone == "prune" else verbs.unregister(worker)
        ),
        transaction("two", lambda: verbs.fetch(worker, 2)),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert lists[1][1] not in run.waited, run
        fetch = run.of(lists[1][1])
        assert fetch.sqlstate in {None, "PQ004"}, run
        orphans = queue.stage.look(
            "select d.job_id from procrastinate_doing as d where d.worker_id is not null"
            " and not exists (select from procrastinate_workers as w where w.id = d.worker_id)"
        )
        assert not orphans, run
        if fetch.sqlstate is None:
            # it committed before the worker went: the jobs are found stalled
            assert len(claims_of(fetch)) == 2, run
            recovered = queue.stage.look("select procrastinate_recover_stalled_jobs()")
            assert len(recovered) == 2, run
        queue.ends_well(run)


def test_a_reply_lost_after_commit_is_found_by_the_heartbeat_and_given_back(
    queue: Scene,
) -> None:
    queue.reset(idle=False)
    worker = queue.worker()
    jobs = queue.defer("a", "a", "a", locks=["l", None, "l"])
    lost = queue.stage.session("lost")
    lost.run(verbs.fetch(worker, 2))  # the reply never came
    queue.stage.look("select pg_terminate_backend(%s)", [lost.pid])
    session = queue.stage.session("one")
    held = [
        harness.Claim(r["job_id"], r["claim_id"]) for r in session.run(verbs.heartbeat(worker))
    ]
    assert {claim.job_id for claim in held} == set(jobs[:2])
    queue.quiet()
    rows = session.run(verbs.release(worker, held))
    assert [row["outcome"] for row in rows] == ["released", "released"]
    attempts = queue.value("select max(attempts) from procrastinate_jobs")
    assert attempts == 0
    queue.idle.react()
    assert sorted(queue.idle.ran) == jobs
    assert queue.idle.ran.index(jobs[0]) < queue.idle.ran.index(jobs[2])
    queue.ends_well()


def test_a_fetch_whose_client_dies_before_the_commit_claims_nothing(queue: Scene) -> None:
    queue.reset()
    worker = queue.worker()
    jobs = queue.defer("a", "a", locks=["l", None])
    lost = queue.stage.session("lost")
    lost.begin()
    lost.run(verbs.fetch(worker, 2))
    queue.idle.react()
    assert queue.idle.come_back
    queue.stage.look("select pg_terminate_backend(%s, 10000)", [lost.pid])
    queue.idle.react()
    assert sorted(queue.idle.ran) == jobs
    queue.ends_well()


def test_of_two_periodic_defers_of_one_tick_one_defers(queue: Scene) -> None:
    defer = verbs.defer_periodic(1000)
    lists = [transaction("one", defer), transaction("two", defer)]
    for run in harness.permutations(
        queue.stage, *lists, setup=queue.reset, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        ids = [run.of(steps[1]).rows[0]["id"] for steps in lists]
        assert ids.count(None) == 1, run
        assert queue.value("select count(*) from procrastinate_jobs") == 1, run
        queue.ends_well(run)


def test_a_late_tick_is_not_deferred_again_while_a_newer_one_takes_its_place(
    queue: Scene,
) -> None:
    late = transaction("late", verbs.defer_periodic(1000))
    newer = transaction("newer", verbs.defer_periodic(2000))

    def setup() -> None:
        queue.reset()
        queue.stage.look(verbs.defer_periodic(1000))

    for run in harness.permutations(
        queue.stage, late, newer, setup=setup, after_each=queue.idle.react
    ):
        assert run.sqlstates() == [], run
        assert run.of(late[1]).rows[0]["id"] is None, run
        assert queue.value("select count(*) from procrastinate_jobs") == 2, run
        queue.ends_well(run)


def test_a_periodic_defer_that_rolls_back_leaves_its_tick_to_the_other(queue: Scene) -> None:
    defer = verbs.defer_periodic(1000)
    lists = [transaction("one", defer, end="rollback"), transaction("two", defer)]
    for run in harness.permutations(queue.stage, *lists, setup=queue.reset):
        deferred = run.of(lists[1][1])
        if lists[1][1] in run.waited or run.order.index(lists[0][2]) < run.order.index(
            lists[1][1]
        ):
            assert deferred.rows[0]["id"] is not None, run
        queue.ends_well(run)


# ---------------------------------------------------------------- users' transactions


def test_a_bulk_cancel_of_many_locks_beside_fetch_and_finish_waits_without_deadlock(
    queue: Scene,
) -> None:
    many = 3000  # locks; more than one statement may take keys for
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l0", "l1"])
        held[:] = queue.claim(worker, 2)
        queue.stage.look(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            f" select 'a', 't', 'l' || n from generate_series(0, {many - 1}) as n"
        )
        queue.quiet()

    cancel = "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
    one = transaction("one", cancel)
    two = transaction("two", lambda: verbs.finish(worker, held))
    for order in (one[:2] + two[:2] + one[2:] + two[2:], two[:2] + one[:2] + two[2:] + one[2:]):
        setup()
        run = harness.play(queue.stage, order)
        # it only tries the key for all locks; PQ007: it did not get it
        assert set(run.sqlstates()) <= {"PQ007"}, [
            s.error for s in run.statements if s.sqlstate
        ]
        if not run.sqlstates():
            assert queue.value("select count(*) from procrastinate_todo") == 0, run
        else:
            queue.stage.look(cancel)
        queue.ends_well(run)


def test_a_fetch_beside_a_bulk_cancel_of_many_locks_does_not_wait(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.stage.look(
            "insert into procrastinate_jobs (queue_name, task_name, lock)"
            " select 'a', 't', 'l' || n % 2900 from generate_series(1, 3000) as n"
        )

    cancel = "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
    one, two = transaction("one", cancel), transaction("two", lambda: verbs.fetch(worker, 5))
    for order in (one[:2] + two[:2] + one[2:] + two[2:], two[:2] + one[:2] + two[2:] + one[2:]):
        setup()
        run = harness.play(queue.stage, order)
        assert two[1] not in run.waited, run
        assert set(run.sqlstates()) <= {"PQ007"}, [
            s.error for s in run.statements if s.sqlstate
        ]
        if run.sqlstates():
            queue.stage.look(cancel)
        queue.ends_well(run)


def test_transactions_that_take_two_locks_in_opposite_orders_may_deadlock_and_no_more(
    queue: Scene,
) -> None:
    """I9: of such a pair one may get 40P01; neither is stuck and nothing is lost."""
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "m"])
        held[:] = queue.claim(worker, 2)
        queue.defer(*["a"] * 4, locks=["l", "m", "l", "m"])
        queue.quiet()

    def cancel(place: int) -> Callable[[], str]:
        return lambda: verbs.cancel(queue.jobs[-4:][place])

    lists = [
        transaction("one", cancel(0), cancel(1)),
        transaction("two", cancel(3), cancel(2)),
    ]
    seen: set[str] = set()
    for run in harness.permutations(
        queue.stage, *lists, setup=setup, after_each=queue.idle.react
    ):
        states = run.sqlstates()
        seen.update(states)
        # 25P02: the steps after the deadlock's error, in the same transaction
        assert states.count("40P01") <= 1, run
        assert set(states) <= {"40P01", "25P02"}, run
        queue.stage.look(verbs.finish(worker, held))
        queue.ends_well(run)


def test_ends_and_cancels_of_one_statement_each_never_deadlock(queue: Scene) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset()
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "m"])
        held[:] = queue.claim(worker, 2)
        queue.defer(*["a"] * 4, locks=["m", "l", "l", "m"])
        queue.quiet()

    lists = [
        transaction("one", lambda: verbs.finish(worker, list(reversed(held)))),
        transaction(
            "two", "update procrastinate_jobs set status = 'cancelled' where status = 'todo'"
        ),
        alone("three", "update procrastinate_jobs set priority = 3 where status = 'todo'"),
    ]
    for run in harness.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], [s.error for s in run.statements if s.sqlstate]
        queue.ends_well(run)


def test_a_second_job_of_a_held_lock_is_refused_entry_into_doing(queue: Scene) -> None:
    queue.reset()
    worker = queue.worker()
    queue.defer("a", "a", locks=["l", "l"])
    queue.claim(worker)
    start = f"update procrastinate_jobs set status = 'doing' where id = {queue.jobs[1]}"
    statement = queue.stage.session("one").start(start)
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        statement.result()
    assert caught.value.diag.constraint_name == LOCK
    queue.ends_well()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_finish_with_an_old_snapshot_is_healed_by_the_sweep(queue: Scene, level: str) -> None:
    queue.reset()
    worker = queue.worker()
    queue.defer("a", locks=["l"])
    held = queue.claim(worker)
    one = queue.stage.session("one")
    one.run(f"begin isolation level {level}")
    one.run("select from procrastinate_jobs")
    (waiting,) = queue.defer("a", locks=["l"])
    queue.idle.react()  # parks it
    one.run(verbs.finish(worker, held))
    one.commit()
    queue.stage.look(verbs.SWEEP)
    queue.idle.react()
    assert queue.status(waiting) == "succeeded"
    queue.ends_well()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_fetch_with_an_old_snapshot_is_refused_with_the_way_out(
    queue: Scene, level: str
) -> None:
    worker = queue.worker()
    one = queue.stage.session("one")
    one.run(f"begin isolation level {level}")
    statement = one.start(verbs.fetch(worker))
    with pytest.raises(psycopg.Error) as caught:
        statement.result()
    assert caught.value.sqlstate == "PQ005"
    assert "default_transaction_isolation" in (caught.value.diag.message_hint or "")
    one.rollback()
