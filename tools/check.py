"""
All that `make check` holds, tests last: format, lint, types, imports, SQL, lock, hygiene.

Every step runs, whatever the others found; the status tells whether any of them failed. Two run
at a time, as most of them use one core; what each has said comes in one piece, in their order.
"""

from __future__ import annotations

import concurrent.futures
import pathlib
import subprocess
import sys

import attrs

PYTHON = ("procrastinate", "tests", "tools", "benchmarks")
PAGES = ("README.md", "docs")  # the Python that they show


@attrs.frozen
class Step:
    """A command, and what it is about."""

    name: str
    command: tuple[str, ...]

    def passes(self) -> bool:
        """Run it, show what it said, and tell whether it found nothing."""
        return self.show(self.run())

    def show(self, done: subprocess.CompletedProcess[str]) -> bool:
        print(f"--- {self.name}\n{done.stdout}", end="", flush=True)
        return not done.returncode

    def run(self) -> subprocess.CompletedProcess[str]:
        program, *arguments = self.command
        if program.startswith("tools."):
            command = [sys.executable, "-m", program, *arguments]
        else:
            command = [str(pathlib.Path(sys.executable).parent / program), *arguments]
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )


STEPS = (
    Step("format", ("ruff", "format", "--check", "--quiet", *PYTHON, *PAGES)),
    Step("lint", ("ruff", "check", "--quiet", *PYTHON)),
    Step("types, by pyright", ("basedpyright", "--level", "error")),
    Step("types, by mypy", ("mypy", "--no-error-summary")),
    Step("types that users see", ("tools.typed_surface",)),
    Step("imports", ("lint-imports", "--no-cache")),
    Step("SQL", ("sqlfluff", "lint", "--nocolor", "--disable-progress-bar", "sql")),
    Step("SQL inside $$", ("tools.sql_style",)),
    Step("lock", ("tools.lock", "check")),
    Step("hygiene", ("tools.hygiene",)),
)


def failing(steps: tuple[Step, ...]) -> list[str]:
    """The names of the steps that found something."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return [
            step.name
            for step, done in zip(steps, pool.map(Step.run, steps), strict=True)
            if not step.show(done)
        ]


def main() -> int:
    failed = failing(STEPS)
    print("--- " + (f"FAILED: {', '.join(failed)}" if failed else "all but the tests passed"))
    print("--- tests", flush=True)
    tests = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], check=False)
    return tests.returncode or bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
