"""Is what was recorded, and what the database has in the end, what was promised?"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tools.chaos.ledger import Entry, Event, State
    from tools.chaos.record import Line

#: Events that say that an attempt has ended.
COUNTED = frozenset({"succeeded", "failed", "aborted", "deferred_for_retry"})


@attrs.frozen(kw_only=True)
class Findings:
    """What is wrong, and what is worth a number."""

    breaches: list[str]
    acknowledged: int
    jobs: int
    runs: int
    repeats: int
    """Runs that began beyond the attempts that a task asked for: what at least once costs."""
    unacknowledged: int
    """Jobs that are there though whoever deferred them got no answer."""
    expected_failures: int


def examine(history: Iterable[Line], state: State) -> Findings:
    """Compare what the processes recorded with what the database has."""
    lines = list(history)
    by_kind: dict[str, list[Line]] = collections.defaultdict(list)
    for line in lines:
        by_kind[line["what"]].append(line)
    breaches = [f"check: {breach}" for breach in state.breaches]
    breaches += _producers(by_kind, state)
    breaches += _ends(by_kind, state)
    breaches += _attempts(state)
    breaches += _holds(state.entries)
    breaches += _claims(by_kind, state.entries)
    acknowledged = {job_id for line in by_kind["ack"] for job_id in line["ids"]}
    final = {job.id for job in state.jobs if job.task == "doomed"}  # not tried again
    asked = sum(line["how"] == "raised" and line["job"] not in final for line in by_kind["end"])
    runs = len(by_kind["start"])
    ran = len({line["job"] for line in by_kind["start"]})
    return Findings(
        breaches=breaches,
        acknowledged=len(acknowledged),
        jobs=len(state.jobs),
        runs=runs,
        repeats=max(runs - ran - asked, 0),
        unacknowledged=len({job.id for job in state.jobs} - acknowledged),
        expected_failures=sum(job.status == "failed" for job in state.jobs),
    )


def _producers(by_kind: dict[str, list[Line]], state: State) -> Iterator[str]:
    """Yield what of the promises to those who defer was broken."""
    tokens = {job.id: job.token for job in state.jobs}
    times = collections.Counter(tokens.values())
    for line in by_kind["ack"]:
        for job_id, token in zip(line["ids"], line["tokens"], strict=True):
            if job_id not in tokens:
                yield f"lost: job {job_id} ({token}) was acknowledged and is not there"
            elif tokens[job_id] != token:
                yield f"mixed up: job {job_id} is {tokens[job_id]}, not {token}"
    for what in ("rolled_back", "refused"):
        for line in by_kind[what]:
            for token in line["tokens"]:
                if times[token]:
                    yield f"{what}: {token} is there"
    for token, number in times.items():
        if number > 1:
            yield f"doubled: {token} was deferred once and is there {number} times"


def _ends(by_kind: dict[str, list[Line]], state: State) -> Iterator[str]:
    """Yield jobs that have not ended, or ended otherwise than their runs did."""
    effects = {line["job"] for line in by_kind["effect"]}
    ends: dict[int, set[str]] = collections.defaultdict(set)
    for line in by_kind["end"]:
        ends[line["job"]].add(line["how"])
    stalled = {event.job_id for event in state.events if event.type == "failed" and event.error}
    for job in state.jobs:
        if job.status not in {"succeeded", "failed"}:
            yield f"stuck: job {job.id} ({job.task}) is {job.status}"
        elif job.status == "succeeded":
            if job.id not in effects:
                yield f"no effect: job {job.id} ({job.task}) succeeded and did nothing"
            if job.task == "doomed":
                yield f"wrong end: job {job.id} can't have succeeded"
            if job.task == "result" and job.result != {"token": job.token}:
                yield f"wrong result: job {job.id} has {job.result!r}"
        elif (
            not (job.task == "doomed" and "raised" in ends[job.id])
            # one that must not begin twice, whose worker has gone
            and not (job.task == "pay" and job.id in stalled)
            # it could not wait again, for another one did
            and not (job.queueing_lock and job.id in stalled)
        ):
            yield f"wrong end: job {job.id} ({job.task}) failed"
    for line in by_kind["start"]:
        if line["task"] == "pay":
            ends[line["job"]].add(f"start {line['claim']}")
    for job in state.jobs:
        if job.task == "pay":
            starts = sum(how.startswith("start") for how in ends[job.id])
            if starts > 1:
                yield f"begun twice: job {job.id} must not be, and was {starts} times"


def _attempts(state: State) -> Iterator[str]:
    """Yield jobs whose attempts are not the number of their runs that ended."""
    histories: dict[int, list[Event]] = collections.defaultdict(list)
    for event in state.events:
        histories[event.job_id].append(event)
    for job in state.jobs:
        counted = started = 0
        fault = ""
        for event in histories[job.id]:
            started += event.type == "started"
            if event.type not in COUNTED:
                continue
            # One that went back without having run is told of, and does not count.
            least = counted + (event.type == "succeeded")
            if event.attempt is None or not least <= event.attempt <= counted + 1:
                fault = f"after {counted} came {event.type} {event.attempt}"
            counted = event.attempt or 0
        if job.attempts != counted:
            fault = f"it has {job.attempts}"
        elif counted > started:
            fault = f"it has {counted}, and started {started} times"
        if fault:
            told = ", ".join(f"{e.type} {e.attempt}" for e in histories[job.id])
            yield f"attempts: job {job.id} ({job.task}, {job.status}): {fault}; {told}"


def _holds(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield locks, jobs and queueing locks that two had at once."""
    held: dict[tuple[str, object], Entry] = {}
    for entry in entries:
        things: list[tuple[str, object]] = [("job", entry.job_id)]
        if entry.hold == "place":
            things = [("queueing lock", entry.value)]
        elif entry.value is not None:
            things.append(("lock", entry.value))
        for thing in things:
            before = held.pop(thing, None)
            if not entry.taken:
                if before is None or before.claim_id != entry.claim_id:
                    yield f"ledger: {thing[0]} {thing[1]} was given up by who had it not"
                continue
            if before is not None:
                yield (
                    f"two owners: {thing[0]} {thing[1]} was given to job {entry.job_id}"
                    f" (claim {entry.claim_id}) while job {before.job_id}"
                    f" (claim {before.claim_id}) had it"
                )
            held[thing] = entry
    for thing in held:
        yield f"stuck: {thing[0]} {thing[1]} is still held"


def _claims(by_kind: dict[str, list[Line]], entries: Iterable[Entry]) -> Iterator[str]:
    """Yield runs without a claim, and claims that were run twice."""
    claims = {
        entry.claim_id: entry.job_id
        for entry in entries
        if entry.hold == "claim" and entry.taken
    }
    began = collections.Counter((line["job"], line["claim"]) for line in by_kind["start"])
    for (job_id, claim_id), number in began.items():
        if claims.get(claim_id) != job_id:
            yield f"no claim: job {job_id} ran on claim {claim_id}, which it never had"
        if number > 1:
            yield f"run twice: claim {claim_id} of job {job_id} was run {number} times"
