"""The small tools."""

from __future__ import annotations

import asyncio
import contextvars
import datetime
import functools
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import pytest

from procrastinate import exceptions, utils

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

UTC = datetime.UTC


def test_an_object_is_loaded_by_its_dotted_path() -> None:
    assert utils.load_from_path("procrastinate.utils.load_from_path") is utils.load_from_path


@pytest.mark.parametrize("path", ["", "nodot", ".leading", "trailing."])
def test_a_path_without_module_and_attribute_is_not_valid(path: str) -> None:
    with pytest.raises(exceptions.LoadFromPathError) as error:
        utils.load_from_path(path)

    assert str(error.value) == f"{path} is not a valid path"


def test_a_missing_attribute_is_named_with_its_module() -> None:
    with pytest.raises(
        exceptions.LoadFromPathError, match=r"module 'json' has no attribute 'nope'"
    ) as error:
        utils.load_from_path("json.nope")

    assert isinstance(error.value.__cause__, AttributeError)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(exceptions.LoadFromPathError, match=r"No module named 'nope'") as error:
        utils.load_from_path("nope.app")

    assert isinstance(error.value.__cause__, ImportError)


def test_an_object_of_another_type_is_refused_with_both_types_named() -> None:
    with pytest.raises(
        exceptions.LoadFromPathError,
        match=r"^Object at json\.dumps is not of type str but function$",
    ):
        utils.load_from_path("json.dumps", str)


@pytest.mark.parametrize(
    ("name", "program", "error"),
    [
        ("broken_by_design", "1 / 0", ZeroDivisionError),
        ("broken_by_an_attribute", "None.nope", AttributeError),
    ],
)
def test_an_error_while_a_module_is_imported_comes_through(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    program: str,
    error: type[Exception],
) -> None:
    (tmp_path / f"{name}.py").write_text(program)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    with pytest.raises(error) as raised:
        utils.load_from_path(f"{name}.app")

    assert type(raised.value) is error


def test_all_paths_are_imported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="procrastinate.utils")
    for name in ("first_of_two", "second_of_two"):
        (tmp_path / f"{name}.py").touch()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    utils.import_all(iter(["first_of_two", "second_of_two"]))

    assert {"first_of_two", "second_of_two"} <= sys.modules.keys()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "Importing module first_of_two"),
        ("DEBUG", "Importing module second_of_two"),
    ]
    assert caplog.records[1].__dict__["action"] == "import_module"
    assert caplog.records[1].__dict__["module_name"] == "second_of_two"


def test_a_path_to_import_that_is_missing_raises_what_python_raises() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'does'"):
        utils.import_all(["does.not.exist"])


def test_the_full_path_is_the_module_and_the_own_name() -> None:
    def inner() -> None: ...

    assert utils.get_full_path(inner) == f"{__name__}.inner"


def test_an_object_without_a_name_has_no_full_path() -> None:
    with pytest.raises(
        exceptions.FunctionPathError, match=r"Try passing `name=` to the task decorator$"
    ):
        utils.get_full_path(functools.partial(print))


def test_the_caller_is_the_first_module_that_is_not_ours() -> None:
    assert utils.caller_module_name() == __name__


def test_the_caller_is_found_beyond_the_modules_of_a_prefix() -> None:
    assert utils.caller_module_name(prefix=__name__) != __name__


def test_a_module_that_only_begins_like_ours_is_not_ours() -> None:
    assert utils.caller_module_name(prefix=__name__[:-1]) == __name__


def test_a_caller_that_can_not_be_found_is_an_error() -> None:
    # Every module's name begins with nothing.
    with pytest.raises(exceptions.CallerModuleUnknown):
        utils.caller_module_name(prefix="")


def test_now_and_the_end_of_time_know_their_timezone() -> None:
    assert utils.utcnow().tzinfo is UTC
    assert abs(utils.utcnow() - datetime.datetime.now(UTC)) < datetime.timedelta(minutes=1)
    assert utils.utcmax() == datetime.datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2030-01-01", datetime.datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01T00:00:00Z", datetime.datetime(2030, 1, 1, tzinfo=UTC)),
        ("2030-01-01 00:00:00+0100", datetime.datetime(2029, 12, 31, 23, tzinfo=UTC)),
        ("1 Jan 2030 14:00", datetime.datetime(2030, 1, 1, 14, tzinfo=UTC)),
    ],
)
def test_a_date_is_read_and_in_utc_unless_it_says_otherwise(
    raw: str, expected: datetime.datetime
) -> None:
    parsed = utils.parse_datetime(raw)

    assert parsed == expected
    assert parsed.utcoffset() is not None


