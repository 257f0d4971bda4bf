"""The command: ``python -m procrastinate.contrib.saq module.settings``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from procrastinate.contrib.saq import importing, runner

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "python -m procrastinate.contrib.saq"


def worker_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments that SAQ's own command has."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run workers on SAQ settings, over procrastinate's queue.",
        epilog=f"`{PROGRAM} import-jobs --help` tells how to move jobs that wait in saq_jobs.",
    )
    parser.add_argument("settings", help="dotted path to the settings, or to what returns them")
    parser.add_argument("--workers", type=int, default=1, help="number of worker processes")
    parser.add_argument(
        "--verbose", "-v", action="count", default=0, help="-v or -vv: log more"
    )
    parser.add_argument("--web", action="store_true", help="refused: there is no web interface")
    parser.add_argument("--extra-web-settings", "-e", action="append", metavar="SETTINGS")
    parser.add_argument("--port", type=int, default=8080, help="of --web")
    parser.add_argument("--check", action="store_true", help="exit 0 if a worker lives, else 1")
    parser.add_argument("--quiet", "-q", action="store_true", help="leave logging as it is")
    return parser


def import_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments of ``import-jobs``."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} import-jobs",
        description="Move the jobs that wait in SAQ's table into procrastinate's queue.",
    )
    parser.add_argument("dsn", help="connection string of the database that has both")
    parser.add_argument("--table", default="saq_jobs", help="SAQ's table of jobs")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["import-jobs"]:
        options = import_parser().parse_args(given[1:])
        report = asyncio.run(importing.import_jobs(options.dsn, table=options.table))
        print(report)  # noqa: T201 (what was asked for)
        sys.exit(1 if report.unreadable else 0)
    options = worker_parser().parse_args(given)
    runner.run(
        options.settings,
        workers=options.workers,
        verbose=options.verbose,
        web=options.web,
        extra_web_settings=options.extra_web_settings,
        port=options.port,
        check=options.check,
        quiet=options.quiet,
    )


if __name__ == "__main__":
    main()
