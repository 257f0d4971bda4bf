"""
What sqlfluff cannot see: bodies between $$ are text to it.

Refused there: capitals outside strings, quoted names and comments, and tabs. Refused
everywhere: lines of more than 92 columns, blanks at the end of a line, `select *`, and
`insert` without columns.
"""

from __future__ import annotations

import pathlib
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
COLUMNS = 92

NOT_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"[^\"]*\"", re.DOTALL)
STAR = re.compile(r"\bselect\s+(?:\w+\.)?\*")
BARE_INSERT = re.compile(r"\binsert\s+into\s+[\w.]+\s+(?:select|values|table|default)\b")
CAPITAL = re.compile(r"[A-Z]")


def complaints(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers, from 1, and what is wrong there."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns, {COLUMNS} at most"
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "a blank at the end"
    code = NOT_CODE.sub(_blanked, text)
    for pattern, complaint in (
        (CAPITAL, "a capital outside of strings and comments"),
        (STAR, "select * (name the columns)"),
        (BARE_INSERT, "insert without columns"),
    ):
        for match in pattern.finditer(code):
            yield text.count("\n", 0, match.start()) + 1, complaint


def _blanked(match: re.Match[str]) -> str:
    # Keeps the lines where they are.
    return re.sub(r"[^\n]", " ", match.group())


def main() -> int:
    found = 0
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        if path.parent.name == "migrations":
            continue  # copies of definitions, immutable once released
        for number, complaint in sorted(set(complaints(path.read_text(encoding="utf-8")))):
            print(f"{path.relative_to(ROOT)}:{number}: {complaint}")
            found += 1
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
