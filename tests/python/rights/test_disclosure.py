"""What a job was given is in no log record at info and above, and in no error of ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import procrastinate
from procrastinate import cli, disclosure, exceptions
from procrastinate import jobs as jobs_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "5ecret-v4lue"
NAMES = ("ends", "fails", "aborts", "is_slow", "takes_others", "gives_what_is_no_json")
PASSWORD = "pa55word-of-the-database"


@pytest.fixture
def ask() -> Iterator[Callable[[], None]]:
    """Ask for arguments in the log, until the test ends."""
    yield disclosure.show_args
    disclosure.show_args(False)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, which the command line sets up, and which is afterwards as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def said(records: list[logging.LogRecord], level: int = logging.INFO) -> str:
    """All that these records say, in words and in what they carry for machines."""
    formatter = logging.Formatter()
    standard = set(logging.makeLogRecord({}).__dict__)
    return "\n".join(
        formatter.format(record)
        + json.dumps(
            {key: value for key, value in record.__dict__.items() if key not in standard},
            default=repr,
        )
        for record in records
        if record.levelno >= level
    )


def shop(dsn: str) -> procrastinate.App:
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=4)
    )

    @app.task(name="ends")
    async def ends(card: str) -> None:
        assert card

    @app.task(name="fails", retry=1)
    def fails(card: str) -> None:
        raise ValueError("no")

    @app.task(name="aborts")
    async def aborts(card: str) -> None:
        raise exceptions.JobAborted

    @app.task(name="is_slow", timeout=0.001)
    async def is_slow(card: str) -> None:
        await asyncio.Event().wait()

    @app.task(name="takes_others")
    async def takes_others(other: str) -> None: ...

    @app.task(name="gives_what_is_no_json", store_result=True)
    async def gives_what_is_no_json(card: str) -> object:
        return object()

    @app.periodic(cron="0 0 1 1 *", periodic_id="p", task_kwargs={"card": SECRET})
    @app.task(name="ticks")
    async def ticks(timestamp: int, card: str) -> None: ...

    return app


async def work(dsn: str) -> None:
    app = shop(dsn)
    async with app.open_async():
        for name in (*NAMES, "unknown"):
            await app.configure_task(name, allow_unknown=True).defer_async(card=SECRET)
        cards: Any = [{"card": SECRET}] * 3
        await app.tasks["ends"].batch_defer_async(*cards)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
        errors = await refused(app)
    assert SECRET not in errors


async def refused(app: procrastinate.App) -> str:
    """The texts of what is raised for jobs with that argument, causes and notes included."""
    texts: list[str] = []
    task = app.tasks["ends"]
    await app.configure_task("ends", queueing_lock="ql", key="k").defer_async(card=SECRET)
    cases: Any = (
        (app.configure_task("ends", queueing_lock="ql"), {"card": SECRET}),
        (app.configure_task("ends", key="k"), {"card": SECRET}),
        (app.configure_task("ends", queue="q" * 129), {"card": SECRET}),
        (app.configure_task("ends", lock=secrets.token_hex(4000)), {"card": SECRET}),
        (app.configure_task("ends", priority=2**40), {"card": SECRET}),
        (task.configure(), {"card": SECRET + "x" * 11_000_000}),
        (task.configure(), {"card": {SECRET}}),
        (task.configure(), {"card": SECRET + "\x00"}),
    )
    for deferrer, args in cases:
        try:
            await deferrer.defer_async(**args)
        except Exception as exc:
            texts += traceback.format_exception(exc, limit=0)
        else:
            raise AssertionError(f"{deferrer} took it")
    return "\n".join(texts)


async def test_no_argument_is_in_the_log_nor_in_an_error(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await work(dsn)
    text = said(caplog.records)
    for action in ("start_job", "job_success", "job_error", "job_aborted", "jobs_deferred"):
        assert f'"action": "{action}"' in text
    assert SECRET not in text
    assert "ends[" in text
    assert "(...)" in text
    assert SECRET in said(caplog.records, logging.DEBUG)  # there it may be


async def test_whoever_asks_sees_arguments(
    dsn: str, caplog: pytest.LogCaptureFixture, ask: Callable[[], None]
) -> None:
    caplog.set_level(logging.INFO)
    ask()
    app = shop(dsn)
    async with app.open_async():
        await app.tasks["ends"].defer_async(card=SECRET)
        await app.run_worker_async(wait=False, install_signal_handlers=False)
    assert f"Starting job ends[1](card='{SECRET}')" in said(caplog.records)


@pytest.mark.parametrize(
    ("given", "shown"),
    [({}, "t[1]()"), ({"a": SECRET}, "t[1](...)"), ([SECRET], "t[1](...)")],
)
def test_a_job_in_the_log_has_the_names_of_its_arguments(given: Any, shown: str) -> None:
    job = jobs_module.Job(
        id=1, queue="q", lock=None, queueing_lock=None, task_name="t", task_kwargs=given
    )
    context = job.log_context()
    assert (job.log_string, context["call_string"]) == (shown, shown)
    assert SECRET not in json.dumps(context, default=repr)
    shown_args: Any = context["task_kwargs"]
    assert isinstance(given, list) or set(shown_args) == set(given)
    assert SECRET in job.call_string or not given


@pytest.mark.parametrize("options", [[], ["-v"]], ids=["info", "debug"])
def test_the_command_line_keeps_them_and_the_password_too(
    dsn: str,
    options: list[str],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    root_logger: logging.Logger,
) -> None:
    (tmp_path / "secretive.py").write_text(
        "import procrastinate\n"
        f"app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo={dsn!r},"
        " min_size=1))\n"
        "lost = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo="
        f"'host=127.0.0.1 port=1 user=u password={PASSWORD}', timeout=1, min_size=1))\n"
        "@app.task(name='ends')\n"
        "def ends(card): raise ValueError('no')\n"
    )
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "secretive", raising=False)  # it had another database
    root = root_logger
    for args in (
        ["-a", "secretive.app", "defer", "ends", json.dumps({"card": SECRET})],
        ["-a", "secretive.app", "worker", "--one-shot"],
        ["-a", "secretive.lost", "healthchecks"],
    ):
        monkeypatch.setattr("sys.argv", ["procrastinate", *options, *args])
        root.handlers.clear()
        lost = args[1] == "secretive.lost"
        with pytest.raises(SystemExit) if lost else contextlib.nullcontext():
            cli.main()
    shown = capfd.readouterr()
    echo, logged = shown.err.split("\n", 1) if not options else ("", shown.err)
    assert "ends" in logged
    assert "Launching" in shown.err
    assert echo == "" or echo.startswith("Launching a job: ends(")  # back to who typed it
    assert PASSWORD not in shown.err + shown.out
    assert (SECRET in logged) is bool(options)
    assert SECRET not in shown.out
