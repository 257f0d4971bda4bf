"""Each breach of what was promised is found in a made history that has it, and in no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tools.chaos import checker
from tools.chaos.ledger import Entry, Event, Row, State

Line = dict[str, Any]


def entry(job: int, claim: int | None, taken: bool, value: str | None = None) -> Entry:
    return Entry(hold="claim", taken=taken, job_id=job, claim_id=claim, value=value)


def place(job: int, taken: bool, value: str) -> Entry:
    return Entry(hold="place", taken=taken, job_id=job, value=value)


def ran(job: int, claim: int, task: str = "quick", how: str = "returned") -> list[Line]:
    return [
        {"what": "start", "job": job, "claim": claim, "task": task},
        {"what": "effect", "job": job, "claim": claim},
        {"what": "end", "job": job, "claim": claim, "how": how},
    ]


def ack(job: int, token: str) -> Line:
    return {"what": "ack", "ids": [job], "tokens": [token]}


def events(job: int, *types: str) -> list[Event]:
    """The events of a job; each attempt that ended counts."""
    made: list[Event] = []
    attempt = 0
    for what in types:
        attempt += what in checker.COUNTED
        made.append(Event(job_id=job, type=what, attempt=attempt))
    return made


#: Two jobs of one lock, the first of which was run twice: its first worker fell silent.
JOBS = (
    Row(id=1, task="quick", status="succeeded", attempts=2, token="a"),
    Row(id=2, task="quick", status="succeeded", attempts=1, token="b"),
)
EVENTS = (
    *events(1, "deferred", "started", "deferred_for_retry", "started", "succeeded"),
    *events(2, "deferred", "started", "succeeded"),
)
ENTRIES = (
    entry(1, 1, True, "lock"),
    entry(1, 1, False, "lock"),
    entry(1, 2, True, "lock"),
    entry(1, 2, False, "lock"),
    entry(2, 3, True, "lock"),
    entry(2, 3, False, "lock"),
)
HISTORY = (ack(1, "a"), ack(2, "b"), *ran(1, 1), *ran(1, 2), *ran(2, 3))
STATE = State(jobs=JOBS, events=EVENTS, entries=ENTRIES)


def found(history: Sequence[Line] = HISTORY, state: State = STATE) -> list[str]:
    """What kinds of breaches there are."""
    breaches = checker.examine(history, state).breaches
    return sorted({breach.split(":")[0] for breach in breaches})


def with_job(job: int, **changes: Any) -> State:
    jobs = [attrs.evolve(it, **changes) if it.id == job else it for it in JOBS]
    return attrs.evolve(STATE, jobs=jobs)


def test_a_history_as_it_should_be_has_no_breach_and_its_numbers_are_told() -> None:
    findings = checker.examine(HISTORY, STATE)

    assert findings.breaches == []
    assert (findings.acknowledged, findings.jobs) == (2, 2)
    assert (findings.runs, findings.repeats) == (3, 1)
    assert (findings.unacknowledged, findings.expected_failures) == (0, 0)


def test_a_run_that_the_task_asked_for_is_no_repeat() -> None:
    asked = (*HISTORY[:4], HISTORY[4] | {"how": "raised"}, *HISTORY[5:])
    final = (*HISTORY[:10], HISTORY[10] | {"how": "raised"})

    assert checker.examine(asked, STATE).repeats == 0
    assert checker.examine(final, with_job(2, task="doomed", status="failed")).repeats == 1


def test_a_job_without_an_answer_may_be_there() -> None:
    findings = checker.examine(HISTORY[1:], STATE)

    assert findings.breaches == []
    assert findings.unacknowledged == 1


def test_a_job_that_was_acknowledged_and_is_gone_is_lost() -> None:
    assert found((*HISTORY, ack(3, "c"))) == ["lost"]


def test_an_id_that_is_another_ones_is_mixed_up() -> None:
    assert found((ack(1, "b"), *HISTORY[1:])) == ["mixed up"]


def test_a_job_that_was_rolled_back_must_not_be_there() -> None:
    assert found((*HISTORY, {"what": "rolled_back", "tokens": ["a"]})) == ["rolled_back"]


def test_a_job_that_was_refused_must_not_be_there() -> None:
    assert found((*HISTORY, {"what": "refused", "tokens": ["b"]})) == ["refused"]


def test_a_job_that_was_deferred_once_must_not_be_there_twice() -> None:
    assert found(HISTORY[2:], with_job(2, token="a")) == ["doubled"]


def test_a_job_that_has_not_ended_is_stuck() -> None:
    assert found(state=with_job(2, status="todo")) == ["stuck"]


def test_a_claim_that_has_not_ended_is_stuck() -> None:
    assert found(state=attrs.evolve(STATE, entries=ENTRIES[:-1])) == ["stuck"]


def test_a_job_that_succeeded_has_had_its_effect() -> None:
    assert found([it for it in HISTORY if it.get("claim") != 3]) == ["no effect"]


def test_a_job_that_did_not_raise_does_not_fail() -> None:
    assert found(state=with_job(2, status="failed")) == ["wrong end"]


def test_a_job_that_raised_for_good_does_not_succeed() -> None:
    assert found(state=with_job(2, task="doomed")) == ["wrong end"]


def test_a_job_that_raised_for_good_fails() -> None:
    history = (*HISTORY, *ran(2, 3, how="raised")[2:])

    assert found(history, with_job(2, task="doomed", status="failed")) == []


def test_a_job_that_must_not_begin_twice_fails_with_its_worker_and_does_not() -> None:
    failed = with_job(2, task="pay", status="failed")
    gone = Event(job_id=2, type="failed", attempt=1, error="Its worker was gone or silent")
    told = attrs.evolve(failed, events=[*EVENTS[:-1], gone])

    assert found(HISTORY, told) == []
    assert found(HISTORY, failed) == ["wrong end"]
    twice = (*HISTORY[:5], *ran(1, 1, "pay"), *ran(1, 2, "pay"), *HISTORY[5:])
    assert "begun twice" in found(twice, with_job(1, task="pay"))


def test_a_job_that_can_not_wait_again_may_fail() -> None:
    failed = with_job(2, queueing_lock="place", status="failed")
    told = Event(job_id=2, type="failed", attempt=1, error="Not put back")

    assert found(HISTORY, attrs.evolve(failed, events=[*EVENTS[:-1], told])) == []


def test_a_result_is_what_the_task_returned() -> None:
    assert found(state=with_job(2, task="result", result={"token": "b"})) == []
    assert found(state=with_job(2, task="result", result={"token": "a"})) == ["wrong result"]


def test_attempts_are_the_runs_that_ended() -> None:
    assert found(state=with_job(1, attempts=1)) == ["attempts"]


def test_a_success_counts() -> None:
    uncounted = Event(job_id=2, type="succeeded", attempt=0)
    state = attrs.evolve(with_job(2, attempts=0), events=[*EVENTS[:-1], uncounted])

    assert found(state=state) == ["attempts"]


def test_an_attempt_that_never_started_is_found() -> None:
    without = [it for it in EVENTS if (it.job_id, it.type) != (2, "started")]

    assert found(state=attrs.evolve(STATE, events=without)) == ["attempts"]


def test_a_job_that_goes_back_without_having_run_counts_no_attempt() -> None:
    back = (
        Event(job_id=2, type="started"),
        Event(job_id=2, type="deferred_for_retry", attempt=0),
    )
    claim = (entry(2, 9, True, "lock"), entry(2, 9, False, "lock"))
    state = attrs.evolve(
        STATE,
        events=[*EVENTS[:-2], *back, *EVENTS[-2:]],
        entries=[*ENTRIES[:4], *claim, *ENTRIES[4:]],
    )

    assert found(state=state) == []


def test_two_owners_of_a_lock_at_once_are_found() -> None:
    overlap = (*ENTRIES[:3], ENTRIES[4], ENTRIES[3], ENTRIES[5])

    assert "two owners" in found(state=attrs.evolve(STATE, entries=overlap))


def test_two_owners_of_a_job_at_once_are_found() -> None:
    overlap = [entry(1, claim, taken) for claim, taken in ((1, True), (2, True), (2, False))]

    assert "two owners" in found(state=attrs.evolve(STATE, entries=[*overlap, *ENTRIES[4:]]))


def test_a_claim_that_was_ended_by_another_is_found() -> None:
    entries = (ENTRIES[0], entry(1, 9, False, "lock"), *ENTRIES[2:])

    assert found(state=attrs.evolve(STATE, entries=entries)) == ["ledger"]


def test_two_that_wait_with_one_queueing_lock_are_found() -> None:
    fine = (
        place(1, True, "p"),
        place(1, False, "p"),
        place(2, True, "p"),
        place(2, False, "p"),
    )
    both = (fine[0], fine[2], fine[1], fine[3])

    assert found(state=attrs.evolve(STATE, entries=[*ENTRIES, *fine])) == []
    assert "two owners" in found(state=attrs.evolve(STATE, entries=[*ENTRIES, *both]))


def test_a_run_on_a_claim_that_was_never_had_is_found() -> None:
    assert found((*HISTORY, *ran(2, 7))) == ["no claim"]
    assert found((*HISTORY, *ran(2, 1))) == ["no claim"]


def test_a_claim_that_was_run_twice_is_found() -> None:
    assert found((*HISTORY, *ran(2, 3))) == ["run twice"]


def test_what_the_database_says_of_itself_is_a_breach() -> None:
    assert found(state=attrs.evolve(STATE, breaches=["todo: row missing"])) == ["check"]
