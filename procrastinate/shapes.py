"""
What brings a table from one shape to another, given how the catalogue describes both.

A description is what :func:`procrastinate.sql.catalogue_query` says: the definition of each
object by its name, in words that are SQL as well. So what a table gains in ``sql/`` needs
nothing here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Suffix of what is built beside what has its name still.
INTERIM = "_adopted"

_UNIQUE = re.compile(r"(?P<kind>PRIMARY KEY|UNIQUE) (?P<columns>\([^)]*\))")
_COMMENT = re.compile(r"comment on (?P<kind>table|column|type|sequence|index) ")


def literal(text: str) -> str:
    """Return a text as SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"


def words(name: str) -> tuple[str, str, str]:
    """Split ``constraint table.name`` into its kind, table and name; some have no table."""
    kind, _, rest = name.partition(" ")
    table, dot, own = rest.partition(".")
    return (kind, table, own) if dot else (kind, "", rest)


def tables_of(described: Mapping[str, str]) -> set[str]:
    """Return the tables in a description."""
    return {name.removeprefix("table ") for name in described if name.startswith("table ")}


@attrs.frozen(kw_only=True)
class Shapes:
    """
    Two descriptions, and what leads from one to the other for the tables that both have.

    Parameters
    ----------
    found
        What is there.
    expected
        What should be.
    """

    found: Mapping[str, str]
    expected: Mapping[str, str]

    @property
    def tables(self) -> set[str]:
        """Return the tables that both have."""
        return tables_of(self.found) & tables_of(self.expected)

    def _of(self, described: Mapping[str, str], kind: str) -> Iterator[tuple[str, str, str]]:
        for name, definition in described.items():
            what, table, own = words(name)
            if what == kind and table in self.tables:
                yield table, own, definition

    def columns(self) -> list[str]:
        """Return what adds the columns that are missing."""
        return [
            f"alter table {table} add column {own} {definition};"
            for table, own, definition in self._of(self.expected, "column")
            if f"column {table}.{own}" not in self.found
        ]

    def columns_too_many(self) -> list[str]:
        """Return what drops the columns that should not be."""
        return [
            f"alter table {table} drop column {own};"
            for table, own, _ in self._of(self.found, "column")
            if f"column {table}.{own}" not in self.expected
        ]

    def changed_constraints(self) -> list[tuple[str, str, str]]:
        """Return (table, name, definition) of each constraint that is missing or another."""
        return sorted(
            (table, own, definition)
            for table, own, definition in self._of(self.expected, "constraint")
            if self.found.get(f"constraint {table}.{own}") != definition
        )

    def indexes_to_build(self, tables: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return (table, interim name, statement) of the indexes to build beforehand."""
        built: list[tuple[str, str, str]] = []
        for table, own, definition in self.changed_constraints():
            unique = _UNIQUE.match(definition)
            if unique and table in tables:
                name = own + INTERIM
                columns = unique["columns"]
                build = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} {columns}"
                built.append((table, name, build))
        for table, own, definition in self._indexes(self.expected):
            if table in tables and self.found.get(f"index {own}") != definition:
                name = own + INTERIM
                start, _, rest = definition.partition(f"INDEX {own} ")
                build = f"{start}INDEX CONCURRENTLY {name} {rest}"
                built.append((table, name, build))
        return built

    def missing_indexes(self) -> list[str]:
        """Return the definitions of the indexes that are missing, or others."""
        return [
            definition
            for _, own, definition in self._indexes(self.expected)
            if self.found.get(f"index {own}") != definition
        ]

    def indexes_too_many(self) -> list[tuple[str, str, str]]:
        """Return (table, name, definition) of those that should not be, or not so."""
        return [
            each
            for each in self._indexes(self.found)
            if self.expected.get(f"index {each[1]}") != each[2]
        ]

    def _indexes(self, described: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
        # Those that are no constraint's.
        constraints = {words(name)[2] for name in described if name.startswith("constraint ")}
        for name, definition in described.items():
            kind, _, own = words(name)
            found = re.search(r" ON (\w+) ", definition)
            if (
                kind == "index"
                and own not in constraints
                and found is not None
                and found[1] in self.tables
            ):
                yield found[1], own, definition

    def settings(self) -> list[str]:
        """Return what sets the storage parameters."""
        said: list[str] = []
        for table in sorted(self.tables):
            wanted = self.expected[f"table {table}"]
            _, given, options = wanted.partition("with ")
            if wanted == self.found[f"table {table}"]:
                continue
            if given:
                said.append(f"alter table {table} set ({options});")
            else:
                said.append(f"alter table {table} reset (fillfactor);")
        return said

    def comments(self) -> list[str]:
        """Return what says of tables, columns and types what they are."""
        return [
            f"{name} is {literal(definition)};"
            for name, definition in self.expected.items()
            if _COMMENT.match(name) and self.found.get(name) != definition
        ]
