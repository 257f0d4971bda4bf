"""
The branches that the tests have taken: `python -m tools.branches [REPORT]`.

`fail_under` of coverage counts lines and branches together, and lines are many; this fails if of
the branches alone there are too few. The report is coverage's in JSON, by default that of
the last `make coverage`.
"""

from __future__ import annotations

import json
import pathlib
import sys

REPORT = pathlib.Path(".cache/coverage.json")
LEAST = 97.0  # per cent


def main(report: pathlib.Path = REPORT) -> int:
    totals = json.loads(report.read_text())["totals"]
    taken, there = totals["covered_branches"], totals["num_branches"]
    share = 100 * taken / there
    print(f"branches: {share:.2f} % ({taken} of {there}; at least {LEAST:g} %)")
    return int(share < LEAST)


if __name__ == "__main__":
    raise SystemExit(main(*map(pathlib.Path, sys.argv[1:2])))
