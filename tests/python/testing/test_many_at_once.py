"""Calls that change many jobs at once, by filters, by task or by age."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from procrastinate import exceptions
from procrastinate.connectors.memory import many, transitions
from procrastinate.connectors.memory.store import Store

NOON = datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)

FILTERS: dict[str, Any] = {
    "queue_name": None,
    "task_name": None,
    "status": None,
    "lock": None,
    "queueing_lock": None,
    "older_than": None,
    "newer_than": None,
    "job_ids": None,
    "all_jobs": False,
    "dry_run": False,
    "after_id": 0,
    "max_jobs": 500,
}


@pytest.fixture
def store() -> Store:
    """The tables, with jobs 1 to 4."""
    store = Store(clock=lambda: NOON)
    defer(store, "a", queueing_lock="p")
    defer(store, "b", lock="l")
    defer(store, "a", lock="l")
    defer(store, "a")
    return store


def defer(
    store: Store, queue: str, *, lock: str | None = None, queueing_lock: str | None = None
) -> int:
    row = transitions.job_row(queue, f"t{queue}", 0, lock, queueing_lock, {}, None)
    (job_id,) = transitions.defer(store, [row])
    return job_id


def retire(store: Store, after_id: int) -> list[Any]:
    return list(many.retire_jobs(store, p_older_than=HOUR, p_after_id=after_id, p_max_jobs=2))


def set_status(store: Store, status: str, *job_ids: int) -> None:
    for job_id in job_ids:
        store.set_status(job_id=job_id, status="doing")
        if status != "doing":
            store.set_status(job_id=job_id, status=status)


def statuses(store: Store) -> dict[int, str]:
    return {job_id: job["status"] for job_id, job in store.jobs.items()}


def cancel(store: Store, **given: Any) -> list[Any]:
    options: dict[str, Any] = {**FILTERS, "abort": False, "delete_jobs": False, **given}
    return list(many.cancel_jobs(store, **options))


def retry(store: Store, **given: Any) -> list[Any]:
    return list(many.retry_jobs(store, **{**FILTERS, "retry_at": None, **given}))


def test_waiting_jobs_that_pass_all_filters_are_cancelled(store: Store) -> None:
    assert cancel(store, queue_name="a", lock="l") == [(3, "cancelled")]
    assert statuses(store) == {1: "todo", 2: "todo", 3: "cancelled", 4: "todo"}


def test_running_jobs_are_asked_to_abort_only_if_that_is_said(store: Store) -> None:
    set_status(store, "doing", 1)
    assert cancel(store, queue_name="a", delete_jobs=True) == [(3, "deleted"), (4, "deleted")]
    assert cancel(store, queue_name="a", abort=True) == [(1, "abort_requested")]
    assert store.jobs[1]["abort_requested"]


def test_a_dry_run_changes_nothing(store: Store) -> None:
    assert cancel(store, all_jobs=True, dry_run=True, after_id=1, max_jobs=2) == [
        (2, "matched"),
        (3, "matched"),
    ]
    assert set(statuses(store).values()) == {"todo"}


def test_failed_jobs_are_retried_unless_their_queueing_lock_is_taken(
    store: Store,
) -> None:
    set_status(store, "failed", 1, 2, 3)
    defer(store, "a", queueing_lock="p")
    assert retry(store, job_ids=[1, 2]) == [(1, "queueing_lock_taken"), (2, "retried")]
    assert statuses(store) == {1: "failed", 2: "todo", 3: "failed", 4: "todo", 5: "todo"}
    assert store.jobs[2]["scheduled_at"] == NOON
    assert retry(store, all_jobs=True, dry_run=True) == [(1, "matched"), (3, "matched")]


def test_a_running_job_that_was_asked_to_abort_fails_instead_of_being_retried(
    store: Store,
) -> None:
    set_status(store, "doing", 1, 4)
    cancel(store, job_ids=[1], abort=True)
    assert retry(store, status="doing", queue_name="a") == [(1, "failed"), (4, "retried")]


def test_an_age_is_that_of_the_status(store: Store) -> None:
    store.clock = lambda: NOON + 2 * HOUR
    set_status(store, "failed", 1)
    set_status(store, "doing", 2)
    assert retry(store, older_than=HOUR) == []
    assert retry(store, newer_than=HOUR, dry_run=True) == [(1, "matched")]
    assert cancel(store, older_than=HOUR, dry_run=True) == [(3, "matched"), (4, "matched")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs a filter"),
        ({"all_jobs": True, "max_jobs": 0}, "needs a number of jobs"),
        ({"all_jobs": True, "after_id": None}, "where to begin"),
        ({"all_jobs": True, "status": "aborted"}, "Only"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    store: Store, given: dict[str, Any], said: str
) -> None:
    for change in (cancel, retry):
        with pytest.raises(exceptions.InvalidArgument, match=said):
            change(store, **given)


def test_stalled_jobs_of_named_tasks_are_retried_until_they_had_their_attempts(
    store: Store,
) -> None:
    set_status(store, "doing", 1, 2, 4)
    store.jobs[4]["attempts"] = 1
    recovered = many.recover_jobs(
        store, p_older_than=HOUR, p_task_names=["ta"], p_max_attempts=[1], p_max_jobs=10
    )
    assert recovered == [(1, "retried", "todo"), (4, "failed", "failed")]
    assert statuses(store)[2] == "doing"
    assert store.events[4][-1]["error"] == "Its worker was gone or silent"
    with pytest.raises(exceptions.InvalidArgument, match="Recovering needs an age"):
        many.recover_jobs(
            store, p_older_than=-HOUR, p_task_names=[], p_max_attempts=[], p_max_jobs=1
        )


def test_a_pass_of_retention_ends_at_a_job_that_was_deferred_too_lately(
    store: Store,
) -> None:
    set_status(store, "succeeded", 1, 2)
    store.clock = lambda: NOON + 3 * HOUR
    set_status(store, "succeeded", 3)
    late = defer(store, "a")
    assert retire(store, 0) == [(2, 2)]
    assert retire(store, 2) == [(0, 4)]
    assert retire(store, 3) == [(0, None)]
    assert list(store.jobs) == [3, 4, late]
    with pytest.raises(exceptions.InvalidArgument, match="Retention needs an age"):
        many.retire_jobs(store, p_older_than=None, p_after_id=0, p_max_jobs=1)
