"""What a run was asked for."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Options:
    """``scale`` multiplies every number of jobs; the bars are set for a scale of 1."""

    rounds: int = 3
    scale: float = 1.0

    def scaled(self, jobs: int, least: int = 100) -> int:
        return max(least, round(jobs * self.scale))
