"""``python -m benchmarks.engine [case ...]``: the engine's figures, through SQL alone, but one."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from benchmarks import (
    announce,
    costs,
    deep,
    defer,
    drain,
    exchange,
    figures,
    import_time,
    latency,
    limits,
    memory,
    notify,
    overview,
    producers,
    purge,
    saq,
    sizes,
    snapshot,
    soak,
    tenants,
    triggers,
    upkeep,
)
from benchmarks import server as servers
from benchmarks.options import Options

Case: TypeAlias = Callable[[servers.Server, Options, figures.Report], None]

CASES: Mapping[str, Case] = {
    "exchange": exchange.run,
    "defer": defer.run,
    "deep": deep.run,
    "snapshot": snapshot.run,
    "overview": overview.run,
    "soak": soak.run,
    "purge": purge.run,
    "triggers": triggers.run,
    "drain": drain.run,
    "costs": costs.run,
    "latency": latency.run,
    "limits": limits.run,
    "upkeep": upkeep.run,
    "notify": notify.run,
    "announce": announce.run,
    "producers": producers.run,
    "memory": memory.run,
    "saq": saq.run,
    "sizes": sizes.run,
    "tenants": tenants.run,
    "import": import_time.run,
}


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}")
    parser.add_argument("--dsn", help="a server; else PROCRASTINATE_DSN, else the embedded one")
    parser.add_argument("--rounds", type=int, default=3, help="each of them compares (3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="times the number of jobs, for a quick look"
    )
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write figures there")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = parser().parse_args(arguments)
    unknown = [case for case in chosen.cases if case not in CASES]
    if unknown:
        parser().error(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    options = Options(rounds=chosen.rounds, scale=chosen.scale)
    report = figures.Report()
    with servers.chosen(chosen.dsn, report) as server:
        server.describe(report)
        report.fact("rounds, scale", f"{options.rounds}, {options.scale:g}")
        for case in chosen.cases or CASES:
            CASES[case](server, options, report)
    if chosen.json is not None:
        report.write_json(chosen.json)
    barred = [figure for figure in report.figures if figure.bar is not None]
    print(f"\n{len(barred) - len(report.missed)} of {len(barred)} bars met")
    for figure in report.missed:
        print(f"  missed: {figure.case}, {figure.name}: {figure.judged:.2f}, bar {figure.bar}")
    return 1 if chosen.strict and report.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
