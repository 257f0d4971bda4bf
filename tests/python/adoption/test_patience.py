"""The switch is made under any load: it is in nobody's way, and waits longer each time."""

from __future__ import annotations

import re
import threading
from typing import Any

import psycopg
import psycopg.errors
import pytest

from procrastinate import adopting, adoption, exceptions, migrations
from tests.python.adoption import old
from tests.python.adoption.mortal import migrate_until
from tests.python.adoption.test_interruptions import READY, SWITCH, soundly_ours

WAITING = """
select 1 from pg_locks as l join pg_stat_activity as a on a.pid = l.pid
where not l.granted and a.datname = current_database()
"""


def test_who_has_the_jobs_can_end_while_the_switch_waits_for_him(
    empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "LOCK_TIMEOUT", 60_000)
    monkeypatch.setattr(adoption, "LONGEST_LOCK_TIMEOUT", 60_000)
    old.bring(empty_dsn, READY)
    old.fill(empty_dsn)
    assert migrate_until(empty_dsn, lambda _, query: SWITCH in query)
    with psycopg.connect(empty_dsn) as client, psycopg.connect(empty_dsn) as watch:
        watch.autocommit = True
        client.execute("lock table procrastinate_jobs in row exclusive mode")
        thread = threading.Thread(target=old.migrate, args=[empty_dsn])
        thread.start()
        while not watch.execute(WAITING.encode()).fetchall():
            pass
        # as a fetch does at its end, for its trigger and its foreign key
        client.execute("lock table procrastinate_events in row exclusive mode nowait")
        client.execute("lock table procrastinate_workers in row share mode nowait")
        client.commit()
        thread.join()
    assert soundly_ours(empty_dsn)


class Refusing:
    """A database that looks at jobs by the numbers given, and refuses scripts a few times."""

    def __init__(self, looked_at: list[int], refusals: int) -> None:
        self.looked_at = looked_at
        self.refusals = refusals
        self.asked: list[str] = []

    def run(self, steps: adopting.Steps[None]) -> list[str]:
        """Answer each step; return what was asked."""
        try:
            step = next(steps)
            while True:
                step = steps.send(self.answer(step))
        except StopIteration:
            return self.asked

    def answer(self, step: migrations.Query | migrations.Script) -> Any:
        if isinstance(step, migrations.Script):
            (timeout,) = re.findall(r"lock_timeout = (\d+);", step.text)
            self.asked.append(timeout)
            self.refusals -= 1
            return refused(psycopg.errors.LockNotAvailable()) if self.refusals >= 0 else []
        if "pg_sleep" in step.text:
            self.asked.append("sleep")
            return [{"slept": False}]
        self.asked.append("derive")
        return [{"jobs": self.looked_at.pop(0) if self.looked_at else 0}]


def refused(cause: Exception) -> exceptions.ConnectorException:
    error = exceptions.ConnectorException("refused")
    error.__cause__ = cause
    return error


def test_what_came_during_a_pause_is_derived_before_anybody_waits() -> None:
    database = Refusing([adopting.BATCH, adopting.BATCH, 5, 3], refusals=1)
    steps = adopting.patiently(adoption.pinned("select 1;"), derive=True)
    assert database.run(steps) == [
        *("derive", "derive", "derive", "120"),
        *("sleep", "derive", "130"),
    ]


def test_the_switch_waits_longer_each_time_up_to_a_bound() -> None:
    database = Refusing([], refusals=adopting.TRIES - 1)
    asked = database.run(adopting.patiently(adoption.pinned("select 1;")))
    timeouts = [int(each) for each in asked if each != "sleep"]
    assert timeouts == [min(120 + 10 * each, 400) for each in range(adopting.TRIES)]


def test_what_is_refused_to_the_end_is_an_error() -> None:
    database = Refusing([], refusals=adopting.TRIES)
    with pytest.raises(exceptions.ConnectorException, match="refused"):
        database.run(adopting.patiently(adoption.pinned("select 1;")))
    assert len(database.asked) == 2 * adopting.TRIES - 1
