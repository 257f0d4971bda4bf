"""Workers that are killed: the others forget them, and their jobs are run elsewhere (I8)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import procrastinate
from tools import upstream

from .test_mixed import AGAIN, RAN

if TYPE_CHECKING:
    from .conftest import Fleet, OldHand

OLD, NEW = upstream.VERSION, procrastinate.__version__
WORKERS = "select id from procrastinate_workers order by id"


async def die(fleet: Fleet, process: subprocess.Popen[bytes], **job: Any) -> int:
    """Kill a worker while it runs a job; return the job, whose worker seems dead for long."""
    task = fleet.app.configure_task("sleep", queue="both", **job)
    job_id: int = await task.defer_async(seconds=0.5)
    await fleet.until("select 1 from fleet_runs where job_id = %s", job_id)
    process.kill()
    process.wait()
    fleet.rows("update procrastinate_workers set last_heartbeat = '2020-01-01' returning id")
    return job_id


async def test_ours_prunes_an_old_worker_that_was_killed_and_runs_its_job(
    fleet: Fleet, old_hand: OldHand
) -> None:
    job_id = await die(fleet, await fleet.old_worker(), lock="l")
    (waiting,) = old_hand.defer("work", lock="l")
    (dead,) = fleet.rows(WORKERS)
    manager = fleet.app.job_manager
    (job,) = await manager.get_stalled_jobs()
    assert job.id == job_id
    await fleet.our_worker()
    await fleet.until(
        "select 1 where not exists (select from procrastinate_workers where id = %s)", *dead
    )
    await manager.retry_job(job)
    await fleet.until_status(job_id, "succeeded")
    await fleet.until_status(waiting, "succeeded")
    assert (fleet.ran_at(job_id), fleet.ran_at(waiting)) == ([OLD, NEW], [NEW])
    assert fleet.events(job_id) == [*RAN[:2], *AGAIN, "succeeded"]


async def test_an_old_worker_prunes_ours_that_was_killed_and_runs_its_job(
    fleet: Fleet, old_hand: OldHand
) -> None:
    job_id = await die(fleet, await fleet.our_worker_process(), lock="l")
    (waiting,) = old_hand.defer("work", lock="l")
    (dead,) = fleet.rows(WORKERS)
    (job,) = old_hand.list("get_stalled_jobs")
    assert (job["id"], job["worker_id"]) == (job_id, *dead)
    await fleet.old_worker()
    await fleet.until(
        "select 1 where not exists (select from procrastinate_workers where id = %s)", *dead
    )
    # it is still found by 3.10, though nobody holds it
    (job,) = old_hand.list("get_stalled_jobs")
    assert (job["id"], job["worker_id"]) == (job_id, None)
    old_hand.manager("retry_job_by_id", job_id=job_id, retry_at="2020-01-01T00:00:00+00:00")
    await fleet.until_status(job_id, "succeeded")
    await fleet.until_status(waiting, "succeeded")
    assert (fleet.ran_at(job_id), fleet.ran_at(waiting)) == ([NEW, OLD], [OLD])
    assert fleet.events(job_id) == [*RAN[:2], *AGAIN, "succeeded"]


async def test_each_runs_the_builtin_task_that_the_other_deferred(
    fleet: Fleet, old_hand: OldHand
) -> None:
    task = "builtin:procrastinate.builtin_tasks.remove_old_jobs"
    manager = fleet.app.job_manager
    ended: list[int] = []
    for job_id in old_hand.defer("work", {}, {}, {}):
        worker = "select procrastinate_register_worker_v1()"
        ((worker_id,),) = fleet.rows(worker)
        fleet.rows("select * from procrastinate_fetch_job_v2(null, %s)", worker_id)
        status = ["succeeded", "failed", "succeeded"][len(ended)]
        fleet.rows("select procrastinate_finish_job_v1(%s, %s, false)", job_id, status)
        fleet.rows("select procrastinate_unregister_worker_v1(%s)", worker_id)
        ended.append(job_id)
    fleet.rows(
        "update procrastinate_events set at = at - interval '3 hours' where job_id <> %s"
        " returning id",
        ended[-1],
    )
    # ours leaves what failed to 3.10
    theirs = await fleet.app.configure_task(task, queue="old").defer_async(
        max_hours=2, remove_failed=True
    )
    (ours,) = old_hand.defer(task, {"max_hours": 2}, queue="new")
    await fleet.our_worker(queues=["new"])
    await fleet.until_status(ours, "succeeded")
    assert [job.id for job in await manager.list_jobs_async()] == [*ended[1:], theirs, ours]
    await fleet.old_worker(queues="old")
    await fleet.until_status(theirs, "succeeded")
    assert [job.id for job in await manager.list_jobs_async()] == [ended[-1], theirs, ours]
