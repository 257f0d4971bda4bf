"""Lengths of time, as people type them: ``90s``, ``12h``, ``1d12h``."""

from __future__ import annotations

import argparse
import datetime
import re

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def duration(value: str) -> datetime.timedelta:
    """
    Read a length of time; a number alone is seconds.

    Raises
    ------
    argparse.ArgumentTypeError
        It is something else.
    """
    text = value.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        text += "s"
    if not _WHOLE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"invalid duration: {value!r} (a number of seconds, or for example 90s, 12h, 1d12h)"
        )
    try:
        return sum(
            (
                datetime.timedelta(**{_UNITS[part[2]]: float(part[1])})
                for part in _PART.finditer(text)
            ),
            datetime.timedelta(),
        )
    except OverflowError:
        raise argparse.ArgumentTypeError(f"invalid duration: {value!r} is too long") from None


def retention(value: str) -> datetime.timedelta | None:
    """
    Read how long jobs are kept; ``off`` is for ever.

    Raises
    ------
    argparse.ArgumentTypeError
        It is something else, or no time at all.
    """
    if value.strip().lower() == "off":
        return None
    age = duration(value)
    if not age:
        raise argparse.ArgumentTypeError(
            f"invalid duration: {value!r} would delete jobs as they end (off keeps them)"
        )
    return age
