"""What was measured, against what, and how it reads on a terminal and in JSON."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence


@attrs.frozen(kw_only=True)
class Bar:
    """A limit that the issue sets to a ratio or to a value."""

    limit: float
    at_least: bool = True

    def met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


def at_least(limit: float) -> Bar:
    return Bar(limit=limit)


def at_most(limit: float) -> Bar:
    return Bar(limit=limit, at_least=False)


@attrs.frozen(kw_only=True)
class Figure:
    """
    One line of the report.

    ``ours[i]`` and ``base[i]`` were measured right after each other, in round ``i``. With a
    ``base`` the bar is for the median of the rounds' ratios, without one for our median.
    """

    case: str
    name: str
    unit: str
    ours: Sequence[float]
    base: Sequence[float] = ()
    bar: Bar | None = None
    cheaper: bool = False  # the ratio is base to ours: how many times cheaper we are

    @property
    def ratios(self) -> list[float]:
        if not self.base:
            return []
        pairs = zip(self.ours, self.base, strict=True)
        return [b / a if self.cheaper else a / b for a, b in pairs]

    @property
    def judged(self) -> float:
        return statistics.median(self.ratios or self.ours)

    @property
    def met(self) -> bool | None:
        return None if self.bar is None else self.bar.met_by(self.judged)

    def as_json(self) -> dict[str, Any]:
        row: dict[str, Any] = attrs.asdict(self, filter=lambda a, _: a.name != "bar")
        row["median"] = statistics.median(self.ours)
        if self.base:
            row["base_median"] = statistics.median(self.base)
            row["ratios"] = self.ratios
            row["ratio"] = self.judged
        row["bar"] = None if self.bar is None else str(self.bar)
        row["met"] = self.met
        return row


def number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: Sequence[float], unit: str) -> str:
    """The median, and the lowest and highest of the rounds."""
    middle = f"{number(statistics.median(values))} {unit}".rstrip()
    if len(values) < 2:
        return middle
    return f"{middle} ({number(min(values))} to {number(max(values))})"


def line(figure: Figure) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    bar = "" if figure.bar is None else str(figure.bar)
    ratio = ""
    if figure.base:
        low, high = min(figure.ratios), max(figure.ratios)
        ratio = f"{figure.judged:.2f} x ({low:.2f} to {high:.2f})"
    return (
        f"  {figure.name:<44} {spread(figure.ours, figure.unit):<34}"
        f" {spread(figure.base, figure.unit) if figure.base else '':<30}"
        f" {ratio:<24} {bar:<7} {verdict}"
    ).rstrip()


@attrs.define
class Report:
    """Prints each figure as it comes, so that a long run shows where it is."""

    figures: list[Figure] = attrs.field(factory=list[Figure])
    facts: dict[str, str] = attrs.field(factory=dict[str, str])
    _case: str = ""

    def fact(self, name: str, value: str) -> None:
        self.facts[name] = value
        print(f"{name:<14} {value}", flush=True)

    def say(self, sentence: str) -> None:
        print(f"  · {sentence}", flush=True)

    def start(self, case: str, sentence: str, base_name: str = "") -> None:
        self._case = case
        print(f"\n{case}: {sentence}")
        print(f"  {'':<44} {'ours':<34} {base_name:<30} {'ratio':<24} {'bar':<7}", flush=True)

    def add(
        self,
        name: str,
        unit: str,
        ours: Sequence[float],
        base: Sequence[float] = (),
        *,
        bar: Bar | None = None,
        cheaper: bool = False,
    ) -> None:
        figure = Figure(
            case=self._case,
            name=name,
            unit=unit,
            ours=list(ours),
            base=list(base),
            bar=bar,
            cheaper=cheaper,
        )
        self.figures.append(figure)
        print(line(figure), flush=True)

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.met is False]

    def write_json(self, path: pathlib.Path) -> None:
        document = {"facts": self.facts, "figures": [f.as_json() for f in self.figures]}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
