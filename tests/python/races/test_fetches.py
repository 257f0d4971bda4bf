"""A fetch beside other fetches and other writers: what it takes, leaves and finds again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from tests.conftest import Connect
    from tests.python.races.scene import Scene


def test_two_fetches_share_what_is_ready_and_never_wait_or_take_a_job_twice(
    queue: Scene,
) -> None:
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.defer("a", "a", "a", "b", locks=["l", None, "l", None])

    lists = [
        script.transaction("one", lambda: verbs.fetch(workers[0], 3)),
        script.transaction("two", lambda: verbs.fetch(workers[1], 3)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert not run.waited, run
        assert run.sqlstates() == [], run
        claims = [
            claim
            for steps in lists
            for claim in harness.Exchange.of(run.of(steps[1]).rows).claims
        ]
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
        assert harness.Exchange.of(one.run(verbs.fetch(worker, 1))).claims[0].job_id == job
        queue.idle.react()
        assert queue.idle.come_back, "the row is held by another: contended"
        one.rollback()
        queue.idle.react()
        assert queue.idle.ran == [job]
        queue.ends_well()


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


def test_of_a_fetch_and_a_cancel_of_one_job_one_wins(queue: Scene) -> None:
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.defer("a", "a", locks=["l", "l"])

    lists = [
        script.alone("one", lambda: verbs.cancel(queue.jobs[0])),
        script.transaction("two", lambda: verbs.fetch(worker, 1)),
    ]
    outcomes: set[tuple[bool, bool]] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        cancelled = run.of(lists[0][0]).rows[0]["done"]
        fetched = [
            claim.job_id for claim in harness.Exchange.of(run.of(lists[1][1]).rows).claims
        ]
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
        claims = harness.Exchange.of(two.run(verbs.fetch(worker, 1))).claims
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
        script.transaction("one", verbs.pause("a")),
        script.transaction("two", lambda: verbs.fetch(worker, 5)),
    ]
    seen: set[int] = set()
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert not run.waited, run
        fetched = len(harness.Exchange.of(run.of(lists[1][1]).rows).claims)
        seen.add(fetched)
        paused_first = run.order.index(lists[0][2]) < run.order.index(lists[1][1])
        assert fetched == (1 if paused_first else 2), run
        queue.quiet()
        queue.stage.session("one").run(verbs.resume("a"))
        queue.ends_well(run)  # resume has woken the idle worker
    assert seen == {1, 2}


def test_marks_stay_below_what_another_holds_in_each_of_its_pairs(connect: Connect) -> None:
    conn, other = connect(), connect(autocommit=False)
    conn.execute(
        "insert into procrastinate_jobs (id, queue_name, task_name) values"
        " (901, 'a', 't'), (902, 'a', 't'), (903, 'b', 't'), (904, 'b', 't'),"
        " (905, 'c', 't'), (906, 'c', 't')"
    )
    conn.execute("update procrastinate_todo set state = 'a' where job_id >= 905")
    other.execute("select from procrastinate_jobs where id in (902, 903, 906) for update")

    found = conn.execute(
        "select p_job_ids, p_fresh, p_again, o_contended from _procrastinate_walk("
        # two that were the first to use a priority have left two pairs
        " '{a,a,b,b,c}', '{5,0,0,0,0}', '{999,1,1,1,1}', null, '{1,1,1,1,1}', '{}', 9, null)"
    ).fetchone()

    assert found == ([901, 904, 905], [999, 902, 903, 903, 1], [1, 1, 1, 1, 906], True)
