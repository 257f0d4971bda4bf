"""``python -m benchmarks.peers [--full] [case ...]``: ours against other queues."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import figures
from benchmarks import server as servers
from benchmarks.options import Options
from benchmarks.peers import environments, table
from benchmarks.peers.cases import FULL, QUICK, Case
from benchmarks.peers.results import Results, UnreadableError
from benchmarks.peers.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT = environments.CHECKOUT / ".cache" / "benchmarks"
PAGE = environments.CHECKOUT / "docs" / "benchmarks.md"
WRITTEN = environments.CHECKOUT / "build" / "benchmarks.md"
MARKS = ("<!-- bench-full: begin -->", "<!-- bench-full: end -->")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(FULL)}")
    parser.add_argument(
        "--full",
        action="store_true",
        help="all cases and sides; what was measured before is kept, and not run again",
    )
    parser.add_argument(
        "--again",
        action="append",
        default=[],
        metavar="CASE",
        help="run this case though its result is there; 'failed': those with a side that failed"
        " or was missing; 'all'",
    )
    parser.add_argument("--dsn", help="a server; else PROCRASTINATE_DSN, else the embedded one")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times the number of jobs, for a quick look"
    )
    parser.add_argument(
        "--results", type=pathlib.Path, metavar="FILE", help="keep results there"
    )
    parser.add_argument(
        "--show", action="store_true", help="run nothing, print the table of what is kept"
    )
    parser.add_argument(
        "--keep", action="store_true", help=f"write the report into docs/{PAGE.name}"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 if a bar was missed or a side missing",
    )
    return parser


def chosen_cases(names: Sequence[str], full: bool) -> Mapping[str, Case]:
    cases = FULL if full else QUICK
    unknown = [name for name in names if name not in cases]
    if unknown:
        parser().error(f"unknown case {', '.join(unknown)}; there are {', '.join(cases)}")
    return {key: case for key, case in cases.items() if not names or key in names}


def kept_in(chosen: argparse.Namespace) -> pathlib.Path:
    """A smaller run has a file of its own: it must not pass for the whole."""
    if chosen.results is not None:
        path: pathlib.Path = chosen.results
        return path
    plain = chosen.scale == 1 and chosen.rounds >= 3
    small = "" if plain else f"-scale-{chosen.scale:g}-rounds-{chosen.rounds}"
    return KEPT / f"{'full' if chosen.full else 'quick'}{small}.json"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


def measure(
    chosen: argparse.Namespace, cases: Mapping[str, Case], keys: Sequence[str], results: Results
) -> None:
    """Run the cases, each kept as soon as it ended, and say how long the rest may take."""
    report = figures.Report()
    options = Options(rounds=chosen.rounds, scale=chosen.scale)
    guesses = {key: cases[key].estimate(options.rounds, options.scale) for key in keys}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.chosen(chosen.dsn, report))
        server.describe(report)
        report.fact("rounds, scale", f"{options.rounds}, {options.scale:g}")
        run = Run(server=server, options=options, report=report, stack=stack)
        ahead, begun, behind = sum(guesses.values()), time.monotonic(), 0.0
        for number, key in enumerate(keys, 1):
            spent = time.monotonic() - begun
            pace = spent / behind if behind else 1.0
            rest = minutes((ahead - behind) * pace)
            print(f"\n{key} (case {number} of {len(keys)}, about {rest} to go)", flush=True)
            results.keep(run.case(cases[key]))
            behind += guesses[key]
            for line in table.lines(cases[key], results.cases[key]):
                print(line, flush=True)


def place(page: str, report: str) -> str:
    """Put the report between the marks of a page."""
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        raise SystemExit(f"docs/{PAGE.name} has to hold {begin} and {end}, once each")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{report}\n\n{end}{rest.split(end)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    cases = chosen_cases(chosen.cases, chosen.full)
    known = {*cases, "all", "failed"}
    if stray := [name for name in chosen.again if name not in known]:
        parser().error(f"--again {', '.join(stray)}: no such case among those to run")
    path = kept_in(chosen)
    try:
        results = Results.read(path)
    except UnreadableError as error:
        raise SystemExit(str(error)) from None
    if not chosen.full:
        results.cases.clear()  # a quick look is of today
    keys = [] if chosen.show else results.to_run(list(cases), chosen.again)
    if len(keys) < len(cases) and not chosen.show:
        print(f"{len(cases) - len(keys)} of {len(cases)} cases are in {path.name} already")
    if keys:
        measure(chosen, cases, keys, results)
    page = table.Page(cases, results)
    text = "\n".join(page.lines())
    print(f"\n{text}")
    if chosen.full:
        WRITTEN.parent.mkdir(exist_ok=True)
        WRITTEN.write_text(text + "\n", encoding="utf-8")
    if chosen.keep:
        PAGE.write_text(place(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    failed = any(o.failed for r in results.cases.values() for o in r.outcomes.values())
    strictly = chosen.strict and (page.unmet() or page.troubles())
    return 1 if failed or strictly else 0


if __name__ == "__main__":
    sys.exit(main())
