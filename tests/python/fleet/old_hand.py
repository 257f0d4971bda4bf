"""
A client of 3.10 that does as it is told: a line of JSON in, a line of JSON out.

`["manager", verb, {…}]` calls the job manager, `["defer", task, {options}, [{arguments}, …]]`
defers. It runs in 3.10's own environment.
"""

from __future__ import annotations

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


def obey(kind: str, name: str, options: dict[str, Any], *rest: Any) -> Any:
    if kind == "defer":
        return app.configure_task(name, **options).batch_defer(*rest[0])
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
