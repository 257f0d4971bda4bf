"""A key has one active job, and a group one that runs, whoever comes at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.python.races import harness, script, verbs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.python.races.scene import Scene

KEY = "procrastinate_keys_pkey"
DEFER = "select procrastinate_defer_job('a', 't', key => 'k') as id"

# An hour later: the schedule is moved instead of the clock, and nothing is derived from it.
AN_HOUR_LATER = """
with unheard as materialized (
    select set_config('procrastinate.derived', pg_trigger_depth()::text, true)
),
jobs as (
    update procrastinate_jobs as j set scheduled_at = j.scheduled_at - interval '1 h'
    from unheard where j.scheduled_at is not null
)
update procrastinate_todo as t set scheduled_at = t.scheduled_at - interval '1 h'
from unheard where t.scheduled_at is not null
"""


def try_defer(keys: Sequence[str | None], queueing_locks: Sequence[str | None] = ()) -> str:
    n = len(keys)
    return (
        "select * from procrastinate_try_defer_jobs_v2("
        f"{verbs.array(['a'] * n, 'text')}, {verbs.array(['t'] * n, 'text')}, '{{}}', '{{}}',"
        f" {verbs.array(queueing_locks, 'text')}, '{{}}', '{{}}', (select array_agg("
        f"jsonb_strip_nulls(jsonb_build_object('key', k)) order by nr) from unnest("
        f"{verbs.array(keys, 'text')}) with ordinality as x (k, nr)))"
    )


def members(count: int, *, delayed: bool) -> str:
    at = "procrastinate_now() + interval '30 min'" if delayed else "null::timestamptz"
    return (
        "select procrastinate_defer_job('a', 't', group_key => 'g',"
        f" scheduled_at => {at}) as id from generate_series(1, {count})"
    )


def an_hour_passes(queue: Scene) -> None:
    queue.stage.look(AN_HOUR_LATER)
    queue.stage.look("delete from races_audit where old_scheduled_at <> new_scheduled_at")


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_defers_with_one_key_only_one_wins(queue: Scene, end: str) -> None:
    lists = [script.transaction("one", DEFER, end=end), script.transaction("two", DEFER)]
    for run in script.permutations(queue.stage, *lists, setup=queue.reset):
        first, second = run.of(lists[0][1]), run.of(lists[1][1])
        for statement in (first, second):
            if statement.sqlstate:
                assert isinstance(statement.error, psycopg.errors.UniqueViolation)
                assert statement.error.diag.constraint_name == KEY
        committed = (end == "commit" and not first.sqlstate) + (not second.sqlstate)
        count = queue.value("select count(*) from procrastinate_jobs")
        assert count == committed, run
        assert count == 1 or (end == "rollback" and count == 0), run
        queue.ends_well(run)


def test_a_key_is_free_once_the_end_of_its_job_is_committed(queue: Scene) -> None:
    held: list[harness.Claim] = []
    worker = 0

    def setup() -> None:
        nonlocal worker
        queue.reset(idle=False)
        worker = queue.worker()
        queue.stage.look(DEFER)
        held[:] = queue.claim(worker)

    lists = [
        script.transaction("one", lambda: verbs.finish(worker, held)),
        script.transaction("two", DEFER),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        second = run.of(lists[1][1])
        ended_first = run.order.index(lists[0][2]) < run.order.index(lists[1][1])
        waited = lists[1][1] in run.waited
        assert (second.sqlstate is None) == (ended_first or waited), run
        assert run.sqlstates() in ([], ["23505"]), run
        queue.ends_well(run)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (try_defer(["x", "y"]), try_defer(["y", "x"])),
        (try_defer(["x", "y"], ["p", "q"]), try_defer(["y", "x"], ["q", "p"])),
        (try_defer(["x", "y"], ["p", "q"]), try_defer(["y", "x"], ["p", "q"])),
        (try_defer([None, "x"], ["p", None]), try_defer(["x", None], [None, "p"])),
    ],
)
def test_batches_that_want_the_same_keys_and_queueing_locks_do_not_wait_in_a_circle(
    queue: Scene, one: str, two: str
) -> None:
    lists = [script.transaction("one", one), script.transaction("two", two)]
    for run in script.permutations(queue.stage, *lists, setup=lambda: queue.reset(idle=False)):
        assert run.sqlstates() == [], run
        rows = [row for steps in lists for row in run.of(steps[1]).rows]
        deferred = [row["job_id"] for row in rows if row["job_id"] is not None]
        assert len(deferred) == queue.value("select count(*) from procrastinate_jobs"), run
        assert all((row["job_id"] is None) == (row["reason"] is not None) for row in rows), run
        queue.ends_well(run)


@pytest.mark.parametrize("delayed", [False, True])
def test_of_a_group_one_job_runs_whoever_fetches_at_the_same_time(
    queue: Scene, delayed: bool
) -> None:
    """Those that fall due are put in line by one of the fetches."""
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.stage.look(members(3, delayed=delayed))
        an_hour_passes(queue)

    lists = [
        script.transaction("one", lambda: verbs.fetch(workers[0], 3, ["a"])),
        script.transaction("two", lambda: verbs.fetch(workers[1], 3, ["a"])),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert not run.waited, run
        assert run.sqlstates() == [], run
        assert queue.value("select count(*) from procrastinate_doing") == 1, run
        queue.ends_well(run)
        assert queue.value("select count(*) from procrastinate_todo") == 0, run


def test_a_job_of_a_group_that_falls_due_beside_the_end_of_another_loses_no_wake_up(
    queue: Scene,
) -> None:
    held: list[harness.Claim] = []
    workers: list[int] = []

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.stage.look(members(1, delayed=False))
        held[:] = queue.claim(workers[0])
        queue.stage.look(members(2, delayed=True))
        an_hour_passes(queue)

    lists = [
        script.transaction("one", lambda: verbs.finish_and_fetch(workers[0], held, 2)),
        script.transaction("two", lambda: verbs.fetch(workers[1], 2)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert lists[1][1] not in run.waited, run
        assert run.sqlstates() == [], run
        assert queue.value("select count(*) from procrastinate_doing") <= 1, run
        queue.ends_well(run)
        assert queue.value("select count(*) from procrastinate_todo") == 0, run


def test_a_result_is_kept_only_of_a_claim_that_ends(queue: Scene) -> None:
    """The job is recovered, and claimed by another, beside the late report of the first."""
    held: list[harness.Claim] = []
    workers: list[int] = []

    def report() -> str:
        claim = held[0]
        return (
            f"select * from procrastinate_finish_and_fetch_v2({workers[0]}, null::text[],"
            f" 0, null, array[{claim.job_id}::bigint], array[{claim.claim_id}::bigint],"
            " '{succeeded}', '{}', '{7}', '{}')"
        )

    def setup() -> None:
        queue.reset(idle=False)
        workers[:] = [queue.worker(), queue.worker()]
        queue.stage.look("select procrastinate_defer_job('a', 't', ttl => '0')")
        held[:] = queue.claim(workers[0])

    lists = [
        script.transaction("one", report),
        script.transaction("two", lambda: verbs.release(workers[0], held)),
    ]
    for run in script.permutations(queue.stage, *lists, setup=setup):
        assert run.sqlstates() == [], run
        outcomes = [row["outcome"] for row in run.of(lists[0][1]).rows]
        kept = queue.value("select count(*) from procrastinate_results where result = '7'")
        assert kept == ("not_held" not in outcomes), run
        queue.ends_well(run)
