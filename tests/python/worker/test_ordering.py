"""In which order jobs run, and what holds them back."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from procrastinate import App, RetryStrategy, exceptions
from procrastinate.worker import Worker

from .conftest import Database, Drain, run_to_its_end

NEVER = 1000.0


@pytest.fixture
def ran(app: App) -> list[int]:
    """The numbers of the jobs that ran, by a task ``t``."""
    ran: list[int] = []

    @app.task(name="t")
    async def _(n: int) -> None:
        ran.append(n)

    return ran


@pytest.mark.parametrize("lock", [None, "l"])
async def test_the_highest_priority_is_first_then_the_oldest(
    app: App, database: Database, drain: Drain, ran: list[int], lock: str | None
) -> None:
    for n, priority in enumerate((0, 5, 0, 5), start=1):
        await app.configure_task("t", priority=priority, lock=lock).defer_async(n=n)
    await drain()
    assert ran == [2, 4, 1, 3]


@pytest.mark.parametrize(
    "head", [{"schedule_in": {"hours": 1}}, {"queue": "elsewhere"}], ids=["later", "elsewhere"]
)
async def test_the_head_of_a_lock_holds_back_the_others_though_it_cannot_run(
    app: App, database: Database, drain: Drain, ran: list[int], head: dict[str, object]
) -> None:
    await app.configure_task("t", lock="l", priority=0).defer_async(n=1)
    await app.configure_task("t", lock="l", priority=9, **head).defer_async(n=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.configure_task("t", lock="m").defer_async(n=3)
    await drain(queues=["default"])
    assert ran == [3]
    assert await database.statuses() == ["todo", "todo", "succeeded"]


async def test_the_date_of_a_job_that_is_due_is_no_part_of_the_order(
    app: App, database: Database, drain: Drain, ran: list[int]
) -> None:
    for n, minutes in ((1, -1), (2, -5)):
        await app.configure_task("t", schedule_in={"minutes": minutes}).defer_async(n=n)
    await drain()
    assert ran == [1, 2]


async def test_a_job_that_waits_for_its_retry_holds_its_lock(
    app: App, database: Database, drain: Drain, ran: list[int]
) -> None:
    @app.task(name="fails", retry=RetryStrategy(wait=3600), lock="l")
    async def fails() -> None:
        raise ValueError

    await fails.defer_async()
    await app.configure_task("t", lock="l").defer_async(n=1)
    await drain(concurrency=2)
    assert (ran, await database.statuses()) == ([], ["todo", "todo"])


async def test_a_queueing_lock_is_taken_by_a_waiting_job_only(
    app: App, database: Database, drain: Drain
) -> None:
    deferred: list[int] = []

    @app.task(name="again", queueing_lock="ql")
    async def again(n: int) -> None:
        if n:  # its own job is in doing: the lock is free
            deferred.append(await again.defer_async(n=n - 1))

    job_id = await again.defer_async(n=1)
    with pytest.raises(exceptions.AlreadyEnqueued) as caught:
        await again.defer_async(n=0)
    assert str(caught.value) == (
        "Job cannot be enqueued: there is already a job in the queue with the queueing lock ql"
    )
    assert isinstance(caught.value.__cause__, exceptions.UniqueViolation)
    await drain()
    assert await database.statuses() == ["succeeded", "succeeded"]

    job_id = await again.defer_async(n=0)
    assert await app.job_manager.cancel_job_by_id_async(job_id)
    assert await again.defer_async(n=0)


async def test_workers_that_race_for_locks_all_go_on_and_no_lock_has_two_jobs(
    app: App, database: Database
) -> None:
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()

    @app.task(name="locked")
    async def locked(lock: str) -> None:
        running[lock] += 1
        most[lock] = max(most[lock], running[lock])
        for _ in range(3):
            await asyncio.sleep(0)
        running[lock] -= 1

    for n in range(120):
        lock = f"lock {n % 3}"
        await app.configure_task("locked", lock=lock).defer_async(lock=lock)
    workers = [
        Worker(app, name=f"w{n}", concurrency=5, install_signal_handlers=False, wait=False)
        for n in range(3)
    ]
    await asyncio.gather(*(run_to_its_end(worker) for worker in workers))
    # A worker may end while the last jobs of a lock run in another, which then goes on.
    assert Counter(await database.statuses()) == {"succeeded": 120}
    assert set(most.values()) == {1}
