"""
A worker that was quiet goes to sleep while somebody writes.

Workers that look by themselves are not notified. Before one of them sleeps it does four
things: it takes its word back, asks who may have gone by it, fetches, and fetches again as
those end. Here it does them in every order with each transaction that makes a job runnable,
and a statement of its own that is stopped at each of its points. `test_without…` leaves one
thing out at a time, and sees a job that nobody was told of.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest

from tests.python.races import harness, points, scene, script, verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.python.races.scene import Scene

Step = script.Step

TAKE_BACK, ASK, FETCH = "take back", "ask", "fetch"
PROTOCOL = (TAKE_BACK, ASK, FETCH)

OVERDUE = "2020-01-01"
OLD_SNAPSHOT = "begin isolation level repeatable read; select 1 from procrastinate_workers"


@attrs.define
class GoesToSleep:
    """
    The idle worker of a scene, which is quiet and about to sleep.

    Parameters
    ----------
    queue
        Its scene.
    steps
        What it does before it sleeps, in this order.
    heeds_writers
        Whether it fetches again when those end whom it asked for.
    """

    queue: Scene
    steps: Sequence[str] = PROTOCOL
    heeds_writers: bool = True
    held: harness.Claim = attrs.field(default=harness.Claim(0, 0), init=False)
    other: int = attrs.field(default=0, init=False)
    failed: int = attrs.field(default=0, init=False)
    waiting: list[int] = attrs.field(factory=list[int], init=False)

    def set_up(self) -> None:
        """
        Nothing may run; of lock l one job does, and another waits for it; one waits for 2090.
        """
        queue = self.queue
        queue.reset(idle=False)
        self.other = queue.worker()
        queue.defer("a")
        queue.stage.look(verbs.finish(self.other, queue.claim(self.other), "failed"))
        self.failed = queue.jobs[0]
        queue.defer("a", locks=["l"])
        (self.held,) = queue.claim(self.other)
        self.waiting = queue.defer(
            "a", "a", locks=["l", None], scheduled_ats=[None, "2090-01-01"]
        )
        queue.idle.react()
        queue.stage.look("update procrastinate_workers set quiet = true")
        queue.quiet()

    def texts(self) -> list[str]:
        worker = self.queue.idle.worker_id
        texts = {
            TAKE_BACK: verbs.set_quiet(worker, quiet=False),
            ASK: verbs.LIST_WRITERS,
            FETCH: verbs.fetch(worker, 10),
        }
        return [texts[step] for step in self.steps]

    def as_steps(self) -> list[Step]:
        return [
            Step(self.queue.idle.name, functools.partial(self._text, number), label=step)
            for number, step in enumerate(self.steps)
        ]

    def _text(self, number: int) -> str:
        return self.texts()[number]  # of the worker that is there when its turn comes

    def leaves(self, statements: Sequence[harness.Statement]) -> list[harness.Row]:
        """All transactions have ended, and it does what it owes: what nobody was told of."""
        idle = self.queue.idle
        mine = [statement for statement in statements if statement.session is idle.session]
        idle.heed(mine)
        for statement in mine:
            if statement.text == verbs.LIST_WRITERS and statement.rows and self.heeds_writers:
                idle.woken = True
        idle.react()
        return self.queue.stage.look(scene.RUNNABLE)

    def ends_well(self, run: script.Ran | scene.Explored) -> None:
        """Before anything else happens: an end of a job would wake it, and hide what is lost."""
        statements = run.statements if isinstance(run, script.Ran) else run.others
        left = self.leaves(statements)
        assert not left, f"{run}: nobody was told of {left}"
        self.queue.ends_well(run)


WRITERS: dict[str, Callable[[GoesToSleep], str]] = {
    "defer": lambda _: verbs.defer_one("a"),
    "defer with locks": lambda _: verbs.defer(
        "a", "a", locks=["m", "m"], queueing_locks=["p", "q"]
    ),
    "defer what is overdue": lambda _: verbs.defer("a", scheduled_ats=[OVERDUE]),
    "finish": lambda s: verbs.finish(s.other, [s.held]),
    "finish and fetch": lambda s: verbs.finish_and_fetch(s.other, [s.held], 0),
    "retry": lambda s: verbs.retry(s.other, [s.held]),
    "release": lambda s: verbs.release(s.other, [s.held]),
    "retry by id": lambda s: verbs.retry_by_id(s.failed),
    "reschedule": lambda s: verbs.reschedule(s.waiting[1], None),
    "change by hand": lambda s: (
        f"update procrastinate_jobs set lock = null where id = {s.waiting[0]}"
    ),
    "delete": lambda s: f"delete from procrastinate_jobs where id = {s.held.job_id}",
}


def orders(
    worker: GoesToSleep,
    writer: str,
    end: str = "commit",
    snapshot: str | None = None,
) -> Iterator[script.Ran]:
    steps = [Step("writer", end)]
    if snapshot is None:
        steps.insert(0, Step("writer", lambda: f"begin; {WRITERS[writer](worker)}", writer))
    else:
        steps.insert(0, Step("writer", snapshot))
        steps.insert(1, Step("writer", lambda: WRITERS[writer](worker), writer))
    yield from script.permutations(
        worker.queue.stage, steps, worker.as_steps(), setup=worker.set_up
    )


def losses(worker: GoesToSleep, runs: Iterator[script.Ran]) -> list[str]:
    """The orders in which a job was left that nobody was told of."""
    lost: list[str] = []
    for run in runs:
        assert run.sqlstates() == [], run
        if worker.leaves(run.statements):
            lost.append(repr(run))
    return lost


@pytest.mark.parametrize("writer", WRITERS)
def test_whoever_writes_while_a_quiet_worker_goes_to_sleep_is_heard_or_waited_for(
    queue: Scene, writer: str
) -> None:
    worker = GoesToSleep(queue)
    for run in orders(worker, writer):
        assert run.sqlstates() == [], run
        worker.ends_well(run)


def test_a_defer_that_is_rolled_back_leaves_the_worker_asleep_and_well(queue: Scene) -> None:
    worker = GoesToSleep(queue)
    for run in orders(worker, "defer", end="rollback"):
        worker.ends_well(run)


def test_a_writer_with_an_old_snapshot_announces_all(queue: Scene) -> None:
    worker = GoesToSleep(queue)
    for run in orders(worker, "defer", snapshot=OLD_SNAPSHOT):
        worker.ends_well(run)
    worker.set_up()
    session = queue.stage.session("writer")
    session.run(OLD_SNAPSHOT)
    session.run(verbs.defer_one("a"))
    session.commit()
    queue.idle.hear()
    assert queue.idle.woken


@pytest.mark.parametrize(
    ("writer", "every"), [("defer", 1), ("defer with locks", 2), ("finish", 2), ("retry", 4)]
)
def test_a_statement_stopped_anywhere_is_heard_or_waited_for(
    queue: Scene, writer: str, every: int
) -> None:
    worker = GoesToSleep(queue)
    points.instrument(queue.stage.watcher)
    places = 0
    for run in stopped(worker, writer, every):
        assert not run.first.sqlstate, run
        worker.ends_well(run)
        places += 1
    assert places > 5  # it was stopped at all


def stopped(worker: GoesToSleep, writer: str, every: int = 1) -> Iterator[scene.Explored]:
    def setup() -> tuple[str, list[tuple[str, str]]]:
        worker.set_up()
        return WRITERS[writer](worker), [(worker.queue.idle.name, t) for t in worker.texts()]

    yield from scene.explore(worker.queue, setup, after_each=lambda: None, every=every)


@pytest.mark.parametrize(
    ("steps", "heeds_writers"),
    [
        pytest.param((FETCH, TAKE_BACK, ASK), True, id="the fetch after it"),
        pytest.param((ASK, TAKE_BACK, FETCH), True, id="the question after its word"),
        pytest.param(PROTOCOL, False, id="the fetch when they have ended"),
    ],
)
def test_without_any_one_step_a_job_is_left(
    queue: Scene, steps: Sequence[str], heeds_writers: bool
) -> None:
    worker = GoesToSleep(queue, steps, heeds_writers)
    assert losses(worker, orders(worker, "defer"))


def test_without_the_writers_look_at_its_isolation_a_job_is_left(queue: Scene) -> None:
    rewrite(queue, "_procrastinate_tell", "= 'read committed'", "<> ''")
    worker = GoesToSleep(queue)
    assert losses(worker, orders(worker, "defer", snapshot=OLD_SNAPSHOT))


def test_without_a_look_after_the_lock_on_todo_a_job_is_left(queue: Scene) -> None:
    """The writer looks when its trigger begins, and goes by that when it has written."""
    rewrite(
        queue,
        "_procrastinate_jobs_inserted",
        "    if v_plain and not v_nested then",
        "    v_ok := (select min(w.quiet::text)::boolean from procrastinate_workers as w);\n"
        "    if v_plain and not v_nested then",
    )
    rewrite(
        queue,
        "_procrastinate_jobs_inserted",
        "        v_ok := _procrastinate_tell(v_queue, v_priority, v_first);\n",
        "        v_ok := v_ok or _procrastinate_tell(v_queue, v_priority, v_first);\n",
    )
    worker = GoesToSleep(queue)
    points.instrument(queue.stage.watcher)
    lost = [run.place for run in stopped(worker, "defer") if worker.leaves(run.others)]
    assert lost


def rewrite(queue: Scene, function: str, old: str, new: str) -> None:
    """Break a function in the test's own database."""
    definition: str = queue.stage.look_value(
        f"select pg_get_functiondef('{function}'::regproc) as definition"
    )
    assert definition.count(old) == 1, definition
    queue.stage.look(definition.replace(old, new))


