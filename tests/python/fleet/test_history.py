"""A random history of one queue that both packages fill, work on and meddle with (I8)."""

from __future__ import annotations

import datetime
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

import procrastinate
from tools import upstream

if TYPE_CHECKING:
    from procrastinate.types import JSONDict

    from .conftest import Fleet, OldHand

OLD, NEW = upstream.VERSION, procrastinate.__version__
PAST = "2020-01-01T00:00:00+00:00"
#: What 3.10 writes of a job, in its order; at each end it may stand, or be retried by hand.
RUN = r"started (?:abort_requested )?"
HISTORY = re.compile(
    r"(?:scheduled )?deferred "
    rf"(?:{RUN}(?:scheduled deferred_for_retry |failed scheduled retried ))*"
    rf"(?:(?:abort_requested )?cancelled |{RUN}(?:succeeded |failed |aborted ))"
)
MOST = {"work": 1, "stumble": 3, "fail": 2, "sleep": 1}
OPEN = "select id from procrastinate_jobs where status in ('todo', 'doing')"


class Meddler:
    """Who defers, cancels, aborts and retries, as either package, by chance."""

    def __init__(self, fleet: Fleet, old_hand: OldHand, chance: random.Random) -> None:
        self.fleet, self.old_hand, self.chance = fleet, old_hand, chance
        self.retried: set[int] = set()

    async def defer(self) -> None:
        task = self.chance.choice(["work", "work", "work", "stumble", "fail", "sleep"])
        options: dict[str, Any] = {
            "lock": self.chance.choice([None, None, "a", "b"]),
            "priority": self.chance.choice([0, 0, 1, -1]),
            "queue": "both",
        }
        if self.chance.random() < 0.2:
            options["schedule_at"] = PAST
        if self.chance.random() < 0.1:
            options["queueing_lock"] = "one"
        arguments: JSONDict = {"seconds": 0.05} if task == "sleep" else {}
        jobs = [arguments] * (1 if "queueing_lock" in options else self.chance.randint(1, 4))
        kind = self.chance.choice(["defer", "defer_async", "ours"])
        if kind != "ours":
            answer = self.old_hand.say(kind, task, options, jobs)
            assert "answer" in answer or answer == {"error": "AlreadyEnqueued"}
            return
        if "schedule_at" in options:
            options["schedule_at"] = datetime.datetime.fromisoformat(PAST)
        try:
            await self.fleet.app.configure_task(task, **options).batch_defer_async(*jobs)
        except procrastinate.exceptions.AlreadyEnqueued:
            assert "queueing_lock" in options

    async def cancel(self) -> None:
        found = self.fleet.rows(OPEN)
        for (job_id,) in self.chance.sample(found, min(len(found), 1)):
            abort = self.chance.random() < 0.7
            if self.chance.random() < 0.5:
                self.old_hand.manager("cancel_job_by_id", job_id=job_id, abort=abort)
            else:
                manager = self.fleet.app.job_manager
                await manager.cancel_job_by_id_async(job_id, abort=abort)

    async def retry(self) -> None:
        failed = self.fleet.rows("select id from procrastinate_jobs where status = 'failed'")
        for (job_id,) in self.chance.sample(failed, min(len(failed), 1)):
            self.retried.add(job_id)
            if self.chance.random() < 0.5:
                # the one that fails again has a request to abort left over, or a lock
                self.old_hand.say(
                    "manager", "retry_job_by_id", {"job_id": job_id, "retry_at": PAST}
                )
            else:
                await self.fleet.app.job_manager.retry_job_by_id_async(
                    job_id, datetime.datetime.fromisoformat(PAST)
                )


@pytest.mark.parametrize("seed", [1])
async def test_whatever_both_do_each_job_ends_once_with_the_history_that_3_10_writes(
    fleet: Fleet, old_hand: OldHand, seed: int
) -> None:
    chance = random.Random(seed)
    meddler = Meddler(fleet, old_hand, chance)
    await fleet.old_worker(poll=0.1)
    await fleet.our_worker(fetch_job_polling_interval=0.1)
    for _ in range(80):
        action = chance.choice([meddler.defer] * 4 + [meddler.cancel, meddler.retry])
        await action()
    await fleet.until(f"select 1 where not exists ({OPEN})")

    for job in await fleet.app.job_manager.list_jobs_async():
        assert job.id is not None
        events = fleet.events(job.id)
        assert HISTORY.fullmatch("".join(f"{event} " for event in events)), (job, events)
        assert events[-1] == job.status
        runs = events.count("started")
        # a retry by hand counts; one that is refused because of a request to abort does not
        most = runs + events.count("retried")
        # an end takes the request away; a cancellation and a retry that is refused leave it
        assert (
            not job.abort_requested
            or job.status == "cancelled"
            or (events[-2:] == ["abort_requested", "failed"] and job.attempts < most)
        )
        assert most - events.count("abort_requested") <= job.attempts <= most
        if job.id not in meddler.retried:
            assert runs <= MOST[job.task_name]
        # its key allows each attempt once; one that was aborted at once has left no row
        assert len(fleet.ran_at(job.id)) in range(
            runs - events.count("abort_requested"), runs + 1
        )
    overlaps = fleet.rows(
        "select a.job_id, b.job_id from fleet_runs a join fleet_runs b"
        " on a.lock = b.lock and (a.job_id, a.attempt) <> (b.job_id, b.attempt)"
        " and a.began between b.began and b.ended"
    )
    assert overlaps == []
    assert {version for (version,) in fleet.rows("select version from fleet_runs")} == {
        OLD,
        NEW,
    }
