"""What the command line understands, and what it says if it does not."""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any

import pytest

from procrastinate import cli, jobs

if TYPE_CHECKING:
    from .conftest import Run


def parsed(*args: str) -> dict[str, Any]:
    values = cli.parse_args(["-a", "cliapp.app", *args])
    for name in ("app", "command", "func", "log_args", "log_format", "log_format_style"):
        values.pop(name)
    return values


def worker_options(*args: str) -> dict[str, Any]:
    values = parsed("worker", *args)
    values.pop("verbose")
    values.pop("log_level")
    return values


def defer_options(*args: str) -> dict[str, Any]:
    values = parsed("defer", "t", *args)
    for name in ("verbose", "log_level", "task"):
        values.pop(name)
    return values


LEAVE, RETRY, FAIL = jobs.StalledJobPolicy
NOTHING_TO_DEFER = {"json_args": None, "ignore_already_enqueued": False, "unknown": False}


@pytest.mark.parametrize("command", [[], ["worker"], ["defer"], ["schema"], ["healthchecks"]])
def test_help_is_data_and_needs_no_app(run: Run, command: list[str]) -> None:
    outcome = run(*command, "--help", app=None)

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("usage: procrastinate")


def test_the_help_of_an_option_names_its_variable_and_default(run: Run) -> None:
    text = " ".join(run("--help").out.split())

    assert "Dotted path to the Procrastinate app (env: PROCRASTINATE_APP) (default: )" in text
    assert "(env: PROCRASTINATE_LOG_LEVEL: set to desired log level) (default: None)" in text
    assert "(default: %(levelname)s:%(name)s:%(message)s)" in text


def test_the_help_of_a_flag_says_what_its_variable_may_be(run: Run) -> None:
    text = " ".join(run("worker", "--help").out.split())

    assert "(env: PROCRASTINATE_WORKER_WAIT: use 0/n/f or 1/y/t)" in text
    assert "-w, --wait, --one-shot" in text
    assert "--delete-jobs {never,successful,always}" in text


def test_the_version_is_data(run: Run) -> None:
    outcome = run("-V", app=None)

    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("procrastinate, version 4.")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "procrastinate: error: the following arguments are required: command"),
        (["wor"], "procrastinate: error: argument command: invalid choice: 'wor' (choose from"),
        (["worker", "--stalled-jobs", "retry,pay=kill"], "invalid policy: 'pay=kill' (leave, "),
        (["worker", "--stalled-jobs", "retry,fail"], "two policies for *: 'retry,fail'"),
        (["worker", "--stalled-jobs", ","], "argument --stalled-jobs: no policy: ','"),
        (["worker", "--retention", "soon"], "argument --retention: invalid duration: 'soon'"),
        (["worker", "--retention", "0"], "'0' would delete jobs as they end"),
        (["worker", "sums"], "procrastinate: error: unrecognized arguments: sums"),
        (["worker", "--que=x"], "procrastinate: error: unrecognized arguments: --que=x"),
        (["worker", "-c", "x"], "argument -c/--concurrency: invalid int value: 'x'"),
        (
            ["worker", "--delete-jobs", "foo"],
            "argument --delete-jobs: invalid DeleteJobCondition value: 'foo'",
        ),
        (["worker", "--no-wait"], "unrecognized arguments: --no-wait"),
        (["defer", "t", "--at", "xxx"], "argument --at: invalid parse_datetime value: 'xxx'"),
        (["defer", "t", "--in", "1.5"], "argument --in: invalid <lambda> value: '1.5'"),
        (["defer", "t", "--priority", "x"], "argument --priority: invalid int value: 'x'"),
        (
            ["defer", "t", "--in", "1", "--at", "2030-01-01"],
            "argument --at: not allowed with argument --in",
        ),
        (
            ["-v", "--log-level", "info", "worker"],
            "argument --log-level: not allowed with argument -v/--verbose",
        ),
        (["--log-level", "INFO", "worker"], "argument --log-level: invalid choice: 'INFO'"),
    ],
)
def test_what_is_not_understood_is_a_usage_error(
    run: Run, args: list[str], message: str
) -> None:
    outcome = run(*args)

    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("usage: procrastinate")
    assert message in outcome.err


