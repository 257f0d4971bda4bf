"""Corners that random commands seldom reach: the memory connector answers as PostgreSQL does."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs
import pytest

from procrastinate import SyncPsycopgConnector, exceptions, jobs
from procrastinate.connector import BaseConnector
from procrastinate.rpc import defers, front, listing, old_wire, values, wire
from procrastinate.rpc.call import Call
from procrastinate.testing import InMemoryConnector

AGO = datetime.timedelta(0)
HOUR = datetime.timedelta(hours=1)
NOTHING: Any = None  # where a caller that no type checker saw forgot a value

#: Kind and message of an error.
Refusal: TypeAlias = tuple[type[Exception], str]


@attrs.define
class Side:
    """A queue of its own, with a worker."""

    connector: BaseConnector
    worker_id: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.worker_id = self.connector.call(wire.register_worker_v2(name="w", queues=["q"]))

    def call(self, call: Call[Any]) -> Any:
        return self.connector.call(call)

    def defer(self, **options: Any) -> int:
        fields: dict[str, Any] = {"queue": "q", "task_name": "t"}
        fields |= {"lock": None, "queueing_lock": None}
        (job_id,) = self.call(
            defers.defer_jobs_v3(new_jobs=[jobs.Job(**{**fields, **options})])
        )
        return int(job_id)

    def claim(self, **options: Any) -> values.ClaimedJob:
        self.defer(**options)
        call = wire.fetch_jobs_v1(worker_id=self.worker_id, queues=None, limit=1)
        (claimed,) = self.call(call).claimed
        return claimed  # type: ignore[no-any-return]  # whatever the call is

    def status(self, job_id: int | None) -> str:
        assert job_id is not None
        return str(self.call(listing.get_job_status(job_id=job_id)))

    def tried(self, call: Callable[[], Call[Any]]) -> Any:
        try:
            return self.call(call())
        except exceptions.ConnectorException as exc:
            return type(exc), str(exc)


@pytest.fixture
def sides(dsn: str) -> Iterator[list[Side]]:
    database = SyncPsycopgConnector(conninfo=dsn, min_size=1, max_size=1)
    database.open()
    yield [Side(InMemoryConnector()), Side(database)]
    database.close()


def same(sides: list[Side], act: Callable[[Side], Any]) -> Any:
    """What both make of it."""
    in_memory, in_database = (act(side) for side in sides)
    assert in_memory == in_database
    return in_memory


def retry_of(claimed: values.ClaimedJob, **options: Any) -> wire.Retry:
    assert claimed.job.id is not None
    return wire.Retry(
        job_id=claimed.job.id, claim_id=claimed.claim_id, **{"retry_at": None, **options}
    )


def test_a_job_is_given_back_by_the_claim_that_holds_it_and_by_none_else(
    sides: list[Side],
) -> None:
    def act(side: Side) -> Any:
        claimed = side.claim()
        claims = [(claimed.job.id or 0, claimed.claim_id + 1), (99, 1)]
        release = wire.release_jobs_v1(worker_id=side.worker_id, claims=claims)
        strange = side.call(release)
        claims = [(claimed.job.id or 0, claimed.claim_id)]
        return strange, side.call(wire.release_jobs_v1(worker_id=side.worker_id, claims=claims))

    strange, own = same(sides, act)

    assert [outcome.outcome for outcome in strange] == ["not_held"] * 2
    assert [(outcome.outcome, outcome.status) for outcome in own] == [("released", "todo")]


def test_a_retry_by_a_lost_claim_changes_nothing(sides: list[Side]) -> None:
    def act(side: Side) -> Any:
        claimed = side.claim()
        lost = claimed._replace(claim_id=claimed.claim_id + 1)
        retries = [retry_of(lost)]
        outcomes = side.call(wire.retry_jobs_v1(worker_id=side.worker_id, retries=retries))
        return outcomes, side.status(claimed.job.id)

    outcomes, status = same(sides, act)

    assert (outcomes[0].outcome, status) == ("not_held", "doing")


def test_a_delay_counts_from_the_moment_of_the_report(sides: list[Side]) -> None:
    delay = datetime.timedelta(hours=1)

    def act(side: Side) -> Any:
        claimed = side.claim()
        retries = [retry_of(claimed, retry_in=delay)]
        before = datetime.datetime.now(datetime.UTC)
        side.call(wire.retry_jobs_v1(worker_id=side.worker_id, retries=retries))
        (job,) = side.call(listing.list_jobs(id=claimed.job.id))
        assert job.scheduled_at is not None
        scheduled_at = job.scheduled_at
        after = datetime.datetime.now(datetime.UTC)
        return before + delay <= scheduled_at <= after + delay

    assert same(sides, act)


@pytest.mark.parametrize("queue", ["", "q" * 129, "other"])
def test_a_retry_goes_to_a_queue_that_can_be(sides: list[Side], queue: str) -> None:
    def act(side: Side) -> Any:
        retries = [retry_of(side.claim(), queue=queue)]
        return side.tried(lambda: wire.retry_jobs_v1(worker_id=side.worker_id, retries=retries))

    found = same(sides, act)

    assert (found[0] is exceptions.InvalidArgument) == (queue != "other")


def by_front(job_id: int) -> Call[Any]:
    return front.retry_job(job_id=job_id, queue_name="q" * 129)


def by_old_wire(job_id: int) -> Call[Any]:
    return old_wire.retry_job_v2(
        job_id=job_id, retry_at=NOTHING, priority=None, queue="q" * 129, lock=None
    )


@pytest.mark.parametrize("retry", [by_front, by_old_wire])
def test_a_retry_by_hand_to_a_queue_that_no_column_holds_is_refused(
    sides: list[Side], retry: Callable[[int], Call[Any]]
) -> None:
    def act(side: Side) -> Any:
        job_id = side.claim().job.id or 0
        side.call(old_wire.finish_job_v1(job_id=job_id, status="failed", delete=False))
        return side.tried(lambda: retry(job_id))[0], side.status(job_id)

    kind, status = same(sides, act)

    assert issubclass(kind, exceptions.ConnectorException)
    assert status == "failed"


def test_ticks_of_a_task_without_a_name_for_its_schedule_are_one_schedule(
    sides: list[Side],
) -> None:
    job = jobs.Job(queue="q", task_name="t", lock=None, queueing_lock=None)

    def act(side: Side) -> Any:
        return [
            side.call(
                defers.defer_periodic_job_v3(
                    job=job, periodic_id=periodic_id, defer_timestamp=60
                )
            )
            for periodic_id in (NOTHING, "")
        ]

    first, second = same(sides, act)

    assert (first is None, second) == (False, None)


@pytest.mark.parametrize("delete", [False, True])
def test_a_job_that_ends_may_be_deleted(sides: list[Side], delete: bool) -> None:
    def act(side: Side) -> Any:
        claimed = side.claim()
        end = wire.End(
            job_id=claimed.job.id or 0,
            claim_id=claimed.claim_id,
            status="succeeded",
            delete=delete,
        )
        side.call(wire.finish_jobs_v1(worker_id=side.worker_id, ends=[end]))
        waiting = side.defer()
        side.call(old_wire.finish_job_v1(job_id=waiting, status="failed", delete=delete))
        return [job.status for job in side.call(listing.list_jobs())]

    assert same(sides, act) == ([] if delete else ["succeeded", "failed"])


def test_a_failed_job_waits_again_unless_another_has_its_queueing_lock(
    sides: list[Side],
) -> None:
    def act(side: Side) -> Any:
        job_id = side.claim(queueing_lock="ql").job.id or 0
        side.call(old_wire.finish_job_v1(job_id=job_id, status="failed", delete=False))
        side.defer(queueing_lock="ql")
        return side.tried(lambda: front.retry_job(job_id=job_id))[0], side.status(job_id)

    assert same(sides, act) == (exceptions.UniqueViolation, "failed")


def test_a_failed_job_waits_again_unless_another_has_its_key(sides: list[Side]) -> None:
    def act(side: Side) -> Any:
        options = jobs.JobOptions(key="k")
        claimed = side.claim(options=options)
        end = wire.End(claimed.job.id or 0, claimed.claim_id, "failed")
        side.call(wire.finish_jobs_v1(worker_id=side.worker_id, ends=[end]))
        side.defer(options=options)
        one = side.tried(lambda: front.retry_job(job_id=claimed.job.id or 0))
        many = side.call(front.retry_jobs(filters=values.Filters(task_name="t")))
        return one[0], many, side.status(claimed.job.id)

    kind, many, status = same(sides, act)

    assert (kind, list(many.values())) == (exceptions.UniqueViolation, ["key_taken"])
    assert status == "failed"


def test_of_two_new_jobs_with_a_free_queueing_lock_the_first_has_it(
    sides: list[Side],
) -> None:
    def act(side: Side) -> Any:
        one = jobs.Job(queue="q", task_name="t", lock=None, queueing_lock="ql")
        first, second = side.call(defers.try_defer_jobs_v2(new_jobs=[one, one]))
        assert second.other_job_id == first.job_id  # whatever number it has
        return first.reason, second.job_id, second.reason, side.status(first.job_id)

    assert same(sides, act) == (None, None, "queueing_lock", "todo")


@pytest.mark.parametrize(
    "options", [{"timeout": 2e10}, {"retry_delay": -1.5}, {"ttl": -3e10}], ids=repr
)
def test_a_time_that_no_option_can_be_is_named_as_it_was_given(
    sides: list[Side], options: Any
) -> None:
    wrong = jobs.JobOptions(**options)
    kind, words = same(
        sides,
        lambda side: side.tried(
            lambda: front.defer_job(queue_name="q", task_name="t", options=wrong)
        ),
    )
    assert kind is exceptions.InvalidArgument
    assert words.startswith(f'The option "{next(iter(options))}" of a job cannot be ')


def test_only_a_waiting_job_gets_another_time(sides: list[Side]) -> None:
    def act(side: Side) -> Any:
        running, waiting = side.claim().job.id or 0, side.defer()
        at = datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)
        return [
            side.call(front.reschedule_job(job_id=job_id, scheduled_at=at))
            for job_id in (running, waiting)
        ]

    assert same(sides, act) == [False, True]


def test_the_holder_of_a_lock_is_found_among_others_that_run(sides: list[Side]) -> None:
    def act(side: Side) -> Any:
        side.claim(lock="other")
        side.claim()
        side.claim(lock="l")
        waiting = side.defer(lock="l")
        side.call(wire.register_worker_v2(name="elsewhere", queues=["r"]))
        gates = side.call(front.explain_job(job_id=waiting))
        return {gate.gate: (gate.is_open, gate.detail.split(" since ")[0]) for gate in gates}

    found = same(sides, act)

    assert not found["lock"][0]
    assert found["workers"] == (True, "1 live workers serve queue q.")


@pytest.mark.parametrize(
    "call",
    [
        lambda: defers.defer_periodic_job_v3(
            job=jobs.Job(queue="q", task_name="t", lock=None, queueing_lock=None),
            periodic_id="",
            defer_timestamp=NOTHING,
        ),
        lambda: defers.defer_jobs_v2(
            new_jobs=[jobs.Job(queue=NOTHING, task_name="t", lock=None, queueing_lock=None)]
        ),
        lambda: front.purge_jobs(older_than=HOUR, statuses=NOTHING),
        lambda: front.prune_stalled_workers(older_than=-HOUR),
        lambda: wire.sweep_v1(max_jobs=0),
        lambda: wire.sweep_v1(max_jobs=NOTHING),
    ],
)
def test_what_is_missing_or_less_than_nothing_is_refused(
    sides: list[Side], call: Callable[[], Call[Any]]
) -> None:
    kind, message = same(sides, lambda side: side.tried(call))

    assert kind is exceptions.InvalidArgument
    assert message


def test_jobs_of_a_dead_worker_are_given_back_and_finished_ones_purged(
    sides: list[Side],
) -> None:
    def act(side: Side) -> Any:
        ended, stalled = side.claim().job.id or 0, side.claim().job.id or 0
        side.call(old_wire.finish_job_v1(job_id=ended, status="succeeded", delete=False))
        side.call(wire.unregister_worker_v2(worker_id=side.worker_id))
        recovered = side.call(front.recover_stalled_jobs())
        return (
            recovered == [stalled],
            side.status(stalled),
            side.call(front.purge_jobs(older_than=AGO)),
        )

    assert same(sides, act)[:2] == (True, "todo")


def test_a_lock_that_another_job_holds_is_not_announced() -> None:
    memory = Side(InMemoryConnector())
    holder = memory.claim(lock="l")
    waiting = memory.defer(lock="l")

    memory.call(front.reschedule_job(job_id=waiting, scheduled_at=None))
    memory.call(front.cancel_job(job_id=waiting))

    assert memory.status(holder.job.id) == "doing"
    assert memory.status(waiting) == "cancelled"
