"""Was every job run exactly once? A rate of jobs that were lost or run twice is no rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence


class MiscountError(Exception):
    """Jobs were lost, run more than once, or left behind; the text says how many."""


@attrs.frozen
class Count:
    """``times[n]`` says how often job ``n`` ran, over all workers."""

    times: Sequence[int]

    @classmethod
    def of(cls, seen: Sequence[str], jobs: int) -> Count:
        """Add up what the workers saw: a byte a job, in hexadecimal."""
        workers = [bytes.fromhex(text) for text in seen]
        if not workers or any(len(worker) != jobs for worker in workers):
            lengths = [len(worker) for worker in workers]
            raise MiscountError(f"workers counted {lengths} jobs, and there were {jobs:,}")
        return cls([sum(times) for times in zip(*workers, strict=True)])

    def check(self) -> None:
        lost = sum(times == 0 for times in self.times)
        twice = sum(times > 1 for times in self.times)
        if lost or twice:
            raise MiscountError(
                f"of {len(self.times):,} jobs {lost:,} did not run and {twice:,} ran more than once"
            )


def once(seen: Sequence[str], jobs: int) -> None:
    """Raise MiscountError unless each job ran once."""
    Count.of(seen, jobs).check()


def none_left(left: int) -> None:
    if left:
        raise MiscountError(f"{left:,} jobs that ran are not finished for the queue")


def deferred(left: int, jobs: int) -> None:
    if left != jobs:
        raise MiscountError(f"{jobs:,} jobs were deferred, and {left:,} wait")
