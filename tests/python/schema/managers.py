"""
A schema manager whose colour a test need not know, and names of migrations yet to come.
"""

from __future__ import annotations

from typing import Any

import attrs

import procrastinate
from procrastinate import schema

NEXT = "04.01.00_01_pre_add_a_table"
AFTER_NEXT = "04.01.00_50_post_drop_it"


@attrs.frozen(kw_only=True)
class Manager:
    """Calls a schema manager's method by its name, in one colour."""

    colour: str

    async def __call__(self, dsn: str, verb: str) -> Any:
        if self.colour == "sync":
            connector = procrastinate.SyncPsycopgConnector(conninfo=dsn)
            connector.open()
            try:
                return getattr(schema.SchemaManager(connector), verb)()
            finally:
                connector.close()
        async_connector = procrastinate.PsycopgConnector(conninfo=dsn)
        await async_connector.open_async()
        try:
            verb = f"{verb}_async"
            return await getattr(schema.SchemaManager(async_connector), verb)()
        finally:
            await async_connector.close_async()
