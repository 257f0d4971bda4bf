"""Where the command line begins and ends: exit codes, errors, the app around a command."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from procrastinate import disclosure, exceptions, loops, utils
from procrastinate.cli import commands, loading, logs, options, parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger: logging.Logger = logging.getLogger("procrastinate.cli")

print_stderr: Callable[..., None] = commands.print_stderr


def main() -> None:
    """
    Run the command that ``sys.argv`` asks for.

    Exits with 1 if the command fails, after one message on stderr, and with 2 if it can't be
    understood.
    """
    loops.run(cli(sys.argv[1:]))


async def cli(args: Sequence[str]) -> None:
    """Run a command, given its command line."""
    top_parser = parser.create_parser()
    parsed = options.resolve(vars(top_parser.parse_args(args)))
    try:
        app = loading.load_app(parsed.pop("app"))
    except exceptions.LoadFromPathError as exc:
        top_parser.error(str(exc))
    if parsed.pop("log_args"):
        disclosure.show_args()
    try:
        logs.configure_logging(
            verbosity=parsed.pop("verbose"),
            log_level=parsed.pop("log_level"),
            format=parsed.pop("log_format"),
            style=parsed.pop("log_format_style"),
        )
        await execute_command({**parsed, "app": app})
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever was reading has read enough: nobody is left to tell. Python would try to write
        # what remains when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as exc:
        logger.debug("Exception details:", exc_info=exc)
        print_stderr(error_message(exc))
        sys.exit(1)


async def execute_command(parsed: Mapping[str, Any]) -> None:
    """
    Run a command.

    Parameters
    ----------
    parsed
        What the parser made of the command line, with the app itself as ``app``.
    """
    kwargs = options.resolve(parsed)
    app = kwargs.pop("app")
    func = kwargs.pop("func")
    validate = kwargs.pop("validate", None)
    if validate is not None:  # before a database is asked for that can't be needed
        validate(kwargs)
    kwargs.pop("command", None)
    if func is commands.schema and not commands.schema_needs_database(**kwargs):
        await func(app, **kwargs)
        return
    async with app.open_async():
        await func(app, **kwargs)


def error_message(exc: BaseException) -> str:
    """Say what went wrong: the innermost cause first, each in its own words."""
    messages = [str(cause).strip() for cause in utils.causes(exc)]
    return "\n".join(reversed(messages))
