"""Tasks and what they make of options."""

from __future__ import annotations

import datetime
import functools
import inspect
from typing import Any

import pytest

from procrastinate import app as app_module
from procrastinate import exceptions, jobs, retry, tasks, utils
from procrastinate.blueprints import Blueprint
from procrastinate.connector import BaseConnector

MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def app() -> app_module.App:
    """An app that never gets to a database."""
    return app_module.App(connector=BaseConnector())


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_the_default_name_is_the_module_and_the_own_name_of_the_function(
    app: app_module.App,
) -> None:
    def nested() -> None: ...

    assert app.task(add).name == f"{__name__}.add"
    assert app.task(nested).name == f"{__name__}.nested"
    assert app.task(lambda: None).name == f"{__name__}.<lambda>"

    class Shop:
        @app.task
        def sell(self) -> None: ...

    assert Shop.sell.name == f"{__name__}.sell"


def test_a_name_that_is_given_replaces_the_default(app: app_module.App) -> None:
    task = app.task(name="other")(add)

    assert (task.name, task.full_path) == ("other", f"{__name__}.add")


@pytest.mark.parametrize("nameless", [functools.partial(add, 1), 3, "text"])
def test_what_has_no_name_needs_one(app: app_module.App, nameless: Any) -> None:
    with pytest.raises(exceptions.FunctionPathError, match=r"Try passing `name=`"):
        app.task(nameless)


def test_what_has_no_name_can_be_given_one(app: app_module.App) -> None:
    task = app.task(name="partial")(functools.partial(add, 1))

    assert task(b=2) == 3


def test_the_decorator_works_with_and_without_parentheses(app: app_module.App) -> None:
    with_parentheses = app.task()(add)
    without = Blueprint().task(add)

    assert (with_parentheses.queue, without.queue) == ("default", "default")


def test_an_unknown_option_of_the_decorator_is_refused(app: app_module.App) -> None:
    option: dict[str, Any] = {"foo": 1}

    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'"):
        app.task(**option)


def test_a_task_has_the_attributes_that_it_was_given(app: app_module.App) -> None:
    strategy = retry.RetryStrategy(wait=5)

    task = app.task(
        name="name",
        aliases=["alias"],
        retry=strategy,
        pass_context=False,
        queue="queue",
        priority=7,
        lock="lock",
        queueing_lock="queueing lock",
    )(add)

    assert task.retry_strategy is strategy
    assert not hasattr(task, "retry")
    assert task.blueprint is app
    assert task.func is add
    assert (
        task.name,
        task.aliases,
        task.pass_context,
        task.queue,
        task.priority,
        task.lock,
        task.queueing_lock,
        task.task_middleware,
    ) == ("name", ["alias"], False, "queue", 7, "lock", "queueing lock", [])


def test_a_task_looks_like_its_function(app: app_module.App) -> None:
    task = app.task(add)

    described: Any = task
    assert (described.__name__, described.__doc__) == ("add", "Add two numbers.")
    assert described.__wrapped__ is add
    assert inspect.signature(described) == inspect.signature(add)


def test_calling_a_task_runs_the_function_here_and_now(app: app_module.App) -> None:
    assert app.task(add)(1, b=2) == 3


async def test_calling_an_async_task_makes_a_coroutine(app: app_module.App) -> None:
    async def double(value: int) -> int:
        return value * 2

    task = app.task(double)

    assert await task(2) == 4
    assert not inspect.iscoroutinefunction(task)


def test_calling_a_task_with_context_leaves_the_context_to_the_caller(
    app: app_module.App,
) -> None:
    def with_context(context: Any, value: int) -> Any:
        return context, value

    task = app.task(pass_context=True)(with_context)
    context: Any = "context"

    assert task(context, 2) == ("context", 2)


def job_of(task: tasks.Task[Any, Any, Any], **options: Any) -> jobs.Job:
    return task.configure(**options).job


def test_a_job_gets_the_defaults_of_its_task(app: app_module.App) -> None:
    task = app.task(name="t", queue="q", priority=7, lock="l", queueing_lock="ql")(add)

    assert job_of(task) == jobs.Job(
        task_name="t", queue="q", priority=7, lock="l", queueing_lock="ql"
    )


def test_what_is_configured_comes_before_the_defaults(app: app_module.App) -> None:
    task = app.task(name="t", queue="q", priority=7, lock="l", queueing_lock="ql")(add)

    assert job_of(
        task,
        queue="other q",
        priority=0,
        lock="other l",
        queueing_lock="other ql",
        task_kwargs={"a": 1},
        schedule_at=MOMENT,
    ) == jobs.Job(
        task_name="t",
        queue="other q",
        priority=0,
        lock="other l",
        queueing_lock="other ql",
        task_kwargs={"a": 1},
        scheduled_at=MOMENT,
    )


