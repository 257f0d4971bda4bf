"""What jobs leave and tell: results, errors, progress, meta; and whom they belong to by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from procrastinate import exceptions
from procrastinate.connectors.memory import listeners, refusals, transitions, wishes
from procrastinate.connectors.memory.store import Result
from procrastinate.rpc.call import Written

if TYPE_CHECKING:
    from procrastinate.connectors.memory.store import JobRow, Store
    from procrastinate.rpc.call import Row, Rows

MOST_BYTES = 1_048_576  # of a result, as the database has it by default
ANNOUNCED = 60.0  # seconds for which ends are announced to whoever says that it waits
MOST_MESSAGE = 1000  # characters of an error's message in the line of the history


@attrs.frozen(kw_only=True)
class Left:
    """What a run leaves when it ends."""

    result: str | None = None
    """JSON; None if there is none."""
    error: Mapping[str, Any] | None = None

    def checked(self, status: str) -> tuple[Left, str]:
        """Return what is left of it, and the status: a result too large is a failure."""
        size = 0 if self.result is None else len(self.result.encode())
        if size <= MOST_BYTES:
            return self, status
        error = {
            "class": "procrastinate.exceptions.ResultTooLarge",
            "message": f"The result has {size} bytes: at most {MOST_BYTES} are allowed",
        }
        return Left(error=error), "failed"


def end(store: Store, job: JobRow, *, status: str, delete: bool | None, left: Left) -> None:
    """Doing -> ended, or gone; what the run leaves is kept as the job's ttl says."""
    job_id = job["id"]
    ttl = store.options_of(job).ttl
    is_kept = ttl is not None and ttl >= 0
    if is_kept:
        now = store.clock()
        before = store.results.get(job_id) or Result(updated_at=now)
        store.results[job_id] = attrs.evolve(
            before,
            result=None if left.result is None else json.loads(left.result),
            error=left.error,
            updated_at=now,
            expires_at=wishes.after(now, ttl) if ttl else None,
            status=status,
        )
    transitions.end(store, job, status=status, delete=delete)
    note_error(store, job_id, left.error)
    if is_kept:
        store.news.announce_jobs(listeners.ENDED, "job_ended", [job_id])


def fail_by_policy(
    store: Store, job: JobRow, *, error: Mapping[str, Any] | None, delete: bool | None
) -> None:
    """Doing -> todo while the job's options allow another run, else failed, or gone."""
    options = store.options_of(job)
    most = options.max_attempts
    if most is None or job["attempts"] + 1 >= most or job["abort_requested"]:
        end(store, job, status="failed", delete=delete, left=Left(error=error))
        return
    delay = wishes.retry_delay(options, job["attempts"])
    transitions.put_back(store, job, counted=1, retry_at=wishes.after(store.clock(), delay))
    note_error(store, job["id"], error)


def note_error(store: Store, job_id: int, error: Mapping[str, Any] | None) -> None:
    """Write why a run failed into the newest line of the job's history."""
    events = store.events.get(job_id)
    if not events or error is None:
        return
    events[-1]["details"] = error
    if error.get("class") is not None and "error" not in events[-1]:
        message = error.get("message")
        events[-1]["error"] = str(error["class"]).rpartition(".")[2] + (
            "" if message is None else f": {message[:MOST_MESSAGE]}"
        )


def update_jobs(
    store: Store,
    *,
    p_worker_id: int | None,
    p_job_ids: Sequence[int],
    p_claim_ids: Sequence[int],
    p_progress: Sequence[float | None],
    p_meta: Sequence[Any],
) -> Rows:
    """Note progress and meta of the claims that hold their job, and that they live."""
    refusals.check_report(p_worker_id)
    for progress in p_progress:
        if progress is not None and not 0 <= progress <= 1:
            raise exceptions.InvalidArgument(f"The progress of a job is {progress:.15g}")
    metas = [json.loads(meta) if isinstance(meta, Written) else meta for meta in p_meta]
    for meta in metas:
        if meta is not None and not isinstance(meta, Mapping):
            raise exceptions.InvalidArgument(
                f"The meta of a job is a JSON {refusals.kind_of(meta)}"
            )
    now = store.clock()
    rows: list[Row] = []
    told: list[int] = []
    for job_id, claim_id, progress, meta in zip(
        p_job_ids, p_claim_ids, p_progress, metas, strict=True
    ):
        job = transitions.held(
            store, worker_id=p_worker_id or 0, job_id=job_id, claim_id=claim_id
        )
        rows.append((job_id, "not_held" if job is None else "updated"))
        if job is None:
            continue
        heartbeat_at = wishes.after(now, store.options_of(job).heartbeat)
        store.claims[job_id] = attrs.evolve(store.claims[job_id], heartbeat_at=heartbeat_at)
        if progress is None and meta is None:
            continue
        before = store.results.get(job_id) or Result(updated_at=now)
        store.results[job_id] = attrs.evolve(
            before,
            progress=before.progress if progress is None else progress,
            meta=before.meta if meta is None else meta,
            updated_at=now,
        )
        told.append(job_id)
    store.news.announce_jobs(listeners.PROGRESS, "job_progress", told)
    return rows


def _current(store: Store, job_id: int) -> Result | None:
    """Return what a job has left, if its time is not over."""
    left = store.results.get(job_id)
    if left is None or left.expires_at is None or left.expires_at > store.clock():
        return left
    return None


def get_results(store: Store, *, p_job_ids: Sequence[int]) -> Rows:
    """Return what is known of each job that exists or has left a result."""
    rows: list[Row] = []
    for job_id in sorted({*p_job_ids}):
        job, left = store.jobs.get(job_id), _current(store, job_id)
        if job is None and left is None:
            continue
        ttl = None if job is None else store.options_of(job).ttl
        found = left or Result(updated_at=store.clock())
        rows.append(
            (
                job_id,
                found.status if job is None else job["status"],
                None if job is None else job["attempts"],
                found.status is not None,
                found.result,
                found.error,
                found.progress,
                found.meta,
                None if left is None else left.updated_at,
                found.expires_at,
                ttl >= 0 if ttl is not None else found.status is not None,
            )
        )
    return rows


def get_result(store: Store, *, job_id: int) -> Rows:
    """Return what is known of one job."""
    rows = get_results(store, p_job_ids=[job_id])
    if not rows:
        refusals.check_job(store.jobs, job_id)
    return [(status, attempts, *more[1:-1]) for _, status, attempts, *more in rows]


def watch_job(store: Store, *, job_id: int) -> Rows:
    """Return where the end of a job is told, and whether it is over."""
    (row,) = get_result(store, job_id=job_id)
    return [(listeners.ENDED, row[0], row[0] not in ("todo", "doing"))]


def announce_ends(store: Store) -> Rows:
    """Return until when ends are announced. They always are: it costs nothing here."""
    return [(wishes.after(store.clock(), ANNOUNCED),)]


def find_keys(store: Store, *, p_keys: Sequence[str]) -> Rows:
    """Return the newest job of each key, whatever its status."""
    newest: dict[str, int] = {}
    for job_id, options in store.options.items():
        if options.key in p_keys and options.key is not None:
            newest[options.key] = max(job_id, newest.get(options.key, job_id))
    return sorted(newest.items(), key=lambda found: found[1])


def purge(store: Store, most: int) -> None:
    """Delete results whose time is over, so many of them."""
    over = [job_id for job_id in store.results if _current(store, job_id) is None]
    over.sort(key=lambda job_id: store.results[job_id].expires_at or store.clock())
    for job_id in over[:most]:
        del store.results[job_id]
