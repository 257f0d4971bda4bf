"""How results read: a line as each case ends, and the whole as a page in Markdown."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import attrs

from benchmarks.figures import number, spread
from benchmarks.peers.cases import BEST_PEER, Against, Case, Row
from benchmarks.peers.results import Outcome, Result, Results
from benchmarks.peers.sides import OURS, PEERS, SIDES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NOT_THERE = Outcome()


@attrs.frozen(kw_only=True)
class Verdict:
    """A bar, as it came out; without ratios one of the two sides has no figure."""

    against: str
    bar: str
    ratios: Sequence[float]
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "MISSED", None: "NOT MEASURED"}[self.met]

    @property
    def ratio(self) -> str:
        if not self.ratios:
            return "-"
        low, high = min(self.ratios), max(self.ratios)
        return f"{statistics.median(self.ratios):.2f} ({low:.2f} to {high:.2f})"


def title(key: str) -> str:
    return SIDES[key].title if key in SIDES else key


def middle(result: Result, key: str, metric: str) -> float | None:
    outcome = result.outcomes.get(key, NOT_THERE)
    if not outcome.stands or metric not in outcome.values:
        return None
    return statistics.median(outcome.values[metric])


def best_peer(row: Row, result: Result) -> str | None:
    """Whom ours is held against if it is held against the best of the others."""
    found = {key: middle(result, key, row.metric) for key in PEERS}
    known = {key: value for key, value in found.items() if value is not None}
    choose = min if row.cheaper else max
    return choose(known, key=lambda key: known[key]) if known else None


def verdict(case: Case, row: Row, result: Result, against: Against) -> Verdict:
    """Judge the median of the rounds' ratios: both sides of each met the same machine."""
    own = result.outcomes.get(case.entries[0].key, NOT_THERE)
    key = best_peer(row, result) if against.key == BEST_PEER else against.key
    other = result.outcomes.get(key or "", NOT_THERE)
    name = title(key) if key else BEST_PEER
    if not (own.stands and other.stands):
        return Verdict(against=name, bar=str(against.bar), ratios=[], met=None)
    pairs = zip(own.values[row.metric], other.values[row.metric], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs]
    met = against.bar.met_by(statistics.median(ratios))
    return Verdict(against=name, bar=str(against.bar), ratios=ratios, met=met)


def cell(case: Case, row: Row, result: Result | None, key: str) -> str:
    """A figure, or the reason why there is none: nothing is left blank."""
    if key in case.absent:
        return "no such thing"
    if key not in {entry.key for entry in case.entries}:
        return "-"
    outcome = NOT_THERE if result is None else result.outcomes.get(key, NOT_THERE)
    if outcome.missing:
        return "**missing**"
    if outcome.failed:
        return "**FAILED**"
    if row.metric not in outcome.values:
        return "not measured"
    return spread(outcome.values[row.metric], "")


def lines(case: Case, result: Result) -> Iterator[str]:
    """What a terminal shows when a case has ended."""
    for row in case.rows:
        yield f"  {row.name} [{row.unit}]"
        for entry in case.entries:
            text = cell(case, row, result, entry.key).replace("**", "")
            yield f"    {title(entry.key):<18} {text:<28} {entry.note}".rstrip()
        for against in row.bars:
            found = verdict(case, row, result, against)
            yield f"    ours to {found.against}: {found.ratio}, bar {found.bar}, {found.word}"
    for entry in case.entries:
        outcome = result.outcomes.get(entry.key, NOT_THERE)
        for word, why in (("MISSING", outcome.missing), ("FAILED", outcome.failed)):
            if why:
                yield f"    {word}: {title(entry.key)}: {why}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


