"""
All that `make check` holds, tests last: format, lint, types, imports, SQL, lock, hygiene.

Every step runs, whatever the others found; the status tells whether any of them failed.
"""

from __future__ import annotations

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
        print(f"--- {self.name}", flush=True)
        program, *arguments = self.command
        if program.startswith("tools."):
            command = [sys.executable, "-m", program, *arguments]
        else:
            command = [str(pathlib.Path(sys.executable).parent / program), *arguments]
        return not subprocess.run(command, check=False).returncode


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


def main() -> int:
    failed = [step.name for step in STEPS if not step.passes()]
    print("--- " + (f"FAILED: {', '.join(failed)}" if failed else "all but the tests passed"))
    print("--- tests", flush=True)
    tests = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], check=False)
    return tests.returncode or bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
