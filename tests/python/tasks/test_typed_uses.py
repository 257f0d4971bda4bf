"""
What type checkers think of tasks: the checkers run over this file as over any other.

A misuse carries an ignore, which both obey, and one that is not needed is an error: so
each line here fails the checks if its use is judged otherwise.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

from typing import assert_type

import pytest

from procrastinate import App, Blueprint, JobContext, exceptions
from procrastinate.connector import BaseConnector


def test_calling_a_task_is_checked_like_calling_its_function() -> None:
    app = App(connector=BaseConnector())

    @app.task
    def add(a: int, b: int = 0) -> str:
        return str(a + b)

    assert_type(add(1, b=2), str)
    with pytest.raises(TypeError):
        add("1")  # type: ignore[arg-type]


def test_deferring_a_task_is_checked_against_its_parameters() -> None:
    blueprint = Blueprint()

    @blueprint.task(queue="q")
    def add(a: int, b: int = 0) -> int:
        return a + b

    with pytest.raises(exceptions.UnboundTaskError):
        assert_type(add.defer(a=1), int)
    with pytest.raises(exceptions.UnboundTaskError):
        add.defer(a="1")  # type: ignore[arg-type]
    with pytest.raises(exceptions.UnboundTaskError):
        add.defer(c=1)  # type: ignore[call-arg]


async def test_deferring_an_async_task_is_checked_against_its_parameters() -> None:
    blueprint = Blueprint()

    @blueprint.task(retry=3)
    async def add(a: int) -> int:
        return a

    assert_type(await add(1), int)
    with pytest.raises(exceptions.UnboundTaskError):
        assert_type(await add.defer_async(a=1), int)
    with pytest.raises(exceptions.UnboundTaskError):
        await add.defer_async()  # type: ignore[call-arg]


def test_the_context_is_no_argument_of_the_job() -> None:
    blueprint = Blueprint()

    @blueprint.task(pass_context=True)
    def with_context(context: JobContext, a: int) -> int:
        return a

    with pytest.raises(exceptions.UnboundTaskError):
        with_context.defer(a=1)
    with pytest.raises(exceptions.UnboundTaskError):
        with_context.configure(queue="q", schedule_in={"minutes": 5}).defer(a=1)
    with pytest.raises(exceptions.UnboundTaskError):
        with_context.defer()  # type: ignore[call-arg]


def test_the_timestamp_is_no_argument_of_a_periodic_task() -> None:
    blueprint = Blueprint()

    @blueprint.periodic(cron="* * * * *")
    @blueprint.task(name="ticking")
    def ticking(timestamp: int, a: int = 0) -> None: ...

    with pytest.raises(exceptions.UnboundTaskError):
        ticking.defer()
    with pytest.raises(exceptions.UnboundTaskError):
        ticking.defer(a="1")  # type: ignore[arg-type]


def test_options_of_a_job_are_checked() -> None:
    app = App(connector=BaseConnector())

    @app.task(name="t")
    def t() -> None: ...

    t.configure(priority=3, lock="l", queueing_lock=None)
    t.configure(priority="3")  # type: ignore[arg-type]
    t.configure(colour="red")  # type: ignore[call-arg]
