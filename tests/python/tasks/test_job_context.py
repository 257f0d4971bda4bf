"""What a running job is told about itself."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest

from procrastinate import App, JobContext, job_context, jobs
from procrastinate.connector import BaseConnector


def a_context(**kwargs: Any) -> JobContext:
    defaults: dict[str, Any] = {
        "app": App(connector=BaseConnector()),
        "job": jobs.Job(queue="q", lock=None, queueing_lock=None, task_name="t"),
        "start_timestamp": 1.0,
        "abort_reason": lambda: None,
    }
    return JobContext(**{**defaults, **kwargs})


def test_a_context_knows_its_task() -> None:
    context = a_context()
    task = context.app.task(name="t")(lambda: None)

    assert context.task is task


def test_a_context_shows_the_queues_of_its_worker() -> None:
    assert a_context().queues_display == "all queues"
    assert a_context(worker_queues=["a", "b"]).queues_display == "queues a, b"


@pytest.mark.parametrize("reason", job_context.AbortReason)
def test_a_job_should_abort_when_there_is_a_reason(reason: job_context.AbortReason) -> None:
    reasons: list[job_context.AbortReason] = []
    context = a_context(abort_reason=lambda: reasons[0] if reasons else None)
    assert not context.should_abort()

    reasons.append(reason)

    assert context.should_abort()
    assert context.abort_reason() is reason


def test_the_reasons_have_the_published_values() -> None:
    assert {reason.name: reason.value for reason in job_context.AbortReason} == {
        "USER_REQUEST": "user_request",
        "SHUTDOWN": "shutdown",
        "TIMEOUT": "timeout",  # 3.x had no timeouts
    }


def test_a_context_can_not_be_changed_but_copied_with_a_change() -> None:
    context = a_context()

    assert context.evolve(worker_name="me").worker_name == "me"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        context.worker_name = "me"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_each_context_has_additions_of_its_own() -> None:
    assert a_context().additional_context is not a_context().additional_context


def test_the_result_of_a_run_that_goes_on_has_a_duration_and_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 3.5)

    result = job_context.JobResult(start_timestamp=1.0)

    assert result.duration(current_timestamp=2.0) == 1.0
    assert result.as_dict() == {"start_timestamp": 1.0, "duration": 2.5}


def test_the_result_of_a_run_that_ended_says_when_and_what_came_of_it() -> None:
    result = job_context.JobResult(start_timestamp=1.0, end_timestamp=2.0, result=None)

    assert result.as_dict() == {
        "start_timestamp": 1.0,
        "duration": 1.0,
        "end_timestamp": 2.0,
        "result": None,
    }
