"""The command's work: one worker or several, each in a process of its own."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys

from procrastinate.contrib.saq.worker import NO_WEB, check_health, start

__all__ = ["check_health", "run", "start"]

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def run(
    settings: str,
    /,
    *,
    workers: int = 1,
    verbose: int = 0,
    web: bool = False,
    extra_web_settings: list[str] | None = None,
    port: int = 8080,
    check: bool = False,
    quiet: bool = False,
) -> None:
    """
    Run workers until they are stopped, or look whether one lives.

    Parameters
    ----------
    settings
        Dotted path to a dictionary of a worker's arguments, or to a function that returns one.
    workers
        How many, each in a process.
    verbose
        0: warnings are logged; 1: outcomes, too; 2: all.
    web
        Refused: there is no web interface.
    extra_web_settings
        Refused, too.
    port
        Of no meaning.
    check
        Whether to look for a worker instead: the process exits with 0 if there is one, else 1.
    quiet
        Whether logging is left as it is.
    """
    if web or extra_web_settings:
        sys.exit(NO_WEB)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 (a text, as the path's others)
    if not quiet:
        logging.basicConfig(level=_LEVELS[min(verbose, 2)])
    if check:
        sys.exit(check_health(settings))
    others = [
        multiprocessing.Process(target=start, args=(settings,)) for _ in range(workers - 1)
    ]
    for other in others:
        other.start()
    try:
        start(settings)
    finally:
        for other in others:
            if other.is_alive():
                other.terminate()
            other.join()
