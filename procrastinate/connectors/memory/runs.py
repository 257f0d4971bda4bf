"""The answers to a worker: what it claims, and what it reports of its runs."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from procrastinate import exceptions
from procrastinate.connectors.memory import listing, refusals, results, transitions, upkeep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from procrastinate.connectors.memory.store import JobRow, Store
    from procrastinate.rpc.call import Row, Rows

# The columns of an exchange; what a row does not say is null.
_EXCHANGE_WIDTH = 18


def _exchange_row(outcome: str, job: JobRow | None = None, **values: Any) -> Row:
    row: list[Any] = [None] * _EXCHANGE_WIDTH
    row[0] = outcome
    if job is not None:
        row[1:13] = (
            job["id"],
            None,
            *(job[name] for name in ("status", "queue_name", "task_name", "priority")),
            *(job[name] for name in ("lock", "queueing_lock")),
            dict(job["args"]),
            *(job[name] for name in ("scheduled_at", "attempts", "abort_requested")),
        )
    if "options" in values:
        row[17] = values["options"].as_json() or None
    for place, name in (
        (1, "job_id"),
        (2, "claim_id"),
        (13, "next_due_in"),
        (14, "contended"),
        (15, "more"),
    ):
        if name in values:
            row[place] = values[name]
    return row


def fetch_jobs(store: Store, **values: Any) -> Rows:
    """Todo -> doing for a worker's next jobs, then a summary."""
    return finish_and_fetch(
        store, **values, p_job_ids=[], p_claim_ids=[], p_statuses=[], p_delete=[]
    )


def finish_and_fetch(
    store: Store,
    *,
    p_worker_id: int,
    p_queues: Sequence[str] | None,
    p_limit: int,
    p_marks: Sequence[int] | None,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
    p_statuses: Sequence[str],
    p_delete: Sequence[bool],
    left: Sequence[results.Left] | None = None,
) -> Rows:
    """Doing -> ended for a report, todo -> doing for the free slots, then a summary."""
    refusals.check_limit(p_limit)
    refusals.check_report(p_worker_id, p_statuses)
    if p_limit > 0:  # Before the ends: a transaction that raises undoes them.
        refusals.check_worker(store.workers, p_worker_id)
    ended = _end(store, p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete, left)
    rows = [
        _exchange_row("not_held", store.jobs.get(job_id), job_id=job_id, claim_id=claim_id)
        for job_id, claim_id in zip(p_job_ids, p_claim_ids, strict=True)
        if job_id not in ended
    ]
    claimed = transitions.claim(store, worker_id=p_worker_id, queues=p_queues, limit=p_limit)
    rows += [
        _exchange_row(
            "claimed",
            job,
            claim_id=store.claims[job["id"]].claim_id,
            options=store.options_of(job),
        )
        for job in claimed
    ]
    full = len(claimed) >= p_limit
    due = None if full else transitions.next_due_in(store, p_queues)
    return [*rows, _exchange_row("summary", next_due_in=due, contended=False, more=False)]


def _end(
    store: Store,
    worker_id: int,
    job_ids: Sequence[int],
    claim_ids: Sequence[int],
    statuses: Sequence[str],
    deletes: Sequence[bool],
    left: Sequence[results.Left] | None = None,
) -> set[int]:
    ended: set[int] = set()
    reports = zip(job_ids, claim_ids, statuses, deletes, strict=True)
    for place, (job_id, claim_id, status, delete) in enumerate(reports):
        job = transitions.held(store, worker_id=worker_id, job_id=job_id, claim_id=claim_id)
        if job is not None:
            if left is None:
                transitions.end(store, job, status=status, delete=delete)
            else:
                results.end(store, job, status=status, delete=delete, left=left[place])
            ended.add(job_id)
    return ended


def finish_and_fetch_with_results(
    store: Store,
    *,
    p_results: Sequence[str | None],
    p_errors: Sequence[Mapping[str, Any] | None],
    **values: Any,
) -> Rows:
    """Do what the other does, and keep what the ended jobs leave."""
    refusals.check_limit(values["p_limit"])
    refusals.check_report(values["p_worker_id"], values["p_statuses"])
    reports = [
        results.Left(result=result, error=error).checked(status)
        for result, error, status in zip(p_results, p_errors, values["p_statuses"], strict=True)
    ]
    values["p_statuses"] = [status for _, status in reports]
    rows = finish_and_fetch(store, **values, left=[left for left, _ in reports])
    not_held = {row[1] for row in rows if row[0] == "not_held"}
    too_large = [
        _exchange_row("too_large", job_id=job_id)
        for job_id, result, (left, _) in zip(
            values["p_job_ids"], p_results, reports, strict=True
        )
        if result is not None and left.result is None and job_id not in not_held
    ]
    return [*rows, *too_large]


def _status(store: Store, job_id: int) -> str | None:
    return store.jobs[job_id]["status"] if job_id in store.jobs else None