@attrs.frozen
class Page:
    """The whole report."""

    cases: Mapping[str, Case]
    results: Results

    def result(self, case: Case) -> Result | None:
        return self.results.cases.get(case.key)

    def _measured(self) -> Iterator[tuple[Case, Result]]:
        for case in self.cases.values():
            result = self.result(case)
            if result is not None:
                yield case, result

    def _rows(self) -> Iterator[tuple[Case, Row, Result]]:
        for case, result in self._measured():
            for row in case.rows:
                yield case, row, result

    def unmet(self) -> int:
        """Bars that are missed, or could not be judged."""
        verdicts = (
            verdict(case, row, result, against)
            for case, row, result in self._rows()
            for against in row.bars
        )
        return sum(not found.met for found in verdicts)

    def troubles(self) -> list[str]:
        """Each case in which a side failed or could not be had, with the reason."""
        said: list[str] = []
        for case, result in self._measured():
            for key, outcome in result.outcomes.items():
                for word, why in (("missing", outcome.missing), ("FAILED", outcome.failed)):
                    if why:
                        said.append(f"`{case.key}`, {title(key)}, {word}: {why}")
        said.extend(
            f"`{case.key}`: not measured yet"
            for case in self.cases.values()
            if self.result(case) is None
        )
        return said

    def losses(self) -> list[str]:
        """Each figure in which another queue did better than ours."""
        lost: list[str] = []
        for _case, row, result in self._rows():
            own = middle(result, OURS, row.metric)
            for key in SIDES:
                theirs = middle(result, key, row.metric)
                if key == OURS or own is None or theirs is None:
                    continue
                if theirs < own if row.cheaper else theirs > own:
                    lost.append(
                        f"{row.name}: {title(key)} {number(theirs)} {row.unit},"
                        f" ours {number(own)}"
                    )
        return lost

    def _facts(self) -> Iterator[str]:
        results = [result for _, result in self._measured()]
        days = sorted({result.when[:10] for result in results})
        revisions = list(dict.fromkeys(result.revision for result in results))
        rounds = sorted({result.rounds for result in results})
        versions = {key: v for result in results for key, v in result.versions.items()}
        facts = {name: fact for result in results for name, fact in result.facts.items()}
        yield f"- measured: {', '.join(days)}, at revision {', '.join(revisions)}"
        yield f"- rounds: {', '.join(map(str, rounds))}; medians, lowest to highest in brackets"
        for name, fact in facts.items():
            yield f"- {name}: {fact}"
        yield "- versions: " + ", ".join(
            f"{title(key)} {version}" for key, version in versions.items()
        )

    def _figures(self) -> Iterator[str]:
        everyone = [case for case in self.cases.values() if case.entries[0].key == OURS]
        sides = [s for s in SIDES if any(s in {e.key for e in c.entries} for c in everyone)]
        head = ["Case", *(title(side) for side in sides)]
        yield from _table(
            head,
            [
                [
                    f"{row.name}, {row.unit}",
                    *(cell(case, row, self.result(case), side) for side in sides),
                ]
                for case in everyone
                for row in case.rows
            ],
        )

    def _itself(self) -> Iterator[str]:
        rows = [
            [
                f"{row.name}, {row.unit}",
                *(
                    f"{e.key}: {cell(case, row, self.result(case), e.key)}"
                    for e in case.entries
                ),
            ]
            for case in self.cases.values()
            if case.entries[0].key != OURS
            for row in case.rows
        ]
        if rows:
            yield ""
            yield from _table(["Ours against itself", "", ""], rows)

    def _bars(self) -> Iterator[str]:
        rows: list[list[str]] = []
        for case, row, result in self._rows():
            for against in row.bars:
                found = verdict(case, row, result, against)
                rows.append([row.name, found.against, found.ratio, found.bar, found.word])
        yield from _table(["Case", "Against", "Ours to it", "Bar", ""], rows)

    def _settings(self) -> Iterator[str]:
        for side in SIDES.values():
            yield f"- {side.title}: {side.set_so}"
        notes: dict[str, list[str]] = {}
        for case in self.cases.values():
            for entry in case.entries:
                if entry.note:
                    notes.setdefault(case.rows[0].name, []).append(
                        f"{title(entry.key)} {entry.note}"
                    )
        for name, said in notes.items():
            yield f"- {name}: {', '.join(said)}"

    def lines(self) -> Iterator[str]:
        yield from self._facts()
        yield ""
        yield from self._figures()
        yield from self._itself()
        yield from ("", "The bars, as ratios of figures measured in turns:", "")
        yield from self._bars()
        yield from ("", "Where another queue does better:", "")
        yield from (f"- {lost}" for lost in self.losses() or ["nowhere"])
        yield from ("", "What failed, is missing or was not measured:", "")
        yield from (f"- {trouble}" for trouble in self.troubles() or ["nothing"])
        yield from ("", "How each is set, beyond what it does by default:", "")
        yield from self._settings()
