"""The primary dies with transactions that the standby has not heard of: those are lost."""

from __future__ import annotations

import asyncio
from collections import Counter

from procrastinate import App

from .conftest import Connection, Node, OpenApp, Pair, StartWorker, until, value

NUMBERS = (
    "procrastinate_jobs_id_seq",
    "procrastinate_claims_seq",
    "procrastinate_workers_id_seq",
)
TAIL = 10  # jobs


class Tasks:
    """What ran, by the number in the arguments: ids are given out again."""

    def __init__(self) -> None:
        self.ran: Counter[int] = Counter()
        self.gate = asyncio.Event()
        self.last_gate = asyncio.Event()

    def on(self, app: App) -> None:
        @app.task(name="work")
        async def _(n: int) -> None:
            self.ran[n] += 1

        @app.task(name="held")
        async def _(n: int) -> None:
            self.ran[n] += 1
            await self.gate.wait()

        @app.task(name="held longer")
        async def _(n: int) -> None:
            self.ran[n] += 1
            await self.last_gate.wait()


def use_up_what_the_standby_skips(primary: Connection, standby: Node) -> None:
    """
    Let the next numbers be those that the standby would give, too.

    A sequence is replicated ahead of its values; a longer tail would get there by itself.
    """
    with standby.connect() as connection:
        for name in NUMBERS:
            primary.execute(
                "select setval(%s, %s)",
                [name, value(connection, f"select last_value from {name}")],
            )


def statuses(connection: Connection) -> dict[int, str]:
    rows = connection.execute("select id, status::text from procrastinate_jobs").fetchall()
    return dict(rows)


async def test_the_lost_tail_is_all_that_is_lost(
    pair: Pair, open_app: OpenApp, start_worker: StartWorker
) -> None:
    apps: list[App] = [await open_app(pair.dsn) for _ in range(2)]
    tasks = Tasks()
    for app in apps:
        tasks.on(app)
    defer_on = apps[0]

    async def defer(task: str, n: int, queue: str = "main") -> int:
        return await defer_on.configure_task(task, queue=queue).defer_async(n=n)

    old = start_worker(apps[0], queues=["main"], concurrency=8)
    kept = {await defer("work", n) for n in range(TAIL)}
    # runs before, in and after the tail; ended in it; claimed in it; given back by nobody
    through = await defer("held longer", 100)
    ends_in_tail = await defer("held", 101)
    late = {await defer("work", 102, "late"), await defer("held longer", 103, "late")}
    kept |= {through, ends_in_tail, *late}
    await until(lambda: tasks.ran[100] and tasks.ran[101], old.task)
    with pair.primary.connect() as primary:
        await until(
            lambda: (
                Counter(statuses(primary).values()) == {"succeeded": 10, "doing": 2, "todo": 2}
            ),
            old.task,
        )
        pair.let_follow()
        pair.cut()
        use_up_what_the_standby_skips(primary, pair.standby)

        new = start_worker(apps[1], queues=["late"], concurrency=8)
        tail = [await defer("work", 200 + n) for n in range(TAIL)]
        held_in_tail = [
            await defer("held longer", 300, "late"),
            await defer("held longer", 301),
        ]
        tasks.gate.set()
        await until(lambda: all(tasks.ran[n] for n in (102, 103, 300, 301)), old.task, new.task)
        in_tail = {*tail, ends_in_tail}
        await until(
            lambda: {statuses(primary)[job_id] for job_id in in_tail} == {"succeeded"},
            old.task,
            new.task,
        )
        lost_worker = new.worker.worker_id

    # In one go: no worker has found the new primary before its numbers are given out again.
    pair.fail_over()
    with pair.standby.connect() as primary:
        found = statuses(primary)
        assert set(found) == kept
        assert found[through] == found[ends_in_tail] == "doing"
        assert {found[job_id] for job_id in late} == {"todo"}
        for name in NUMBERS[:2]:
            assert value(primary, f"select last_value from {name}") < max(held_in_tail)
        other = value(primary, "select procrastinate_register_worker_v2('other')")
        assert other == lost_worker
        again = [
            value(
                primary, f"select procrastinate_defer_job('{queue}', 'work', args => '{args}')"
            )
            for queue, args in [("other", f'{{"n": {400 + n}}}') for n in range(TAIL + 2)]
        ]
        assert again == [*tail, *held_in_tail]
        primary.execute("select procrastinate_fetch_jobs_v1(%s, '{other}', 100)", [other])
        claims = primary.execute(
            "select job_id, claim_id from procrastinate_doing where worker_id = %s", [other]
        ).fetchall()
    tasks.last_gate.set()  # the ends of lost jobs are told, with numbers that are others' now

    with pair.standby.connect() as primary:
        await until(lambda: new.worker.worker_id != lost_worker, old.task, new.task)
        await until(
            lambda: {statuses(primary)[job_id] for job_id in kept} == {"succeeded"},
            old.task,
            new.task,
        )
        held_by_other = "select job_id, claim_id from procrastinate_doing where worker_id = %s"
        assert primary.execute(held_by_other, [other]).fetchall() == claims
        assert {statuses(primary)[job_id] for job_id in again} == {"doing"}

        # That other one dies; those who live do its work, once.
        third = start_worker(apps[1], concurrency=8)
        primary.execute("select procrastinate_unregister_worker_v2(%s)", [other])
        third.worker.housekeeping.begin_now()
        await until(
            lambda: set(statuses(primary).values()) == {"succeeded"},
            old.task,
            new.task,
            third.task,
        )
        assert [tasks.ran[400 + n] for n in range(TAIL + 2)] == [1] * (TAIL + 2)
        for run in (old, new, third):
            await run.stop()
        assert primary.execute("select * from procrastinate_check()").fetchall() == []
        assert value(primary, "select count(*) from procrastinate_workers") == 0
    assert tasks.ran[100] == 1  # its claim is older than the tail
    assert tasks.ran[101] == tasks.ran[102] == tasks.ran[103] == 2