def test_without_options_the_worker_has_none_so_that_the_app_decides() -> None:
    assert worker_options() == {}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-n", "me"], {"name": "me"}),
        (["--name", "me"], {"name": "me"}),
        (["-q", "sums, b"], {"queues": ["sums", "b"]}),
        (["-q", "b,,c"], {"queues": ["b", "c"]}),
        (["-q", ""], {"queues": None}),
        (["-q", "a", "-q", "b"], {"queues": ["b"]}),
        (["-c", "3"], {"concurrency": 3}),
        (["-p", "0.5"], {"fetch_job_polling_interval": 0.5}),
        (["-a", "0.5"], {"abort_job_polling_interval": 0.5}),
        (["--shutdown-graceful-timeout", "0"], {"shutdown_graceful_timeout": 0.0}),
        (["-w"], {"wait": True}),
        (["--one-shot"], {"wait": False}),
        (["--one-shot", "--wait"], {"wait": True}),
        (["-l"], {"listen_notify": True}),
        (["--no-listen-notify"], {"listen_notify": False}),
        (["--delete-jobs", "always"], {"delete_jobs": jobs.DeleteJobCondition.ALWAYS}),
        (["--stalled-jobs", "retry"], {"stalled_jobs": {"*": RETRY}}),
        (["--stalled-jobs", "pay = fail,, retry"], {"stalled_jobs": {"pay": FAIL, "*": RETRY}}),
        (
            ["--stalled-jobs", "ns:a.b=retry,*=leave"],
            {"stalled_jobs": {"ns:a.b": RETRY, "*": LEAVE}},
        ),
        (["--retention", "30d"], {"retention": datetime.timedelta(days=30)}),
        (["--retention", "off"], {"retention": None}),
        (["--prefetch", "100"], {"prefetch": 100}),
    ],
)
def test_options_of_the_worker(args: list[str], expected: dict[str, Any]) -> None:
    assert worker_options(*args) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NAME", "me", {"name": "me"}),
        ("QUEUES", "a,b", {"queues": ["a", "b"]}),
        ("CONCURRENCY", "3", {"concurrency": 3}),
        ("FETCH_JOB_POLLING_INTERVAL", "0.5", {"fetch_job_polling_interval": 0.5}),
        ("ABORT_JOB_POLLING_INTERVAL", "0.5", {"abort_job_polling_interval": 0.5}),
        ("SHUTDOWN_GRACEFUL_TIMEOUT", "0", {"shutdown_graceful_timeout": 0.0}),
        ("WAIT", "0", {"wait": False}),
        ("WAIT", "No", {"wait": False}),
        ("WAIT", "yes", {"wait": True}),
        ("LISTEN_NOTIFY", "false", {"listen_notify": False}),
        ("LISTEN_NOTIFY", "True", {"listen_notify": True}),
        ("DELETE_JOBS", "successful", {"delete_jobs": jobs.DeleteJobCondition.SUCCESSFUL}),
        ("STALLED_JOBS", "fail", {"stalled_jobs": {"*": FAIL}}),
        ("RETENTION", "1d12h", {"retention": datetime.timedelta(days=1.5)}),
        ("RETENTION", "off", {"retention": None}),
        ("PREFETCH", "0", {"prefetch": 0}),
        ("NAME", "", {}),
    ],
)
def test_variables_of_the_worker_count_also_if_their_value_is_false(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: dict[str, Any]
) -> None:
    monkeypatch.setenv(f"PROCRASTINATE_WORKER_{name}", value)

    assert worker_options() == expected


