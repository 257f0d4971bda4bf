"""Which faults a run has: decided by its seed alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = (
    "kill_worker",
    "stop_worker",
    "terminate_worker",
    "kill_backend",
    "terminate_backends",
    "kill_postmaster",
    "stop_immediately",
    "cut",
    "refuse",
    "delay",
    "half_open",
    "hold_locks",
    "statement_timeout",
    "disk_full",
    "clock_skew",
)
WORKERS = 3


@attrs.frozen(kw_only=True)
class Fault:
    """Something that breaks, and is mended."""

    kind: str
    pause: float
    """Seconds of peace before it."""
    seconds: float
    """How long it lasts, between 0 and 1: each kind has its own measure."""
    victim: int
    """Which worker, backend or connection, counted around."""
    sign: int
    """In which direction a clock goes wrong."""


def draw(seed: int, faults: int, kinds: Sequence[str] = KINDS) -> list[Fault]:
    """Return so many faults; each kind comes as often as any other, or once more."""
    chance = random.Random(seed)  # noqa: S311 (nobody must not guess it)
    order: list[str] = []
    while len(order) < faults:
        order += chance.sample(kinds, len(kinds))
    return [
        Fault(
            kind=kind,
            pause=round(chance.uniform(0.05, 0.5), 3),
            seconds=round(chance.random(), 3),
            victim=chance.randrange(1000),
            sign=chance.choice((-1, 1)),
        )
        for kind in order[:faults]
    ]