def test_what_is_written_while_all_are_quiet_is_told_to_nobody(queue: Scene) -> None:
    worker = GoesToSleep(queue)
    worker.set_up()
    queue.defer("a")
    queue.idle.hear()
    assert not queue.idle.woken


@pytest.mark.parametrize(
    "register",
    [
        "select worker_id from procrastinate_register_worker_v1()",
        "insert into procrastinate_workers default values",
        "select procrastinate_register_worker_v2(p_queues => '{a}')",
    ],
    ids=["3.x", "3.x by hand", "another language"],
)
def test_one_worker_that_does_not_know_of_quiet_is_enough_to_announce_all(
    queue: Scene, register: str
) -> None:
    worker = GoesToSleep(queue)
    worker.set_up()
    queue.stage.look(register)
    queue.defer("a")
    queue.idle.hear()
    assert queue.idle.woken


@pytest.mark.parametrize("dies_after", range(len(PROTOCOL) + 1))
@pytest.mark.parametrize("asleep", [True, False], ids=["beside a sleeper", "alone"])
def test_a_worker_killed_on_its_way_to_sleep_takes_no_job_along(
    queue: Scene, dies_after: int, asleep: bool
) -> None:
    """Another one sleeps already, or is started when the job is there."""
    dying = GoesToSleep(queue)
    dying.set_up()
    dead = queue.stage.session("dying")
    other = queue.worker()
    queue.stage.look(verbs.set_quiet(other, quiet=True))
    if asleep:
        queue.stage.look(verbs.set_quiet(queue.idle.worker_id, quiet=False))
    texts = {
        TAKE_BACK: verbs.set_quiet(other, quiet=False),
        ASK: verbs.LIST_WRITERS,
        FETCH: verbs.fetch(other, 10),
    }
    for step in PROTOCOL[:dies_after]:
        dead.run(texts[step])
    queue.stage.look("select pg_terminate_backend(%s)", [dead.pid])
    queue.defer("a")
    if not asleep:
        queue.idle.register()
    queue.ends_well()


