"""
Long commands one after the other, each with a limit, and what they said in a few last lines.

A part's output is shown as it comes. What it has started is in a process group of its own,
which ends with it: at its limit, at its end, and when this program is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NoReturn

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
#: pytest's last line, and those of the parts that are no tests.
COUNTS = re.compile(r"\b(\d+ (?:passed|failed|errors?|skipped|xfailed|warnings?)\b.*?)[ =]*$")
GRACE = 20.0  # seconds for who was asked to end: an embedded server stops meanwhile


@attrs.frozen(kw_only=True)
class Part:
    """A command, and how long it may take."""

    name: str
    command: Sequence[str]
    limit: float  # seconds
    environment: Mapping[str, str] | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a part."""

    part: Part
    status: int | None  # None: it had to be ended
    seconds: float
    said: str

    @property
    def passed(self) -> bool:
        return self.status == 0

    def __str__(self) -> str:
        if self.status is None:
            became = f"FAILED, not done after {self.part.limit:.0f} s"
        else:
            became = "passed" if self.passed else f"FAILED with status {self.status}"
        return f"{self.part.name}: {became} ({self.seconds:.0f} s): {self.said}"


def run(parts: Sequence[Part], *, limit: float | None = None) -> int:
    """
    Run all parts, whatever one finds; the summary is last. The status says if all passed.

    All together may take ``limit`` seconds.
    """
    began = time.monotonic()
    # Whoever ends this program ends what it has started; a shell's background ignores SIGINT.
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes: list[Outcome] = []
    for number, each in enumerate(parts, 1):
        left = each.limit if limit is None else began + limit - time.monotonic()
        part = attrs.evolve(each, limit=max(min(each.limit, left), 0.0))
        print(f"\n--- {number} of {len(parts)}: {part.name}", flush=True)
        outcomes.append(run_one(part, lambda line: print(line, flush=True)))
        print(f"--- {outcomes[-1]}", flush=True)
    print("\n=== in all ===")
    for outcome in outcomes:
        print(outcome)
    return int(not all(outcome.passed for outcome in outcomes))


def run_one(part: Part, show: Callable[[str], object]) -> Outcome:
    """Run one part to its end or its limit."""
    began = time.monotonic()
    last: deque[str] = deque(maxlen=1)
    counts: list[str] = []
    expired = threading.Event()
    with _group(part) as process:

        def end() -> None:
            expired.set()
            _end(process)

        timer = threading.Timer(part.limit, end)
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                text = line.rstrip("\n")
                show(text)
                if text.strip():
                    last.append(text.strip())
                if found := COUNTS.search(text):
                    counts = [found[1]]
            status = process.wait()
        finally:
            timer.cancel()
    return Outcome(
        part=part,
        status=None if expired.is_set() else status,
        seconds=time.monotonic() - began,
        said="".join(counts or last) or "it said nothing",
    )


@contextlib.contextmanager
def _group(part: Part) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        list(part.command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=ROOT,
        env=None if part.environment is None else dict(part.environment),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    # The leader may be gone, and others of its group not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE
        alive = _reached(process, number)
        while alive and time.monotonic() < deadline:
            time.sleep(0.1)
            alive = _reached(process, 0)
        if not alive:
            return


def _reached(process: subprocess.Popen[str], number: int) -> bool:
    """Send a signal to the group; whether there was anybody."""
    process.poll()  # what has ended, and nobody has asked for, counts as being there
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _leave(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
