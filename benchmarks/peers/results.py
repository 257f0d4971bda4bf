"""
What was measured, case by case, in a file: a run that was cut short goes on where it was.

Sides take turns within a case, so each case is a whole by itself: it may come from another day.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


class UnreadableError(Exception):
    """The file of results is not one; the text says where it is and what to do."""


@attrs.define(kw_only=True)
class Outcome:
    """
    What one side made of a case: its rounds by metric, or why there are none.

    ``failed``: it ran and did not do what it should have. ``missing``: it could not be had.
    """

    values: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])
    failed: str = ""
    missing: str = ""

    @property
    def stands(self) -> bool:
        return bool(self.values) and not self.failed and not self.missing

    def add(self, figures: dict[str, float]) -> None:
        for metric, value in figures.items():
            self.values.setdefault(metric, []).append(value)


@attrs.define(kw_only=True)
class Result:
    """One case. ``outcomes`` is in the order of its sides."""

    case: str
    when: str
    revision: str
    facts: dict[str, str]
    versions: dict[str, str]
    rounds: int
    outcomes: dict[str, Outcome] = attrs.field(factory=dict[str, Outcome])

    @property
    def flawed(self) -> bool:
        return not all(outcome.stands for outcome in self.outcomes.values())


@attrs.define
class Results:
    """The file. It is replaced as a whole after each case, never half written."""

    path: pathlib.Path
    cases: dict[str, Result] = attrs.field(factory=dict[str, Result])

    @classmethod
    def read(cls, path: pathlib.Path) -> Results:
        results = cls(path)
        if not path.exists():
            return results
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            for row in document["cases"]:
                outcomes = {name: Outcome(**kept) for name, kept in row.pop("outcomes").items()}
                result = Result(**row, outcomes=outcomes)
                results.cases[result.case] = result
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(
                f"{path} holds no results ({error}): remove it, or name another with --results"
            ) from None
        return results

    def keep(self, result: Result) -> None:
        self.cases[result.case] = result
        document = {"cases": [attrs.asdict(case) for case in self.cases.values()]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        beside.replace(self.path)

    def to_run(self, cases: Sequence[str], again: Sequence[str]) -> list[str]:
        """Those of ``cases`` that are not there, or were asked for ``again``."""
        return [case for case in cases if self._wanted(case, again)]

    def _wanted(self, case: str, again: Sequence[str]) -> bool:
        kept = self.cases.get(case)
        if kept is None or "all" in again or case in again:
            return True
        return "failed" in again and kept.flawed