def test_a_worker_pruned_in_its_sleep_is_told_under_its_new_row(queue: Scene) -> None:
    worker = GoesToSleep(queue)
    worker.set_up()
    queue.stage.look(verbs.set_quiet(queue.idle.worker_id, quiet=False))
    queue.stage.look(verbs.unregister(queue.idle.worker_id))
    queue.defer("a")  # the other worker is quiet: nobody is told
    queue.idle.register()
    queue.idle.react()
    queue.quiet()
    queue.defer("a")
    queue.ends_well()


def test_a_prepared_transaction_is_waited_for(queue: Scene) -> None:
    """It has no session, and holds its lock until somebody commits it."""
    if queue.stage.look_value("show max_prepared_transactions") == "0":
        pytest.skip("the server prepares no transactions: max_prepared_transactions is 0")
    worker = GoesToSleep(queue)
    worker.set_up()
    writer = queue.stage.session("writer")
    texts = dict(zip(PROTOCOL, worker.texts(), strict=True))
    writer.run(f"begin; {verbs.defer_one('a')}; prepare transaction 'deferred'")

    before = queue.stage.look(verbs.LIST_WRITERS)
    queue.stage.look(texts[TAKE_BACK])
    (asked,) = queue.stage.look(texts[ASK])
    queue.stage.look(texts[FETCH])
    writer.run("commit prepared 'deferred'")

    assert before == [asked]
    assert asked["pid"] is None
    assert queue.stage.look(verbs.LIST_WRITERS) == []
    queue.idle.hear()
    assert not queue.idle.woken  # nobody was told: only the list of writers leads to the job
    assert len(queue.stage.look(scene.RUNNABLE)) == 1


def test_a_transaction_that_has_to_tell_somebody_is_not_prepared(queue: Scene) -> None:
    """PostgreSQL refuses it, and the job is not there: the caller hears of it."""
    if queue.stage.look_value("show max_prepared_transactions") == "0":
        pytest.skip("the server prepares no transactions: max_prepared_transactions is 0")
    worker = GoesToSleep(queue)
    worker.set_up()
    queue.stage.look(verbs.set_quiet(queue.idle.worker_id, quiet=False))
    before = queue.stage.look_value("select count(*) as jobs from procrastinate_jobs")

    with pytest.raises(psycopg.errors.FeatureNotSupported, match="NOTIFY"):
        queue.stage.look(f"begin; {verbs.defer_one('a')}; prepare transaction 'deferred'")

    assert queue.stage.look_value("select count(*) as jobs from procrastinate_jobs") == before
