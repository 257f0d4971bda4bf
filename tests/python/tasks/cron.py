"""Schedules of a task that does nothing, and a clock for them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from procrastinate import app as app_module
from procrastinate import periodic

if TYPE_CHECKING:
    pass


START = int(datetime.datetime(2030, 1, 1, 12, 0, 0, tzinfo=datetime.UTC).timestamp())


MINUTE = 60


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


def tick(timestamp: int, **kwargs: Any) -> None: ...


def schedule(
    app: app_module.App,
    *,
    cron: str = "* * * * *",
    name: str = "t",
    periodic_id: str = "",
    **options: Any,
) -> periodic.PeriodicTask[Any, Any, Any]:
    task = app.tasks[name] if name in app.tasks else app.task(name=name)(tick)
    app.periodic(cron=cron, periodic_id=periodic_id, **options)(task)
    return app.periodic_registry.periodic_tasks[name, periodic_id]
