"""
The command line: ``procrastinate`` and ``python -m procrastinate``.

What is here is imported by others; the code is in the modules of this package.
"""

from __future__ import annotations

from procrastinate.cli.entry import cli, execute_command, main, print_stderr
from procrastinate.cli.loading import MissingAppConnector, load_app
from procrastinate.cli.logs import configure_logging, get_log_level
from procrastinate.cli.options import ENV_PREFIX, env_bool
from procrastinate.cli.parser import PROGRAM_NAME, add_arguments, create_parser, parse_args

__all__ = [
    "ENV_PREFIX",
    "PROGRAM_NAME",
    "MissingAppConnector",
    "add_arguments",
    "cli",
    "configure_logging",
    "create_parser",
    "env_bool",
    "execute_command",
    "get_log_level",
    "load_app",
    "main",
    "parse_args",
    "print_stderr",
]
