"""What pgTAP prints, judged as pg_prove does."""

from __future__ import annotations

import re

LINE = re.compile(r"(?P<bad>not )?ok (?P<number>\d+)(?P<rest>.*)")
PLAN = re.compile(r"1\.\.(?P<count>\d+)(?P<rest>.*)")


def judge(output: str, errors: str, status: int) -> list[str]:
    """What is wrong with the output of a file of tests; nothing if all of them passed."""
    problems: list[str] = []
    planned: int | None = None
    seen = 0
    failing = False
    for line in output.splitlines():
        if plan := PLAN.match(line):
            if planned is not None:
                problems.append("two plans")
            planned = int(plan["count"])
        elif test := LINE.match(line):
            seen += 1
            if int(test["number"]) != seen:
                problems.append(f"test {test['number']} came as number {seen}")
            failing = bool(test["bad"]) and "# todo" not in test["rest"].lower()
            if failing:
                problems.append(line)
        elif line.startswith("#"):
            if failing:
                problems.append(line)
        elif line.startswith("Bail out!"):
            problems.append(line)
    if status:
        problems.append(f"psql ended with status {status}")
    if planned is None:
        problems.append("no plan")
    elif planned != seen or not seen:
        problems.append(f"{planned} tests were planned, {seen} ran")
    if problems and errors:
        problems.append(errors.strip())
    return problems