def finish_jobs(
    store: Store,
    *,
    p_worker_id: int,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
    p_statuses: Sequence[str],
    p_delete: Sequence[bool],
) -> Rows:
    """Doing -> ended for these claims; an outcome for each."""
    refusals.check_report(p_worker_id, p_statuses)
    ended = _end(store, p_worker_id, p_job_ids, p_claim_ids, p_statuses, p_delete)
    return [
        (job_id, "finished" if job_id in ended else "not_held", _status(store, job_id))
        for job_id in p_job_ids
    ]


def retry_jobs(
    store: Store,
    *,
    p_worker_id: int,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
    p_retry_ats: Sequence[datetime.datetime | None],
    p_priorities: Sequence[int | None],
    p_queue_names: Sequence[str | None],
    p_locks: Sequence[str | None],
    p_retry_ins: Sequence[datetime.timedelta | None] | None = None,
    p_errors: Sequence[Mapping[str, Any] | None] | None = None,
) -> Rows:
    """Doing -> todo for these claims, attempts + 1; an outcome for each."""
    refusals.check_report(p_worker_id)
    for queue_name in p_queue_names:
        if queue_name is not None:
            refusals.check_text(queue_name, "queue name")
    rows: list[Row] = []
    retries = zip(
        p_job_ids,
        p_claim_ids,
        p_retry_ats,
        p_priorities,
        p_queue_names,
        p_locks,
        p_retry_ins or [None] * len(p_job_ids),
        p_errors or [None] * len(p_job_ids),
        strict=True,
    )
    now = store.clock()
    for job_id, claim_id, retry_at, priority, queue_name, lock, retry_in, error in sorted(
        retries, key=lambda retry: retry[0]
    ):
        job = transitions.held(store, worker_id=p_worker_id, job_id=job_id, claim_id=claim_id)
        if job is not None:
            transitions.put_back(
                store,
                job,
                counted=1,
                retry_at=retry_at or now + (retry_in or datetime.timedelta()),
                priority=priority,
                queue_name=queue_name,
                lock=lock,
            )
            results.note_error(store, job_id, error)
        rows.append(_put_back_row(store, job_id, was_held=job is not None, done="retried"))
    return rows


def release_jobs(
    store: Store,
    *,
    p_worker_id: int,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
) -> Rows:
    """Doing -> todo for these claims, uncounted; an outcome for each."""
    refusals.check_report(p_worker_id)
    rows: list[Row] = []
    for job_id, claim_id in sorted(zip(p_job_ids, p_claim_ids, strict=True)):
        job = transitions.held(store, worker_id=p_worker_id, job_id=job_id, claim_id=claim_id)
        if job is not None:
            transitions.put_back(store, job, counted=0)
        rows.append(_put_back_row(store, job_id, was_held=job is not None, done="released"))
    return rows


def fail_jobs(
    store: Store,
    *,
    p_worker_id: int,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
    p_errors: Sequence[Mapping[str, Any] | None],
    p_delete: Sequence[bool],
) -> Rows:
    """Doing -> todo or failed for these claims, as each job's options say."""
    refusals.check_report(p_worker_id)
    rows: list[Row] = []
    fails = zip(p_job_ids, p_claim_ids, p_errors, p_delete, strict=True)
    for job_id, claim_id, error, delete in sorted(fails, key=lambda fail: fail[0]):
        job = transitions.held(store, worker_id=p_worker_id, job_id=job_id, claim_id=claim_id)
        if job is None:
            outcome = "not_held"
        else:
            results.fail_by_policy(store, job, error=error, delete=delete)
            outcome = "retried" if _status(store, job_id) == "todo" else "failed"
        rows.append((job_id, outcome, _status(store, job_id)))
    return rows


def expire_jobs(
    store: Store, *, p_older_than: datetime.timedelta | None, p_max_jobs: int | None
) -> Rows:
    """Doing -> todo or failed for jobs past their time whose worker can't end them."""
    if p_older_than is None or p_older_than < upkeep.NONE or (p_max_jobs or 0) < 1:
        raise exceptions.InvalidArgument("Expiring needs an age and a number of jobs")
    now = store.clock()
    found: list[tuple[JobRow, str]] = []
    for job in store.with_status("doing"):
        claim = store.claims.get(job["id"])
        missed = None if claim is None else claim.missed(now)
        if missed is not None and store.is_stalled(job, p_older_than):
            found.append((job, missed))
    rows: list[Row] = []
    for job, missed in found[:p_max_jobs]:
        error = {
            "class": "procrastinate.exceptions.JobTimeout",
            "message": f"Its {missed} has passed, and its worker is gone or silent",
        }
        results.fail_by_policy(store, job, error=error, delete=False)
        rows.append(_put_back_row(store, job["id"], was_held=True, done="retried"))
    return rows


def _put_back_row(store: Store, job_id: int, *, was_held: bool, done: str) -> Row:
    status = _status(store, job_id)
    if not was_held:
        return job_id, "not_held", status
    return job_id, done if status == "todo" else status, status


def fetch_job(
    store: Store, *, target_queue_names: Sequence[str] | None, p_worker_id: int
) -> Rows:
    """Todo -> doing for the next job of a worker of 3.x."""
    refusals.check_worker(store.workers, p_worker_id)
    return [
        listing.as_row(job)
        for job in transitions.claim(
            store, worker_id=p_worker_id, queues=target_queue_names, limit=1
        )
    ]
