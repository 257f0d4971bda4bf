"""Logging of the command line."""

from __future__ import annotations

import logging
from typing import Literal

logger: logging.Logger = logging.getLogger("procrastinate.cli")

Style = Literal["%", "{", "$"]

DEFAULT_FORMAT = logging.BASIC_FORMAT


def get_log_level(verbosity: int | None = None, log_level: str | None = None) -> int:
    """Return the level: the one that is named, or DEBUG with ``-v`` and INFO without."""
    if log_level:
        return logging.getLevelNamesMapping()[log_level.upper()]
    return logging.DEBUG if verbosity else logging.INFO


def configure_logging(
    verbosity: int | None = None,
    log_level: str | None = None,
    format: str = DEFAULT_FORMAT,  # noqa: A002  (3.x published the name)
    style: Style = "%",
) -> None:
    """Let the root logger write to stderr."""
    level = get_log_level(verbosity=verbosity, log_level=log_level)
    logging.basicConfig(level=level, format=format, style=style)
    logger.debug(
        "Log level set to %s",
        logging.getLevelName(level),
        extra={"action": "set_log_level", "value": logging.getLevelName(level)},
    )