def test_none_means_the_default(app: app_module.App) -> None:
    task = app.task(name="t", queue="q", priority=7, lock="l", queueing_lock="ql")(add)

    nothing = dict.fromkeys(
        ["queue", "priority", "lock", "queueing_lock", "task_kwargs", "schedule_at"]
    )

    assert job_of(task, **nothing) == job_of(task)


def test_an_empty_queue_name_means_the_default_of_all(app: app_module.App) -> None:
    task = app.task(name="t", queue="q")(add)

    assert job_of(task, queue="").queue == "default"


def test_zero_and_empty_strings_are_values_of_the_other_options(app: app_module.App) -> None:
    task = app.task(name="t", queue="q", priority=7, lock="l", queueing_lock="ql")(add)

    job = job_of(task, priority=0, lock="", queueing_lock="")

    assert (job.priority, job.lock, job.queueing_lock) == (0, "", "")


def test_a_delay_becomes_a_schedule(
    app: app_module.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "utcnow", lambda: MOMENT)

    job = job_of(app.task(add), schedule_in={"minutes": -5})

    assert job.scheduled_at == MOMENT - datetime.timedelta(minutes=5)


def test_a_job_has_one_schedule(app: app_module.App) -> None:
    with pytest.raises(ValueError, match=r"^Cannot set both schedule_at and schedule_in$"):
        app.task(add).configure(schedule_at=MOMENT, schedule_in={"minutes": 5})


def test_a_schedule_knows_its_timezone(app: app_module.App) -> None:
    with pytest.raises(ValueError, match=r"^Timezone aware datetime is required$"):
        app.task(add).configure(schedule_at=MOMENT.replace(tzinfo=None))


def test_a_delay_of_an_unknown_unit_is_refused(app: app_module.App) -> None:
    delay: Any = {"foo": 1}

    with pytest.raises(TypeError, match="foo"):
        app.task(add).configure(schedule_in=delay)


def test_the_connection_is_kept_for_the_defer(app: app_module.App) -> None:
    connection = object()

    assert app.task(add).configure(connection=connection).connection is connection


def test_arguments_of_both_places_are_merged_and_those_of_the_defer_win(
    app: app_module.App,
) -> None:
    deferrer = app.task(add).configure(task_kwargs={"a": 1, "b": 2})

    assert deferrer.make_new_job(b=3, c=4).task_kwargs == {"a": 1, "b": 3, "c": 4}
    assert deferrer.job.task_kwargs == {"a": 1, "b": 2}


def test_a_task_without_retry_has_no_retry_exception(app: app_module.App) -> None:
    task = app.task(add)

    assert task.get_retry_exception(exception=ValueError(), job=job_of(task)) is None


def test_a_task_asks_its_strategy(app: app_module.App) -> None:
    task = app.task(retry=1)(add)

    assert task.get_retry_exception(exception=ValueError(), job=job_of(task)) is not None
    assert (
        task.get_retry_exception(exception=ValueError(), job=job_of(task).evolve(attempts=1))
        is None
    )


def test_a_task_that_belongs_to_no_app_can_not_be_deferred() -> None:
    task = Blueprint().task(add)

    with pytest.raises(exceptions.UnboundTaskError):
        task.configure()
    with pytest.raises(exceptions.UnboundTaskError):
        task.defer(a=1, b=2)
    with pytest.raises(exceptions.UnboundTaskError):
        task.batch_defer()


async def test_a_task_that_belongs_to_no_app_can_not_be_deferred_in_async_code() -> None:
    task = Blueprint().task(add)

    with pytest.raises(exceptions.UnboundTaskError):
        await task.defer_async(a=1, b=2)
    with pytest.raises(exceptions.UnboundTaskError):
        await task.batch_defer_async()


def test_an_unknown_task_is_configured_by_name_with_the_defaults_of_all(
    app: app_module.App,
) -> None:
    assert app.configure_task("nope", priority=3).job == jobs.Job(
        task_name="nope", queue="default", priority=3, lock=None, queueing_lock=None
    )


def test_an_unknown_task_can_be_refused(app: app_module.App) -> None:
    with pytest.raises(exceptions.TaskNotFound) as error:
        app.configure_task("nope", allow_unknown=False)

    assert isinstance(error.value.__cause__, KeyError)


def test_a_known_task_is_configured_by_name_or_alias_with_its_own_defaults(
    app: app_module.App,
) -> None:
    app.task(name="t", aliases=["alias"], queue="q")(add)

    for name in ("t", "alias"):
        job = app.configure_task(name, allow_unknown=False).job
        assert (job.task_name, job.queue) == ("t", "q")
