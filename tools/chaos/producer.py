"""Whoever defers, as a process of its own: it records what was acknowledged before it goes on."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import psycopg

from procrastinate import exceptions
from tools.chaos import record, tasks, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import procrastinate
    from procrastinate.types import JSONDict

TASKS = ("quick", "quick", "quick", "slow", "threaded", "flaky", "doomed", "result", "pay")
LOCKS = 12
#: Seconds after which an answer is not waited for: it may have been done.
PATIENCE = 12.0
#: The same for one that defers at a steady rate: a silence is to cost it little.
LITTLE_PATIENCE = 2.0


def of_tokens(tokens: list[str]) -> Iterator[JSONDict]:
    """Yield the arguments of a batch."""
    for token in tokens:
        yield {"token": token}


class Producer:
    """Defers in all ways that there are, again and again."""

    def __init__(
        self,
        app: procrastinate.App,
        dsn: str,
        recorder: record.Recorder,
        chance: random.Random,
    ) -> None:
        self._app, self._dsn, self._recorder, self._chance = app, dsn, recorder, chance
        self._numbers = itertools.count()
        self._ways = (
            self._single,
            self._single,
            self._locked,
            self._many,
            self._together,
            self._unique,
            self._delayed,
            self._transaction,
        )

    def token(self) -> str:
        return f"{self._recorder.who}.{os.getpid()}.{next(self._numbers)}"

    async def once(self) -> None:
        """Defer in some way; what has no answer is recorded as such."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._chance.choice(self._ways)()
        except (exceptions.ConnectorException, psycopg.Error, TimeoutError) as exc:
            self._recorder.write("unanswered", error=type(exc).__name__)
            await asyncio.sleep(0.1)

    def _acknowledged(self, tokens: list[str], ids: list[int]) -> None:
        self._recorder.write("ack", tokens=tokens, ids=ids)

    async def _single(self) -> None:
        token = self.token()
        task = self._app.tasks[self._chance.choice(TASKS)]
        self._acknowledged([token], [await task.defer_async(token=token)])

    async def _locked(self) -> None:
        token, lock = self.token(), f"lock {self._chance.randrange(LOCKS)}"
        task = self._app.tasks[self._chance.choice(("quick", "threaded", "flaky"))]
        priority = self._chance.randrange(3)
        deferrer = task.configure(lock=lock, priority=priority)
        self._acknowledged([token], [await deferrer.defer_async(token=token)])

    async def _many(self) -> None:
        tokens = [self.token() for _ in range(self._chance.randrange(2, 10))]
        task = self._app.tasks[self._chance.choice(TASKS)]
        ids = await task.batch_defer_async(*of_tokens(tokens))
        self._acknowledged(tokens, ids)

    async def _together(self) -> None:
        await asyncio.gather(*(self._single() for _ in range(4)))

    async def _unique(self) -> None:
        token = self.token()
        deferrer = self._app.tasks["quick"].configure(
            queueing_lock=f"place {self._chance.randrange(LOCKS)}"
        )
        try:
            self._acknowledged([token], [await deferrer.defer_async(token=token)])
        except exceptions.AlreadyEnqueued:
            self._recorder.write("refused", tokens=[token])

    async def _delayed(self) -> None:
        token = self.token()
        deferrer = self._app.tasks["quick"].configure(schedule_in={"milliseconds": 700})
        self._acknowledged([token], [await deferrer.defer_async(token=token)])

    async def _transaction(self) -> None:
        token = self.token()
        async with await psycopg.AsyncConnection.connect(self._dsn) as conn:
            cursor = await conn.execute(
                "select procrastinate_defer_job('default', 'quick',"
                " args => jsonb_build_object('token', %s::text))",
                (token,),
            )
            (job_id,) = await cursor.fetchone() or (0,)
            if self._chance.random() < 0.5:
                # before the rollback: whatever becomes of it, nothing was committed
                self._recorder.write("rolled_back", tokens=[token])
                await conn.rollback()
                return
            await conn.commit()
        self._acknowledged([token], [job_id])


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--name", required=True)
    parser.add_argument("--history", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--pause", type=float, default=0.12)
    parser.add_argument("--batch", type=int, default=0)
    given: Any = parser.parse_args()
    worker.hurry()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    recorder = record.Recorder(given.history, given.name)
    app = tasks.make_app(given.dsn)
    chance = random.Random(given.seed)  # noqa: S311 (nobody must not guess it)
    producer = Producer(app, given.dsn, recorder, chance)
    async with app.open_async():
        if given.batch:
            await produce_evenly(app, recorder, given.batch, given.pause, stopping)
        while not stopping.is_set():
            await producer.once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), given.pause)


async def produce_evenly(
    app: procrastinate.App,
    recorder: record.Recorder,
    batch: int,
    pause: float,
    stopping: asyncio.Event,
) -> None:
    """Defer a batch of quick jobs each so many seconds, whatever happens; catch up on none."""
    loop, number = asyncio.get_running_loop(), itertools.count()
    due = loop.time()
    while not stopping.is_set():
        tokens = [f"{recorder.who}.{os.getpid()}.{next(number)}" for _ in range(batch)]
        try:
            async with asyncio.timeout(LITTLE_PATIENCE):
                ids = await app.tasks["quick"].batch_defer_async(*of_tokens(tokens))
        except (exceptions.ConnectorException, TimeoutError) as exc:
            recorder.write("unanswered", error=type(exc).__name__)
        else:
            recorder.write("ack", tokens=tokens, ids=ids)
        due = max(due + pause, loop.time())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), max(due - loop.time(), 0.001))


if __name__ == "__main__":
    asyncio.run(main())