def test_an_option_comes_before_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCRASTINATE_WORKER_QUEUES", "env")
    monkeypatch.setenv("PROCRASTINATE_WORKER_WAIT", "0")

    assert worker_options("-q", "", "--wait") == {"queues": None, "wait": True}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "WAIT",
            "x",
            (
                "argument -w/--wait/--one-shot: Invalid environment variable value for "
                "boolean: 'x'. Expected one of 0/n/f or 1/y/t (from PROCRASTINATE_WORKER_WAIT)"
            ),
        ),
        (
            "CONCURRENCY",
            "x",
            (
                "argument -c/--concurrency: invalid int value: 'x' "
                "(from PROCRASTINATE_WORKER_CONCURRENCY)"
            ),
        ),
        (
            "DELETE_JOBS",
            "x",
            (
                "argument --delete-jobs: invalid DeleteJobCondition value: 'x' "
                "(from PROCRASTINATE_WORKER_DELETE_JOBS)"
            ),
        ),
    ],
)
def test_a_wrong_variable_is_a_usage_error_of_the_command_that_reads_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"PROCRASTINATE_WORKER_{name}", value)

    outcome = run("worker")
    assert outcome.status == 2
    assert f"procrastinate worker: error: {message}" in outcome.err
    assert run("schema", "--migrations-path").status == 0


def test_a_variable_must_be_one_of_the_choices(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_LOG_LEVEL", "loud")

    outcome = run("schema", "--migrations-path")

    assert outcome.status == 2
    assert "argument --log-level: invalid choice: 'loud' (choose from 'debug'," in outcome.err


def test_without_options_a_job_gets_the_defaults_of_its_task() -> None:
    assert defer_options() == NOTHING_TO_DEFER


MOMENT = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (['{"a": 1}'], {"json_args": '{"a": 1}'}),
        (["--queue", "q"], {"queue": "q"}),
        (["--lock", "l"], {"lock": "l"}),
        (["--queueing-lock", "ql"], {"queueing_lock": "ql"}),
        (["-i"], {"ignore_already_enqueued": True}),
        (["-i", "--no-ignore-already-enqueued"], {"ignore_already_enqueued": False}),
        (["--at", "2030-01-01"], {"schedule_at": MOMENT}),
        (["--in", "-5"], {"schedule_in": {"seconds": -5}}),
        (["--priority", "-5"], {"priority": -5}),
        (["--unknown"], {"unknown": True}),
        (["--no-unknown"], {"unknown": False}),
    ],
)
def test_options_of_defer(args: list[str], expected: dict[str, Any]) -> None:
    assert defer_options(*args) == {**NOTHING_TO_DEFER, **expected}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("JSON_ARGS", '{"a": 1}', {"json_args": '{"a": 1}'}),
        ("QUEUE", "q", {"queue": "q"}),
        ("LOCK", "l", {"lock": "l"}),
        ("QUEUEING_LOCK", "ql", {"queueing_lock": "ql"}),
        ("IGNORE_ALREADY_ENQUEUED", "y", {"ignore_already_enqueued": True}),
        ("AT", "2030-01-01", {"schedule_at": MOMENT}),
        ("IN", "5", {"schedule_in": {"seconds": 5}}),
        ("PRIORITY", "0", {"priority": 0}),
        ("UNKNOWN", "1", {"unknown": True}),
        ("UNKNOWN", "0", {"unknown": False}),
        ("IN", "-5", {"schedule_in": {"seconds": -5}}),
    ],
)
def test_variables_of_defer(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: dict[str, Any]
) -> None:
    monkeypatch.setenv(f"PROCRASTINATE_DEFER_{name}", value)

    assert defer_options() == {**NOTHING_TO_DEFER, **expected}


