"""Jobs that never wait share an asyncio task, and nobody can tell but by the task itself."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from procrastinate import App, JobContext, jobs
from procrastinate.testing import InMemoryConnector
from procrastinate.worker import shared
from procrastinate.worker.running import RunningJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("MARK", default="")


@attrs.define
class Kind:
    is_alone: bool = False


class Runs:
    """Begins functions as jobs, and keeps in which task each ran and how it ended."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.ends: list[object] = []
        self.begun_again: list[int | None] = []
        self.shared = shared.SharedTask(self._begin, self._end, self._begin_again)
        self.kind = Kind()
        self._functions: dict[int | None, Callable[[], Awaitable[Any]]] = {}

    def add(self, *functions: Callable[[], Awaitable[Any]]) -> None:
        for function in functions:
            number = len(self._functions)
            job = jobs.Job(id=number, queue="q", lock=None, queueing_lock=None, task_name="t")
            self._functions[number] = function
            self.shared.add(RunningJob(job, number, started_at=1.0), self.kind)

    def _begin(self, running: RunningJob) -> Awaitable[Any]:
        self.tasks.append(running.run)
        return self._functions[running.job.id]()

    def _end(self, running: RunningJob, error: BaseException | None) -> None:
        self.ends.append(running.returned if error is None else error)

    def _begin_again(self, running: RunningJob, kind: Any) -> None:
        assert kind is self.kind
        self.begun_again.append(running.job.id)
        self.shared.add(running, kind)


def returning(value: object) -> Callable[[], Coroutine[Any, Any, object]]:
    async def function() -> object:
        return value

    return function


async def turns(count: int = 2) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_jobs_that_do_not_wait_run_in_one_task_in_their_order() -> None:
    runs = Runs()
    runs.add(returning(1), returning(2), returning(3))
    assert runs.tasks == []  # not before the caller has had its say
    await turns()
    assert runs.ends == [1, 2, 3]
    (task,) = set(runs.tasks)
    assert task is not None
    assert task.get_name() == shared.TASK_NAME
    assert task.done()
    assert not runs.kind.is_alone
    runs.add(returning(4))
    await turns()
    assert runs.ends == [1, 2, 3, 4]


async def test_an_exception_is_the_end_of_its_job_alone() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    runs = Runs()
    runs.add(leave, returning(2))
    await turns()
    error, result = runs.ends
    assert isinstance(error, SystemExit)
    assert result == 2
    assert len(set(runs.tasks)) == 1


async def test_a_job_that_waits_holds_nobody_up_and_keeps_its_task() -> None:
    gate = asyncio.Event()

    async def wait() -> str:
        await gate.wait()
        return "waited"

    runs = Runs()
    runs.add(returning(1), wait, returning(3), wait, returning(5))
    await turns(1)
    assert runs.kind.is_alone
    assert runs.begun_again == [2, 3, 4]
    await turns(4)
    assert runs.ends == [1, 3, 5]
    gate.set()
    await turns()
    assert runs.ends == [1, 3, 5, "waited", "waited"]
    first, second, third, fourth, fifth = runs.tasks
    assert first is second
    assert third is fourth
    assert len({second, fourth, fifth}) == 3
    assert all(task is not None and task.done() for task in runs.tasks)


async def test_what_a_job_leaves_in_its_context_the_next_one_does_not_see() -> None:
    async def leave() -> str:
        before = MARK.get()
        MARK.set("left")
        return before

    runs = Runs()
    runs.add(leave, leave, returning(3))
    await turns(6)
    assert runs.ends == ["", "", 3]
    assert runs.kind.is_alone
    assert len(set(runs.tasks)) == 3


async def test_a_context_that_was_put_back_is_as_good_as_new() -> None:
    async def borrow() -> None:
        MARK.reset(MARK.set("borrowed"))

    runs = Runs()
    runs.add(borrow, borrow)
    await turns()
    assert len(set(runs.tasks)) == 1
    assert not runs.kind.is_alone


async def test_a_cancellation_that_a_job_did_not_hear_is_not_the_next_ones() -> None:
    async def cancel() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def look() -> str:
        await asyncio.sleep(0)
        return "looked"

    runs = Runs()
    runs.add(cancel, look)
    await turns(4)
    assert runs.ends == [None, "looked"]
    assert len(set(runs.tasks)) == 2


async def test_a_job_that_is_cancelled_while_it_waits_ends_so_and_no_other() -> None:
    runs = Runs()
    runs.add(asyncio.Event().wait, returning(2))
    await turns(4)
    task = runs.tasks[0]
    assert task is not None
    task.cancel()
    await turns()
    result, error = runs.ends
    assert result == 2
    assert isinstance(error, asyncio.CancelledError)


class World:
    """An app in memory whose jobs keep their asyncio tasks."""

    def __init__(self) -> None:
        self.app = App(connector=InMemoryConnector())
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.under_way = self.most = 0

        @self.app.task(name="quick")
        async def _() -> None:
            self.tasks.append(asyncio.current_task())

        @self.app.task(name="told", pass_context=True)
        async def _(context: JobContext) -> None:
            assert context.job.task_name == "told"
            self.tasks.append(asyncio.current_task())

        @self.app.task(name="waiting")
        async def _() -> None:
            self.tasks.append(asyncio.current_task())
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0.01)
            self.under_way -= 1

    async def run(self, name: str, count: int, **options: Any) -> int:
        """Run so many jobs, 10 at a time; return in how many asyncio tasks."""
        for _ in range(count):
            await self.app.configure_task(name, **options).defer_async()
        await self.app.run_worker_async(
            concurrency=10, wait=False, install_signal_handlers=False
        )
        assert len(self.tasks) == count
        return len(set(self.tasks))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("name", ["quick", "told"])
async def test_a_worker_runs_quick_jobs_in_few_tasks(world: World, name: str) -> None:
    # Those of the first batch have tasks of their own: nothing is known of them yet.
    assert await world.run(name, 30) == 10 + 2


async def test_jobs_that_wait_are_under_way_together(world: World) -> None:
    assert await world.run("waiting", 30) == 30
    assert world.most == 10


async def test_a_limit_needs_no_task_of_its_own(world: World) -> None:
    assert await world.run("quick", 30, timeout=60) == 10 + 2


async def test_a_task_factory_makes_the_task_of_each_job(world: World) -> None:
    class Made(asyncio.Task[Any]):
        """Known by its type: Python 3.13.0 gives a factory's task another name."""

    def make(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        return Made(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(make)
    assert await world.run("quick", 30) == 30
    assert {type(task) for task in world.tasks} == {Made}


async def test_a_middleware_has_a_task_for_each_job(world: World) -> None:
    async def pass_on(call_next: Any, context: Any, worker: Any) -> Any:
        return await call_next()

    world.app.worker_defaults["task_middleware"] = [pass_on]
    assert await world.run("quick", 30) == 30
