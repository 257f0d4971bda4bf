"""A migration that dies at a statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString

import procrastinate


class Died(BaseException):
    """What no handler of errors catches, as little as a kill."""


class Mortal(procrastinate.SyncPsycopgConnector):
    """Dies before a statement, so that whoever uses it does nothing more."""

    dies: Callable[[int, str], bool]
    statements = 0

    def _outlive(self, query: str) -> None:
        self.statements += 1
        if self.dies(self.statements, query):
            raise Died

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        self._outlive(query)
        super().execute_query(query, **arguments)

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        self._outlive(query)
        return super().execute_query_all(query, **arguments)


def migrate_until(dsn: str, dies: Callable[[int, str], bool]) -> bool:
    """Migrate until it dies; whether it did."""
    connector = Mortal(conninfo=dsn)
    connector.dies = dies
    with procrastinate.App(connector=connector).open() as app:
        try:
            app.schema_manager.migrate()
        except Died:
            return True
    return False
