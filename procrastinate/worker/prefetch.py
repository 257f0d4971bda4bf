"""Jobs that were claimed before there was a slot for them: they wait in the worker."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procrastinate.rpc import values
    from procrastinate.worker.worker import Worker


class Prefetched:
    """
    They begin as slots come free, and go back when the worker is to stop.

    Parameters
    ----------
    worker
        Whose slots they wait for.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._by_claim: dict[int, values.ClaimedJob] = {}
        # By priority, then by id, as the database would have handed them out. A claim that is
        # not among the above any more was taken out of the middle.
        self._line: list[tuple[int, int, int]] = []
        self._is_beginning = False

    def __len__(self) -> int:
        """Count them."""
        return len(self._by_claim)

    def __contains__(self, claim_id: int) -> bool:
        """Whether a claim waits here."""
        return claim_id in self._by_claim

    def take(self, claimed: list[values.ClaimedJob]) -> None:
        """Take what was claimed: begin as many as there are slots, and keep the others."""
        worker = self._worker
        for claim in claimed:
            job = claim.job
            assert job.id is not None  # The database has numbered it.
            if not self._by_claim and len(worker.running) < worker.concurrency:
                worker.executor.start(job, claim.claim_id)
                continue
            self._by_claim[claim.claim_id] = claim
            heapq.heappush(self._line, (-job.priority, job.id, claim.claim_id))
            if worker.running.was_to_abort(job.id):
                self.abort_by_id(job.id)
        self.begin()

    def forget(self, claim_id: int) -> None:
        """Let a claim go that the database has forgotten, if it waits here."""
        self._by_claim.pop(claim_id, None)

    def begin(self) -> None:
        """Begin as many as there are slots."""
        worker = self._worker
        if not self._by_claim or self._is_beginning:
            return  # None waits; or one has ended at once, and the loop below goes on.
        self._is_beginning = True
        try:
            while self._by_claim and len(worker.running) < worker.concurrency:
                claim = self._by_claim.pop(heapq.heappop(self._line)[-1], None)
                if claim is not None:
                    worker.executor.start(claim.job, claim.claim_id)
        finally:
            self._is_beginning = False

    def job_ids(self) -> list[int]:
        """Return the jobs that wait here."""
        return [claim.job.id for claim in self._by_claim.values() if claim.job.id is not None]

    def has_job(self, job_id: int) -> bool:
        """Whether a job waits here."""
        return any(claim.job.id == job_id for claim in self._by_claim.values())

    def abort_by_id(self, job_id: int) -> bool:
        """Let a job end as aborted without beginning it; False if it does not wait here."""
        found = [claim for claim in self._by_claim.values() if claim.job.id == job_id]
        for claim in found:
            del self._by_claim[claim.claim_id]
            self._worker.executor.end_unbegun(claim.job, claim.claim_id)
        return bool(found)

    def give_back(self) -> None:
        """Give all of them back."""
        claims, self._by_claim = self._by_claim, {}
        self._line.clear()
        for claim in claims.values():
            assert claim.job.id is not None  # The database has numbered it.
            self._worker.claims.take_release(claim.job.id, claim.claim_id)
