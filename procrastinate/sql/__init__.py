"""
The door to the SQL of the project.

In a checkout the files are those of ``sql/`` at its top; in a wheel the build has put a copy
beside this module. ``queries`` is what 3.x published; nothing in this package uses it.
"""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import LiteralString

_here = pathlib.Path(__file__).parent
_installed = (_here / "install_order.txt").is_file()

#: Directory of the definitions: ``types/``, ``tables/``, … and ``migrations/``.
root: pathlib.Path = _here if _installed else _here.parents[1] / "sql"

#: What the definitions were when the lock was last written.
lock_path: pathlib.Path = (_here if _installed else root.parent) / "schema.lock"


def read(name: str) -> str:
    """
    Return the text of one file, named by its path below :data:`root`.
    """
    return (root / name).read_text(encoding="utf-8")


def installed_names() -> list[str]:
    """
    Return the files that make a schema, in the order in which they must run.
    """
    patterns = [
        line for line in read("install_order.txt").splitlines() if line and line[0] != "#"
    ]
    return [
        path.relative_to(root).as_posix()
        for pattern in patterns
        for path in sorted(root.glob(pattern), key=lambda path: path.name)
    ]


def catalogue_query() -> str:
    """
    Return the query that describes a schema: a row for each object, with its definition.
    """
    return read_own("catalogue.sql")


def read_own(name: str) -> str:
    """
    Return the text of a file that lies beside this module.
    """
    return (_here / name).read_text(encoding="utf-8")


def literal(text: str) -> LiteralString:
    """
    Return a text that came from the files of this package, never from a user, as a literal.
    """
    # In a list, for mypy takes LiteralString for str and would call the cast redundant.
    (known,) = cast("list[LiteralString]", [text])
    return known


QUERIES_REGEX = re.compile(r"(?:\n|^)-- ([a-z0-9_]+) --\n(?:-- .+\n)*", re.MULTILINE)


def parse_query_file(query_file: str) -> dict[str, LiteralString]:
    """
    Split a text of queries, each below a line ``-- its_name --``.
    """
    parts = QUERIES_REGEX.split(query_file)
    return {
        name: literal(text.strip()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def get_queries() -> dict[str, LiteralString]:
    """
    Return the published queries, by name.
    """
    return parse_query_file(read_own("queries.sql"))


queries: dict[str, LiteralString] = get_queries()
