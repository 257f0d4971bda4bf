"""
What no file of this repository may hold: paths of one machine, hosts of a registry.

And how long a module of the package may be.
"""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent

# Written so that this file does not hold them either.
REFUSED = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|root|home|Users)/[A-Za-z.]"),
    "the host of a registry": re.compile(
        r"\b(?:pypi[.]org|pythonhosted[.]org|npmjs[.]org|deb[.]debian[.]org|test[.]pypi)\b"
    ),
}

LONGEST = 500  # lines of a module without its docstrings; one that is longer has two subjects


def length(text: str) -> int:
    """The lines of a module, without docstrings."""
    lines = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        match node:
            case (
                ast.Module(body=[ast.Expr(value=ast.Constant(value=str())) as said, *_])
                | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str())) as said, *_])
                | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str())) as said, *_])
                | ast.AsyncFunctionDef(
                    body=[ast.Expr(value=ast.Constant(value=str())) as said, *_]
                )
            ):
                lines -= (said.end_lineno or said.lineno) - said.lineno + 1
            case _:
                pass
    return lines


def tracked() -> list[str]:
    """The files of the repository, with those about to be added."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return sorted(filter(None, done.stdout.split("\0")))  # none outside of a clone


def main() -> int:
    found = 0
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            continue
        is_ours = name.startswith("procrastinate/") and name.endswith(".py")
        if is_ours and (lines := length(text)) > LONGEST:
            print(f"{name}: {lines} lines, {LONGEST} at most")
            found += 1
        for number, line in enumerate(text.splitlines(), 1):
            for what, pattern in REFUSED.items():
                if pattern.search(line):
                    print(f"{name}:{number}: {what}")
                    found += 1
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
