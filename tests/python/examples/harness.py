"""
Run an example as it stands: ``python harness.py mycode.py``.

What a page can leave out, a program can't: here a top-level ``async with`` gets its event loop,
and the worker, which would run for ever, is stopped as an operator would stop it once it has
done its job.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import pathlib
import signal
import sys


class StopAfterOneJob(logging.Handler):
    """Sends SIGTERM when a job has succeeded."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", "") == "job_success":
            signal.raise_signal(signal.SIGTERM)


def main(path: pathlib.Path) -> None:
    """Run a program."""
    worker_logger = logging.getLogger("procrastinate.worker")
    worker_logger.setLevel(logging.INFO)
    worker_logger.addHandler(StopAfterOneJob())

    code = compile(path.read_text(), str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {"__name__": path.stem, "__file__": str(path)})
    if inspect.iscoroutine(result):
        asyncio.run(result)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
