"""The grammar of the command line: which commands there are, and their options."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import TYPE_CHECKING, Any

from procrastinate import bulk, jobs, metadata, types, utils
from procrastinate.cli import bulk_commands, commands, durations, logs, options, policies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from procrastinate import app as app_module

PROGRAM_NAME = "procrastinate"

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

_PARSER_OPTIONS: dict[str, Any] = {
    "allow_abbrev": False,
    "formatter_class": options.HelpFormatter,
    # Python 3.14 colours what 3.x did not.
    **({"color": False} if sys.version_info >= (3, 14) else {}),
}


def create_parser() -> argparse.ArgumentParser:
    """Make the parser of the ``procrastinate`` program."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM_NAME,
        description="Interact with a Procrastinate app. See subcommands for details.",
        **_PARSER_OPTIONS,
    )
    top = options.OptionGroup(parser)
    _add_app_option(top)
    _add_logging_options(top)
    parser.add_argument(
        "-V",
        "--version",
        action="version",
        help="Print the version and exit",
        version=f"%(prog)s, version {metadata.extract_metadata()['version']}",
    )
    top.seal()
    add_arguments(parser, include_app=False)
    return parser


def _add_logging_options(top: options.OptionGroup) -> None:
    group = top.group("Logging")
    level = group.exclusive()
    level.add(
        "-v",
        "--verbose",
        action="count",
        help="Use multiple times to increase verbosity",
        env="VERBOSE",
        env_help="set to desired verbosity level",
        env_type=int,
        default=0,
    )
    level.add(
        "--log-level",
        choices=LOG_LEVELS,
        help="Set log level explicitly",
        env="LOG_LEVEL",
        env_help="set to desired log level",
        env_type=str.lower,
        default=None,
    )
    group.add(
        "--log-args",
        action="store_true",
        help="Show the arguments of jobs in the log and in errors",
        env="LOG_ARGS",
        env_type=options.env_bool,
        env_help="use 0/n/f or 1/y/t",
        default=False,
    )
    group.add(
        "--log-format",
        help="Defines the format used for logging (see "
        "https://docs.python.org/3/library/logging.html#logrecord-attributes)",
        env="LOG_FORMAT",
        default=logs.DEFAULT_FORMAT,
    )
    group.add(
        "--log-format-style",
        choices=("%", "{", "$"),
        help="Defines the style for the log format string (see "
        "https://docs.python.org/3/howto/logging-cookbook.html"
        "#use-of-alternative-formatting-styles)",
        env="LOG_FORMAT_STYLE",
        default="%",
    )


def _add_app_option(group: options.OptionGroup) -> None:
    group.add(
        "-a",
        "--app",
        help="Dotted path to the Procrastinate app",
        env="APP",
        default="",
    )


def add_arguments(
    parser: argparse.ArgumentParser,
    include_app: bool = True,
    include_schema: bool = True,
    custom_healthchecks: Callable[[app_module.App], Awaitable[None]] | None = None,
) -> None:
    """
    Add the commands to a parser.

    Parameters
    ----------
    parser
        The program's parser, or that of a command of another program.
    include_app
        Whether the app is named on the command line.
    include_schema
        Whether the schema is ours to apply.
    custom_healthchecks
        What to check instead of what the command checks.
    """
    if include_app:
        group = options.OptionGroup(parser)
        _add_app_option(group)
        group.seal()
    subparsers = parser.add_subparsers(dest="command", required=True)
    configure_worker_parser(subparsers)
    configure_defer_parser(subparsers)
    if include_schema:
        configure_schema_parser(subparsers)
    configure_healthchecks_parser(subparsers, custom_healthchecks)
    configure_shell_parser(subparsers)
    configure_retry_parser(subparsers)
    configure_cancel_parser(subparsers)


def _add_command(
    subparsers: Any, name: str, func: Callable[..., Awaitable[None]], help_text: str
) -> tuple[argparse.ArgumentParser, options.OptionGroup]:
    parser = subparsers.add_parser(name, help=help_text, **_PARSER_OPTIONS)
    parser.set_defaults(func=func)
    prefix = f"{options.ENV_PREFIX}_{name.upper()}"
    return parser, options.OptionGroup(parser, prefix=prefix)


