"""sql/sqlstates.md is the table of the error codes that the SQL raises."""

from __future__ import annotations

import pathlib
import re

import procrastinate.sql
from procrastinate.rpc import errors

CODE = re.compile(r"'(PQ\d{3})'")
IN_COMMENT = re.compile(r"Raises[^']*")
ROW = re.compile(
    r"^\| (PQ\d{3}) \| ([^|]+) \| ([^|]+) \| `exceptions\.(\w+)` \|$", re.MULTILINE
)


def sql_files() -> list[pathlib.Path]:
    return [
        path
        for path in sorted(procrastinate.sql.root.rglob("*.sql"))
        if path.parent.name != "migrations"  # copies of these
    ]


def documented() -> dict[str, str]:
    return {
        code: name for code, _, _, name in ROW.findall(procrastinate.sql.read("sqlstates.md"))
    }


def test_the_table_has_the_codes_that_are_raised_and_no_other() -> None:
    raised = {code for path in sql_files() for code in CODE.findall(path.read_text())}

    assert raised == set(documented())


def test_each_code_stands_once() -> None:
    codes = [row[0] for row in ROW.findall(procrastinate.sql.read("sqlstates.md"))]

    assert codes == sorted(set(codes))


def test_each_code_says_when_and_what_to_do() -> None:
    for code, when, what, _ in ROW.findall(procrastinate.sql.read("sqlstates.md")):
        assert when.strip().endswith("."), code
        assert what.strip().endswith("."), code


def test_connectors_raise_the_class_of_the_table() -> None:
    assert documented() == {
        code: error.__name__
        for code, error in errors.BY_SQLSTATE.items()
        if code.startswith("PQ")
    }


def test_comments_name_codes_that_exist() -> None:
    for path in sql_files():
        named = {
            code
            for text in IN_COMMENT.findall(path.read_text())
            for code in re.findall(r"PQ\d{3}", text)
        }
        assert named <= set(documented()), path
