"""The queue in memory explains why a job does not run, and refuses what can't be meant."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from procrastinate import exceptions
from procrastinate.connectors.memory import refusals
from procrastinate.rpc import front, wire
from procrastinate.testing import InMemoryConnector

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def queue() -> InMemoryConnector:
    """A queue at noon."""
    queue = InMemoryConnector()
    queue.clock = lambda: NOON
    return queue


def defer(queue: InMemoryConnector, **options: Any) -> int:
    job_id = queue.call(front.defer_job(queue_name="q", task_name="t", **options))
    assert isinstance(job_id, int)
    return job_id


def gates(queue: InMemoryConnector, job_id: int) -> dict[str, tuple[bool, str | None]]:
    explained = queue.call(front.explain_job(job_id=job_id))
    return {each.gate: (each.is_open, each.detail) for each in explained}


def test_a_delayed_job_says_when_it_may_run(queue: InMemoryConnector) -> None:
    due = NOON + datetime.timedelta(hours=1)
    found = gates(queue, defer(queue, scheduled_at=due))

    assert found["status"][0]
    assert found["schedule"] == (False, f"It may run from {due} on.")
    assert found["lock"] == (True, "It has no lock.")
    assert found["workers"] == (False, "0 live workers serve queue q.")
    queue.clock = lambda: due
    assert gates(queue, 1)["schedule"][0]


def test_a_job_behind_a_lock_names_the_job_that_comes_first(queue: InMemoryConnector) -> None:
    due = NOON + datetime.timedelta(hours=1)
    first = defer(queue, lock="l", scheduled_at=due)
    second = defer(queue, lock="l")

    assert gates(queue, first)["lock"] == (True, "It is the next of the lock l.")
    assert gates(queue, second)["lock"] == (
        False,
        f"Job {first} of queue q comes first for the lock l, from {due}.",
    )


def test_a_paused_queue_says_since_when_until_when_and_why(queue: InMemoryConnector) -> None:
    job_id = defer(queue)
    until = NOON + datetime.timedelta(hours=2)
    queue.call(front.pause_queue(queue_name="q", reason="the relay is down", until=until))

    assert gates(queue, job_id)["queue"] == (
        False,
        f"Queue q is paused since {NOON} until {until}: the relay is down.",
    )


def test_a_job_that_runs_names_its_worker_and_says_whether_that_one_lives(
    queue: InMemoryConnector,
) -> None:
    job_id = defer(queue, lock="l")
    behind = defer(queue, lock="l")
    worker_id = queue.call(wire.register_worker_v2(name="ada"))
    queue.call(wire.fetch_jobs_v1(worker_id=worker_id, queues=None, limit=1))

    assert gates(queue, job_id)["worker"] == (
        True,
        f"Worker {worker_id} (ada) has run it since {NOON}; its last heartbeat was at {NOON}.",
    )
    assert gates(queue, behind)["lock"] == (
        False,
        f"Job {job_id} holds the lock l since {NOON}.",
    )
    assert gates(queue, behind)["workers"] == (True, "1 live workers serve queue q.")
    queue.clock = lambda: NOON + datetime.timedelta(minutes=1)
    assert not gates(queue, job_id)["worker"][0]
    queue.call(wire.unregister_worker_v2(worker_id=worker_id))
    assert (gates(queue, job_id)["worker"][1] or "").startswith("Its worker is gone")


def test_a_job_that_ended_tells_its_history(queue: InMemoryConnector) -> None:
    job_id = defer(queue)
    queue.call(front.cancel_job(job_id=job_id))

    explained = queue.call(front.explain_job(job_id=job_id))

    assert (explained[0].gate, explained[0].is_open) == ("status", False)
    assert [each.detail for each in explained if each.gate == "history"] == [
        f"deferred at {NOON}",
        f"cancelled at {NOON}",
    ]


@pytest.mark.parametrize(
    ("args", "kind"),
    [(None, "null"), (True, "boolean"), (1, "number"), (1.5, "number"), ("a", "string")],
)
def test_arguments_without_names_are_refused_by_their_kind(args: Any, kind: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=f"a JSON object, not {kind}"):
        refusals.check_args(args)


def test_a_list_of_arguments_is_an_array() -> None:
    with pytest.raises(exceptions.InvalidArgument, match="not array"):
        refusals.check_args([1])


@pytest.mark.parametrize(("limit", "named"), [(None, "null"), (-1, "-1"), (10_001, "10001")])
def test_a_number_of_jobs_that_nobody_can_fetch_is_refused(
    limit: int | None, named: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=f"to fetch is {named}"):
        refusals.check_limit(limit)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3661, "01:01:01"), (-61, "-00:01:01"), (0.5, "00:00:00.5"), (360_000, "100:00:00")],
)
def test_intervals_are_written_as_postgresql_writes_them(seconds: float, text: str) -> None:
    assert refusals.interval_text(datetime.timedelta(seconds=seconds)) == text
    assert refusals.interval_text(None) == "null"


def test_a_report_needs_a_worker_and_an_end() -> None:
    with pytest.raises(exceptions.InvalidArgument, match="worker's id is null"):
        refusals.check_report(None)
    with pytest.raises(exceptions.InvalidArgument, match="End status"):
        refusals.check_report(1, ["todo"])
