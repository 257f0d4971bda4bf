"""`make chaos`: runs with faults, or a soak at half of what the machine can do."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from typing import NoReturn

from tools.chaos import run, soak

SHORT = 30  # faults: each kind twice; two minutes


def leave(*_: object) -> NoReturn:
    """End all that was started, and then this."""
    sys.exit(143)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run; the others count on")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1, help="one after the other")
    parser.add_argument("--short", action="store_true", help=f"{SHORT} faults")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="soak instead")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between its faults")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    if given.soak:
        print(f"seed {seed}", flush=True)
        return soak.carry_out(seed, given.soak, given.every)
    failed = 0
    for number in range(seed, seed + given.runs):
        print(f"seed {number}", flush=True)
        report = run.carry_out(number, SHORT if given.short else given.faults)
        run.show(report)
        failed += bool(report.breaches)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