def test_what_is_no_date_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="xxx"):
        utils.parse_datetime("xxx")


def test_a_delay_is_counted_from_now() -> None:
    before = utils.utcnow()

    moment = utils.datetime_from_timedelta_params({"minutes": 5})

    assert before <= moment - datetime.timedelta(minutes=5) <= utils.utcnow()


def test_a_unit_that_a_delay_does_not_have_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="foo"):
        utils.datetime_from_timedelta_params({"foo": 1})  # type: ignore[typeddict-unknown-key]  # pyright: ignore[reportArgumentType]


def test_a_namespace_stands_before_the_name() -> None:
    assert utils.add_namespace("name", "ns") == "ns:name"


@pytest.mark.parametrize(
    ("queues", "expected"),
    [(None, "all queues"), ([], "all queues"), (("b", "a"), "queues b, a")],
)
def test_queues_are_displayed(queues: list[str] | None, expected: str) -> None:
    assert utils.queues_display(queues) == expected


def test_the_causes_of_an_exception_begin_with_itself() -> None:
    first, second, third = ValueError("1"), TypeError("2"), KeyError("3")
    first.__cause__ = second
    second.__context__ = third

    assert list(utils.causes(first)) == [first, second, third]


def test_nothing_has_no_causes() -> None:
    assert list(utils.causes(None)) == []


async def _double(value: int, *, plus: int = 0) -> int:
    await asyncio.sleep(0)
    return value * 2 + plus


def test_sync_code_can_call_an_async_function() -> None:
    assert utils.async_to_sync(_double, 2, plus=1) == 5


async def test_sync_code_in_the_thread_of_a_loop_is_told_to_await() -> None:
    with pytest.raises(RuntimeError, match="just await the async function directly"):
        utils.async_to_sync(_double, 2)


async def test_a_sync_function_runs_in_another_thread() -> None:
    here = threading.get_ident()

    assert await utils.sync_to_async(threading.get_ident) != here


async def test_async_code_called_from_a_thread_runs_on_the_loop_of_that_thread() -> None:
    async def which_loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = await utils.sync_to_async(utils.async_to_sync, which_loop)

    assert loop is asyncio.get_running_loop()


async def test_context_variables_reach_the_thread() -> None:
    variable = contextvars.ContextVar("variable", default="")
    variable.set("here")

    assert await utils.sync_to_async(variable.get) == "here"


async def test_a_given_executor_is_used() -> None:
    with ThreadPoolExecutor(thread_name_prefix="mine") as executor:
        name = await utils.call_in_executor(executor, lambda: threading.current_thread().name)

    assert name.startswith("mine")


async def test_a_stop_iteration_in_a_thread_does_not_hang_the_caller() -> None:
    def stop() -> NoReturn:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await utils.sync_to_async(stop)


class _Door:
    def __init__(self) -> None:
        self.steps: list[str] = []

    async def open(self) -> None:
        self.steps.append("open")

    async def close(self) -> None:
        self.steps.append("close")

    @property
    def context(self) -> utils.AwaitableContext[_Door]:
        return utils.AwaitableContext(self.open, self.close, self)


async def test_awaiting_an_awaitable_context_opens_and_returns_the_value() -> None:
    door = _Door()

    assert await door.context is door
    assert door.steps == ["open"]


async def test_an_awaitable_context_closes_even_after_an_error() -> None:
    door = _Door()

    async def fail() -> None:
        async with door.context as value:
            assert value is door
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert door.steps == ["open", "close"]


def _call(moved: utils.MovedElsewhere) -> object:
    return moved(dsn="x")


def _attribute(moved: utils.MovedElsewhere) -> object:
    return moved.pool


@pytest.mark.parametrize("use", [_call, _attribute])
def test_what_moved_elsewhere_says_where_when_used(
    use: Callable[[utils.MovedElsewhere], object],
) -> None:
    moved = utils.MovedElsewhere(name="Thing", new_location="procrastinate.contrib.Thing")

    with pytest.raises(
        exceptions.MovedElsewhere,
        match=r"^procrastinate\.Thing has been moved to procrastinate\.contrib\.Thing$",
    ):
        use(moved)