@pytest.mark.parametrize(
    ("args", "variables", "level"),
    [
        ([], {}, logging.INFO),
        (["-v"], {}, logging.DEBUG),
        (["-vv"], {}, logging.DEBUG),
        (["--log-level", "error"], {}, logging.ERROR),
        ([], {"VERBOSE": "1"}, logging.DEBUG),
        ([], {"VERBOSE": "0"}, logging.INFO),
        ([], {"LOG_LEVEL": "WARNING"}, logging.WARNING),
        (["-v"], {"LOG_LEVEL": "critical"}, logging.CRITICAL),
        (["--log-level", "info"], {"LOG_LEVEL": "error", "VERBOSE": "2"}, logging.INFO),
        ([], {"VERBOSITY": "3"}, logging.INFO),
    ],
)
def test_the_log_level(
    monkeypatch: pytest.MonkeyPatch, args: list[str], variables: dict[str, str], level: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"PROCRASTINATE_{name}", value)

    values = parsed(*args, "healthchecks")

    assert cli.get_log_level(values["verbose"], values["log_level"]) == level


def test_log_records_go_to_stderr_in_the_format_asked_for(run: Run) -> None:
    outcome = run(
        "-v",
        "--log-format={name} {message} {action}",
        "--log-format-style={",
        "schema",
        "--migrations-path",
    )

    assert (
        outcome.err.splitlines()[0] == "procrastinate.cli Log level set to DEBUG set_log_level"
    )


def test_a_log_format_that_can_not_be_is_one_message(run: Run) -> None:
    outcome = run("--log-format", "no placeholder", "schema", "--read")

    assert (outcome.status, outcome.out) == (1, "")
    assert "Invalid format 'no placeholder' for '%' style" in outcome.err


def test_options_are_as_public_as_the_program_that_uses_them() -> None:
    import argparse

    parser = argparse.ArgumentParser(prog="manage.py procrastinate")
    cli.add_arguments(parser, include_app=False, include_schema=False)

    with pytest.raises(SystemExit):
        parser.parse_args(["schema"])
    assert "app" not in vars(parser.parse_args(["worker"]))


def test_another_program_may_let_its_users_name_the_app() -> None:
    import argparse

    from procrastinate.cli import options

    parser = argparse.ArgumentParser(prog="other")
    cli.add_arguments(parser)

    assert options.resolve(vars(parser.parse_args(["-a", "x.y", "worker"])))["app"] == "x.y"


def test_the_help_has_groups_and_says_what_each_command_is_for(run: Run) -> None:
    text = run("--help", app=None).out
    words = " ".join(text.split())

    assert "\nInteract with a Procrastinate app. See subcommands for details.\n" in text
    titles = [line for line in text.splitlines() if line and line[0] != " " and line[-1] == ":"]
    assert titles == ["positional arguments:", "options:", "Logging:"]
    for command in (
        (
            "worker Launch a worker, listening on the given queues (or all queues). Values "
            "default to App.worker_defaults and then App.run_worker() defaults values."
        ),
        "defer Create a job from the given task, to be executed by a worker.",
        (
            "schema Apply SQL schema to the empty database. This won't work if the schema has "
            "already been applied."
        ),
        "healthchecks Check the state of procrastinate",
        "shell Administration shell for procrastinate",
        "retry Run failed jobs once more",
        "cancel Cancel waiting jobs",
    ):
        assert command in words


def test_the_commands_of_3x_come_first_where_they_are_listed(run: Run) -> None:
    err = run("wor").err.replace("'", "").replace("(choose from ", "(")

    assert (
        "invalid choice: wor (worker, defer, schema, healthchecks, shell, retry, cancel)" in err
    )


def test_a_wrong_variable_of_the_program_concerns_each_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROCRASTINATE_VERBOSE", "x")

    outcome = run("schema", "--migrations-path")

    assert outcome.status == 2
    assert "argument -v/--verbose: invalid int value: 'x'" in outcome.err


def test_an_empty_variable_is_no_value(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APP", "VERBOSE", "LOG_LEVEL", "LOG_FORMAT", "LOG_FORMAT_STYLE"):
        monkeypatch.setenv(f"PROCRASTINATE_{name}", "")

    outcome = run("schema", "--migrations-path", app=None)

    assert (outcome.status, outcome.err) == (0, "")


def test_the_program_that_is_installed_is_this_one() -> None:
    import importlib.metadata

    (program,) = importlib.metadata.entry_points(group="console_scripts", name="procrastinate")

    assert program.load() is cli.main
