"""Jobs as values."""

from __future__ import annotations

import datetime
import json
from typing import Any

import attrs
import pytest

from procrastinate import jobs

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def a_job(**kwargs: Any) -> jobs.Job:
    defaults: dict[str, Any] = {
        "id": 3,
        "queue": "q",
        "lock": None,
        "queueing_lock": None,
        "task_name": "t",
        "task_kwargs": {"a": 1, "b": "x"},
    }
    return jobs.Job(**{**defaults, **kwargs})


def test_a_job_takes_its_fields_by_name_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        jobs.Job(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_a_job_needs_a_queue_the_locks_and_a_task_and_nothing_else() -> None:
    required = [
        field.name for field in attrs.fields(jobs.Job) if field.default is attrs.NOTHING
    ]

    assert required == ["queue", "lock", "queueing_lock", "task_name"]


def test_a_job_can_not_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        a_job().id = 4  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_the_status_is_a_string_and_the_enumeration_does_not_equal_it() -> None:
    todo: object = jobs.Status.TODO

    assert jobs.Status.TODO.value == "todo"
    assert todo != "todo"


def test_the_words_and_defaults_are_those_of_3_x() -> None:
    assert [status.value for status in jobs.Status] == [
        "todo",
        "doing",
        "succeeded",
        "failed",
        "cancelled",
        "aborting",
        "aborted",
    ]
    assert [when.value for when in jobs.DeleteJobCondition] == ["never", "successful", "always"]
    assert (jobs.DEFAULT_QUEUE, jobs.DEFAULT_PRIORITY) == ("default", 0)


def test_a_naive_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Timezone aware datetime is required$"):
        a_job(scheduled_at=MOMENT.replace(tzinfo=None))


def test_a_row_becomes_a_job() -> None:
    row = {
        "id": 1,
        "status": "doing",
        "queue_name": "a",
        "task_name": "b",
        "priority": 7,
        "lock": "l",
        "queueing_lock": "ql",
        "args": {"x": 1},
        "scheduled_at": MOMENT,
        "attempts": 2,
        "abort_requested": True,
        "worker_id": 4,
        "a column of a later version": 0,
    }

    assert jobs.Job.from_row(row) == jobs.Job(
        id=1,
        status="doing",
        queue="a",
        task_name="b",
        priority=7,
        lock="l",
        queueing_lock="ql",
        task_kwargs={"x": 1},
        scheduled_at=MOMENT,
        attempts=2,
        abort_requested=True,
        worker_id=4,
    )


def test_a_row_without_worker_and_abort_request_becomes_a_job() -> None:
    row: dict[str, Any] = {
        "id": 1,
        "status": "todo",
        "queue_name": "a",
        "task_name": "b",
        "priority": 0,
        "lock": None,
        "queueing_lock": None,
        "args": {},
        "scheduled_at": None,
        "attempts": 0,
    }

    job = jobs.Job.from_row(row)

    assert (job.abort_requested, job.worker_id) == (False, None)


def test_the_call_string_reads_like_a_call() -> None:
    assert a_job().call_string == "t[3](a=1, b='x')"
    assert a_job(id=None, task_kwargs={}).call_string == "t[None]()"


def test_the_call_string_is_no_field() -> None:
    job = a_job()
    assert job.call_string

    assert "call_string" not in job.asdict()
    assert job.evolve(id=5).call_string == "t[5](a=1, b='x')"


def test_the_log_context_is_the_fields_as_json_and_the_call_string() -> None:
    job = a_job(scheduled_at=MOMENT, status="todo")

    assert job.log_context() == {
        **job.asdict(),
        "scheduled_at": "2030-01-01T00:00:00+00:00",
        "call_string": "t[3](...)",
        "task_kwargs": {"a": "...", "b": "..."},
    }


def test_options_are_told_only_of_a_job_that_has_any() -> None:
    job = a_job(options=jobs.JobOptions(timeout=2, key="k"))

    assert job.asdict()["options"] == {"timeout": 2, "key": "k"}
    assert json.loads(json.dumps(job.log_context()))["options"] == {"timeout": 2, "key": "k"}
    assert "options" not in a_job().asdict()
    assert "options" not in a_job().log_context()


def test_options_as_json_are_those_that_are_set() -> None:
    options = jobs.JobOptions(ttl=0, retry_jitter=False, meta={})

    assert options.as_json() == {"ttl": 0, "retry_jitter": False, "meta": {}}
    assert jobs.JobOptions.from_json(options.as_json()) == options
    assert jobs.JobOptions().as_json() == {}


def test_options_of_a_later_version_are_ignored() -> None:
    assert jobs.JobOptions.from_json({"timeout": 2, "new": 1}) == jobs.JobOptions(timeout=2)


def test_jobs_are_in_order_whatever_their_options() -> None:
    first, second = a_job(id=1, options=jobs.JobOptions(ttl=0)), a_job(id=1)

    assert not first < second
    assert not second < first


def test_the_log_context_of_a_job_without_schedule_has_none() -> None:
    assert a_job().log_context()["scheduled_at"] is None


def test_evolving_changes_a_copy() -> None:
    job = a_job()

    assert job.evolve(id=4) == a_job(id=4)
    assert job.id == 3


def test_each_job_has_arguments_of_its_own() -> None:
    first = jobs.Job(queue="q", lock=None, queueing_lock=None, task_name="t")
    second = jobs.Job(queue="q", lock=None, queueing_lock=None, task_name="t")

    assert first.task_kwargs == {}
    assert first.task_kwargs is not second.task_kwargs
