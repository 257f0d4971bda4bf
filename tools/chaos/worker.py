"""A worker, as a process of its own: its tasks record what they do."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import logging
import os
import pathlib
import signal
import time
from typing import Any

from procrastinate import App, connector, exceptions, patience
from procrastinate.worker import outage
from tools.chaos import record, tasks

#: The pauses of a worker are minutes; a run of many faults has seconds. The code is the same.
HEARTBEAT = 1.0
STALLED = 5.0
SILENCE = 6.0  # seconds without an answer, and a call is taken for lost


def hurry() -> None:
    """Shorten what has no option: how long a silence is borne, and pauses between tries."""
    patience.ANSWER_TIMEOUT = SILENCE
    outage.LONGEST_PAUSE = 1.0
    connector.LISTEN_TIMEOUT = 5.0
    connector.LISTEN_PATIENCE = 3.0


def set_clock_wrong(seconds: float) -> None:
    """Let this process see another time than its machine."""
    if not seconds:
        return
    right, real = time.time, datetime.datetime
    time.time = lambda: right() + seconds

    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.now(tz) + datetime.timedelta(seconds=seconds)

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(
                seconds=seconds
            )

    datetime.datetime = Wrong  # type: ignore[misc]


class LogFile(logging.Handler):
    """Writes what the worker says of trouble, where it can be read afterwards."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__(logging.WARNING)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", "") == "job_error":
            return  # tasks fail on purpose
        with self._path.open("a") as file:
            text = self.format(record)
            file.write(
                json.dumps({"pid": os.getpid(), "level": record.levelname, "said": text})
            )
            file.write("\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--name", required=True)
    parser.add_argument("--history", required=True)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--mute", action="store_true", help="record no runs")
    return parser.parse_args()


def tell_what_it_waits_for() -> None:
    """Write the stacks of all tasks: whoever waits for this process in vain asks for it."""
    for task in asyncio.all_tasks():
        task.print_stack()


async def open_patiently(app: App) -> None:
    """Open the app as often as it takes: whoever watches over a worker would start it again."""
    while True:
        try:
            await app.open_async()
        except exceptions.DatabaseUnavailable:
            await app.close_async()
        else:
            return


async def main() -> None:
    given = arguments()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_what_it_waits_for)
    hurry()
    set_clock_wrong(given.skew)
    log = LogFile(pathlib.Path(given.history) / "workers.log")
    logging.getLogger("procrastinate").addHandler(log)
    recorder = record.Recorder(given.history, given.name, is_mute=given.mute)
    app = tasks.make_app(given.dsn, recorder)
    recorder.write("worker", skew=given.skew)
    await open_patiently(app)
    try:
        await app.run_worker_async(
            name=given.name,
            concurrency=given.concurrency,
            fetch_job_polling_interval=1.0,
            abort_job_polling_interval=1.0,
            shutdown_graceful_timeout=1.0,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED,
            stalled_jobs={"pay": "fail", "*": "retry"},
        )
    finally:
        await app.close_async()


if __name__ == "__main__":
    asyncio.run(main())
