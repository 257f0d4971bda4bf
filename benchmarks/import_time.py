"""Importing: what each process of a project pays before it does anything."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import figures
from tools import upstream

if TYPE_CHECKING:
    import pathlib

    from benchmarks.options import Options
    from benchmarks.server import Server

RUNS = 15  # of each side, in a round

STATEMENTS = {
    "import procrastinate": "import procrastinate",
    "with the connector": "from procrastinate import App, PsycopgConnector",
    "with the worker": "from procrastinate import App, PsycopgConnector, worker",
    "with the command line": "from procrastinate import PsycopgConnector, cli",
}

PROGRAM = """\
import time
start = time.perf_counter()
{}
print(time.perf_counter() - start)
"""


def milliseconds(interpreter: str | pathlib.Path, statement: str) -> float:
    # -I: both packages bear one name, and neither may come from the working directory
    done = subprocess.run(
        [interpreter, "-I", "-c", PROGRAM.format(statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout) * 1e3


def run(_: Server, options: Options, report: figures.Report) -> None:
    """Both sides take turns, process by process; a round is the median of its processes."""
    report.start("import", "milliseconds in a new process", f"upstream {upstream.VERSION}")
    theirs = upstream.python()
    runs = options.scaled(RUNS, least=3)
    for name, statement in STATEMENTS.items():
        milliseconds(sys.executable, statement)  # compiles what was never imported
        milliseconds(theirs, statement)
        ours_rounds: list[float] = []
        base_rounds: list[float] = []
        for _round in range(options.rounds):
            ours: list[float] = []
            base: list[float] = []
            for _process in range(runs):
                ours.append(milliseconds(sys.executable, statement))
                base.append(milliseconds(theirs, statement))
            ours_rounds.append(statistics.median(ours))
            base_rounds.append(statistics.median(base))
        report.add(name, "ms", ours_rounds, base_rounds, bar=figures.at_most(1))
