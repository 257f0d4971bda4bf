"""
A client of 3.10 that does as it is told: a line of JSON in, a line of JSON out.

`["manager", verb, {…}]` calls the job manager, `["defer", task, {options}, [{arguments}, …]]`
defers, and with `_async` the same is done by an app that is async. It runs in 3.10's own
environment.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from typing import Any

import procrastinate

app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=sys.argv[1]))


def plain(value: Any) -> Any:
    if isinstance(value, procrastinate.jobs.Job):
        return value.log_context()
    return getattr(value, "value", str(value))


def name_task(app: procrastinate.App, task: str, options: dict[str, Any]) -> Any:
    if "schedule_at" in options:
        options["schedule_at"] = datetime.datetime.fromisoformat(options["schedule_at"])
    return app.configure_task(task, **options)


async def obey_async(kind: str, name: str, options: dict[str, Any], *rest: Any) -> Any:
    connector = procrastinate.PsycopgConnector(conninfo=sys.argv[1], min_size=1)
    async with procrastinate.App(connector=connector).open_async() as mine:
        if kind == "defer_async":
            return await name_task(mine, name, options).batch_defer_async(*rest[0])
        answer = await getattr(mine.job_manager, name)(**options)
        return list(answer) if kind == "list_async" else answer


def obey(kind: str, name: str, options: dict[str, Any], *rest: Any) -> Any:
    if kind.endswith("_async"):
        return asyncio.run(obey_async(kind, name, options, *rest))
    if kind == "defer":
        return name_task(app, name, options).batch_defer(*rest[0])
    if "retry_at" in options:
        options["retry_at"] = datetime.datetime.fromisoformat(options["retry_at"])
    return getattr(app.job_manager, name)(**options)


with app.open():
    print(json.dumps(procrastinate.__version__), flush=True)
    for line in sys.stdin:
        try:
            answer = {"answer": obey(*json.loads(line))}
        except procrastinate.exceptions.ProcrastinateException as error:
            answer = {"error": type(error).__name__}
        print(json.dumps(answer, default=plain), flush=True)