def configure_worker_parser(subparsers: Any) -> None:
    """Add the command ``worker``."""
    _, group = _add_command(
        subparsers,
        "worker",
        commands.worker,
        "Launch a worker, listening on the given queues (or all queues). Values default to "
        "App.worker_defaults and then App.run_worker() defaults values.",
    )
    group.add("-n", "--name", help="Name of the worker", env="NAME")
    group.add(
        "-q",
        "--queues",
        type=cast_queues,
        help="Comma-separated names of the queues to listen to (empty string for all queues)",
        env="QUEUES",
    )
    group.add(
        "-c",
        "--concurrency",
        type=int,
        help="Number of parallel asynchronous jobs to process at once",
        env="CONCURRENCY",
    )
    group.add(
        "--prefetch",
        type=int,
        metavar="JOBS",
        help="Number of jobs to claim beyond that, which wait in the worker",
        env="PREFETCH",
    )
    _add_interval_options(group)
    group.add_flag(
        "-w",
        "--wait",
        negative="--one-shot",
        help="When all jobs have been processed, whether to terminate or to wait for new jobs",
        env="WAIT",
    )
    group.add_flag(
        "-l",
        "--listen-notify",
        negative="--no-listen-notify",
        help="Whether to actively listen for new jobs or periodically poll",
        env="LISTEN_NOTIFY",
    )
    group.add(
        "--delete-jobs",
        choices=list(jobs.DeleteJobCondition),
        metavar="{" + ",".join(item.value for item in jobs.DeleteJobCondition) + "}",
        type=jobs.DeleteJobCondition,
        help="If set, delete jobs on completion",
        env="DELETE_JOBS",
    )
    group.add(
        "--stalled-jobs",
        metavar="POLICY",
        type=policies.stalled_jobs,
        help="What becomes of jobs whose worker died: leave them in doing, retry or fail; for "
        "single tasks by name, for example retry,pay=fail",
        env="STALLED_JOBS",
    )
    group.add(
        "--retention",
        metavar="AGE",
        type=durations.retention,
        help="Delete jobs of all queues that ended longer ago, for example 30d; off keeps them",
        env="RETENTION",
    )
    group.seal()


def _add_interval_options(group: options.OptionGroup) -> None:
    group.add(
        "-p",
        "--fetch-job-polling-interval",
        type=float,
        help="How long to wait for database event push before polling",
        env="FETCH_JOB_POLLING_INTERVAL",
    )
    group.add(
        "-a",
        "--abort-job-polling-interval",
        type=float,
        help="How often to poll for abort requests",
        env="ABORT_JOB_POLLING_INTERVAL",
    )
    group.add(
        "--shutdown-graceful-timeout",
        type=float,
        help="How long to wait for jobs to complete when shutting down before aborting them",
        env="SHUTDOWN_GRACEFUL_TIMEOUT",
    )


def configure_defer_parser(subparsers: Any) -> None:
    """Add the command ``defer``."""
    parser, group = _add_command(
        subparsers,
        "defer",
        commands.defer,
        "Create a job from the given task, to be executed by a worker. TASK should be the name "
        "or dotted path to a task. JSON_ARGS should be a json object (a.k.a dictionary) with "
        "the job parameters",
    )
    parser.add_argument("task", help="Name or dotted path to the task to defer")
    group.add(
        "json_args",
        nargs="?",
        help="JSON object with the job parameters",
        env="JSON_ARGS",
        default=None,
    )
    _add_job_options(group)
    group.add_flag(
        "-i",
        "--ignore-already-enqueued",
        negative="--no-ignore-already-enqueued",
        help="Exit with code 0 even if the queueing lock is already taken, while still "
        "displaying an error",
        env="IGNORE_ALREADY_ENQUEUED",
        default=False,
    )
    _add_schedule_options(group)
    group.add_flag(
        "--unknown",
        negative="--no-unknown",
        help="Whether unknown tasks can be deferred",
        env="UNKNOWN",
        default=False,
    )
    group.seal()


def _add_job_options(group: options.OptionGroup) -> None:
    group.add(
        "--queue",
        help="The queue for deferring. Defaults to the task's default queue",
        env="QUEUE",
    )
    group.add(
        "--lock",
        help="A lock string. Jobs sharing the same lock will not run concurrently",
        env="LOCK",
    )
    group.add(
        "--queueing-lock",
        help="A string value. The defer operation will fail if there already is a job waiting "
        "in the queue with the same queueing lock",
        env="QUEUEING_LOCK",
    )


def _add_schedule_options(group: options.OptionGroup) -> None:
    schedule = group.exclusive()
    schedule.add(
        "--at",
        dest="schedule_at",
        type=utils.parse_datetime,
        help="ISO-8601 localized datetime after which to launch the job",
        env="AT",
    )
    schedule.add(
        "--in",
        dest="schedule_in",
        type=_in_seconds,
        help="Number of seconds after which to launch the job",
        env="IN",
    )
    group.add(
        "--priority",
        type=int,
        help="Job priority. May be positive or negative (higher values indicate jobs that "
        "should execute first). Defaults to 0",
        env="PRIORITY",
    )


def _in_seconds(value: str) -> types.TimeDeltaParams:
    return {"seconds": int(value)}


# argparse shows the name when the value is wrong, and 3.x had no name for it.
_in_seconds.__name__ = "<lambda>"


def configure_schema_parser(subparsers: Any) -> None:
    """Add the command ``schema``."""
    parser, _ = _add_command(
        subparsers,
        "schema",
        commands.schema,
        "Apply SQL schema to the empty database. This won't work if the schema has already "
        "been applied.",
    )
    for name, help_text in (
        ("--apply", "Apply the schema to the DB (default)"),
        ("--migrate", "Apply the migrations that the DB does not have yet"),
        ("--plan", "Say what --migrate would do, and change nothing"),
        ("--check", "Compare the DB with the schema of this version"),
        ("--roles", "Create roles for producers, workers, operators and auditors"),
        ("--read", "Read the schema SQL and output it"),
        (
            "--migrations-path",
            "Output the path to the directory containing the migration scripts",
        ),
    ):
        parser.add_argument(name, action="store_true", help=help_text)
    parser.add_argument(
        "--role",
        metavar="PART=NAME",
        type=options.role,
        action="append",
        help="With --roles: the name of that role; none leaves it out",
    )
    parser.add_argument(
        "--revert",
        metavar="FILE",
        help="Turn the schema into that of procrastinate 3.x again, which FILE has as its own "
        "`procrastinate schema --read` prints it (- for standard input)",
    )


