"""
What PostgreSQL really did for a call: each nested statement's plan, and the pages touched.

auto_explain sends the plans of all statements inside functions and triggers, as they were
executed with the functions' own settings, to the client as notices.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

# Tables that grow with the work in hand, or with the work of the past
QUEUE_TABLES = frozenset(
    "procrastinate_" + name for name in ("jobs", "todo", "doing", "events", "results", "keys")
)

_SETTINGS = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set auto_explain.log_format = json;
set auto_explain.log_level = notice;
set client_min_messages = notice;
"""


@attrs.frozen(kw_only=True)
class Scan:
    """One scan of a table in one statement."""

    node: str
    table: str
    index: str | None
    rows: float  # all that were read, those that a filter threw away included
    filtered: float
    statement: str

    def __str__(self) -> str:
        way = f"{self.node} on {self.table}" + (f" by {self.index}" if self.index else "")
        return f"{way}: {self.rows:g} rows read, {self.filtered:g} in vain\n{self.statement}"


def _scans(plan: dict[str, Any], statement: str) -> Iterator[Scan]:
    if "Relation Name" in plan and plan["Node Type"] != "ModifyTable":
        loops = plan.get("Actual Loops", 1)
        filtered = sum(
            plan.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck")
        )
        yield Scan(
            node=plan["Node Type"],
            table=plan["Relation Name"],
            index=plan.get("Index Name"),
            rows=(plan.get("Actual Rows", 0) + filtered) * loops,
            filtered=filtered * loops,
            statement=statement,
        )
    for child in plan.get("Plans", []):
        yield from _scans(child, statement)


@attrs.define
class PlanReader:
    """Collects the scans of everything that ``conn`` runs while it listens."""

    conn: psycopg.Connection[Any]
    scans: list[Scan] = attrs.field(factory=list[Scan])
    statements: int = 0

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        message = notice.message_primary or ""
        if "plan:\n" not in message:
            return
        document = json.loads(message.split("plan:\n", 1)[1])
        self.statements += 1
        self.scans.extend(_scans(document["Plan"], document["Query Text"]))

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        try:
            self.conn.execute(_SETTINGS)
        except psycopg.errors.Error as exc:
            pytest.skip(f"auto_explain cannot be loaded here: {exc}")
        self.conn.add_notice_handler(self._hear)
        try:
            yield
        finally:
            self.conn.remove_notice_handler(self._hear)
            self.conn.execute("set auto_explain.log_min_duration = -1")

    def of_queue_tables(self) -> list[Scan]:
        return [scan for scan in self.scans if scan.table in QUEUE_TABLES]


def pages(conn: psycopg.Connection[Any], call: str, arguments: Sequence[object]) -> int:
    """How many buffers ``select * from call`` touches, with all that it runs inside."""
    row = conn.execute(
        f"explain (analyze, buffers, timing off, format json) select * from {call}".encode(),
        arguments,
    ).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
