"""
Clients of 3.10 at work, in its own environment: how long did any of their calls take?

One thread defers, one fetches and finishes, one is a worker of 3.10. When standard input ends,
they stop, and a line of JSON has the longest calls of each, in seconds.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import procrastinate

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 5


class Stopwatch:
    """The longest calls of one kind, and how many there were."""

    def __init__(self) -> None:
        self.calls = 0
        self.errors: list[str] = []
        self.longest: list[float] = []

    def time(self, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            return call()
        except Exception as error:
            self.errors.append(f"{error!r} {error.__cause__!r}")
        finally:
            self.calls += 1
            self.longest = sorted([*self.longest, time.monotonic() - began])[-LONGEST:]


def app_on(dsn: str, connector: Any) -> Any:
    app = procrastinate.App(connector=connector(conninfo=dsn))

    @app.task(name="nothing", queue="live")
    async def nothing(**_: Any) -> None:
        pass

    return app


def defer(dsn: str, stop: threading.Event, watch: Stopwatch) -> None:
    app = app_on(dsn, procrastinate.SyncPsycopgConnector)
    with app.open():
        while not stop.wait(0.002):
            watch.time(lambda: app.tasks["nothing"].defer(n=watch.calls))


def fetch(dsn: str, stop: threading.Event, watch: Stopwatch) -> None:
    async def run() -> None:
        app = app_on(dsn, procrastinate.PsycopgConnector)
        async with app.open_async():
            manager = app.job_manager
            worker_id = await manager.register_worker()
            beat = 0.0
            while not stop.is_set():
                if time.monotonic() > beat + 5:
                    beat = time.monotonic()
                    await manager.update_heartbeat(worker_id)
                began = time.monotonic()
                try:
                    job = await manager.fetch_job(queues=None, worker_id=worker_id)
                    if job is not None:
                        await manager.finish_job(
                            job, procrastinate.jobs.Status.SUCCEEDED, False
                        )
                except Exception as error:
                    watch.errors.append(f"{error!r} {error.__cause__!r}")
                watch.calls += 1
                took = time.monotonic() - began
                watch.longest = sorted([*watch.longest, took])[-LONGEST:]

    asyncio.run(run())


def work(dsn: str, stop: threading.Event, watch: Stopwatch) -> None:
    async def run() -> None:
        app = app_on(dsn, procrastinate.PsycopgConnector)
        async with app.open_async():
            worker = asyncio.create_task(
                app.run_worker_async(concurrency=4, install_signal_handlers=False)
            )
            while not stop.is_set():
                await asyncio.sleep(0.05)
                if worker.done():
                    error = worker.exception()
                    watch.errors.append(f"{error!r} {error and error.__cause__!r}")
                    return
            worker.cancel()
            await asyncio.wait([worker])

    asyncio.run(run())


def main() -> None:
    dsn = sys.argv[1]
    stop = threading.Event()
    watches = {"defer": Stopwatch(), "fetch and finish": Stopwatch(), "worker": Stopwatch()}
    threads = [
        threading.Thread(target=target, args=(dsn, stop, watch))
        for target, watch in zip((defer, fetch, work), watches.values(), strict=True)
    ]
    for thread in threads:
        thread.start()
    print(datetime.datetime.now(datetime.UTC).isoformat(), flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps({name: vars(watch) for name, watch in watches.items()}))


if __name__ == "__main__":
    main()