def configure_healthchecks_parser(
    subparsers: Any,
    custom_healthchecks: Callable[[app_module.App], Awaitable[None]] | None = None,
) -> None:
    """Add the command ``healthchecks``."""
    _add_command(
        subparsers,
        "healthchecks",
        custom_healthchecks or commands.healthchecks,
        "Check the state of procrastinate",
    )


def configure_shell_parser(subparsers: Any) -> None:
    """Add the command ``shell``."""
    parser, _ = _add_command(
        subparsers, "shell", commands.shell_, "Administration shell for procrastinate"
    )
    parser.add_argument("shell_command", nargs="*", help="Invoke a shell command and exit")


def configure_retry_parser(subparsers: Any) -> None:
    """Add the command ``retry``."""
    parser, group = _add_command(
        subparsers,
        "retry",
        bulk_commands.retry,
        "Run failed jobs once more: those with the ids given, or all that pass the filters",
    )
    parser.set_defaults(validate=functools.partial(bulk_commands.check_filters, parser))
    _add_filters(
        group,
        statuses=("failed", "doing"),
        status_help="failed (the default), or doing for jobs whose worker is lost",
    )
    schedule = group.exclusive()
    schedule.add(
        "--at",
        dest="schedule_at",
        type=utils.parse_datetime,
        help="ISO-8601 localized datetime after which to run them. Defaults to now",
    )
    schedule.add(
        "--in",
        dest="schedule_in",
        type=_in_seconds,
        help="Number of seconds after which to run them",
    )
    _add_bulk_options(group)
    group.seal()


def configure_cancel_parser(subparsers: Any) -> None:
    """Add the command ``cancel``."""
    parser, group = _add_command(
        subparsers,
        "cancel",
        bulk_commands.cancel,
        "Cancel waiting jobs: those with the ids given, or all that pass the filters",
    )
    parser.set_defaults(validate=functools.partial(bulk_commands.check_cancel, parser))
    _add_filters(
        group,
        statuses=("todo", "doing"),
        status_help="todo (the default; together with doing if --abort is given), or doing",
    )
    for name, help_text in (
        ("--abort", "Ask running jobs that pass the filters to abort, too"),
        ("--delete", "Delete waiting jobs instead of cancelling them"),
    ):
        group.add(name, action="store_true", help=help_text)
    _add_bulk_options(group)
    group.seal()


def _add_filters(
    group: options.OptionGroup, *, statuses: tuple[str, ...], status_help: str
) -> None:
    group.add("ids", nargs="*", type=_job_id, metavar="JOB_ID", help="Only these jobs")
    for name, help_text in (
        ("--queue", "Only jobs of this queue"),
        ("--task", "Only jobs of this task"),
        ("--lock", "Only jobs with this lock"),
        ("--queueing-lock", "Only jobs with this queueing lock"),
    ):
        group.add(name, help=help_text)
    group.add("--status", choices=statuses, help=f"Only jobs of this status: {status_help}")
    for name, help_text in (
        (
            "--older-than",
            "Only jobs that got their status longer ago, for example 90s, 12h or 7d",
        ),
        ("--newer-than", "Only jobs that got their status no longer ago"),
    ):
        group.add(name, metavar="AGE", type=durations.duration, help=help_text)
    group.add("--all", action="store_true", help="All jobs: needed without a filter")


def _add_bulk_options(group: options.OptionGroup) -> None:
    group.add(
        "--max-jobs",
        type=_at_least_one,
        help="Consider only so many jobs, the first ones by id",
    )
    group.add("--dry-run", action="store_true", help="Count the jobs, and do nothing")
    group.add("-y", "--yes", action="store_true", help="Don't ask, on a terminal")


def _whole(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {value!r}") from None


def _job_id(value: str) -> int:
    number = _whole(value)
    if not 1 <= number <= bulk.LAST_ID:
        raise argparse.ArgumentTypeError(
            f"invalid value: {value!r} (ids go from 1 to {bulk.LAST_ID})"
        )
    return number


def _at_least_one(value: str) -> int:
    number = _whole(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"invalid value: {value!r} (one at least)")
    return number


def cast_queues(queues: str) -> list[str] | None:
    """Read a list of queues; an empty one means all of them."""
    names = [name.strip() for name in queues.split(",")]
    return [name for name in names if name] or None


def parse_args(args: Sequence[str]) -> dict[str, Any]:
    """Parse a command line, and fill in what the environment says."""
    return options.resolve(vars(create_parser().parse_args(args)))
