"""
procrastinate 3.10, as published, in a database of its own.

A black box: its package applies its schema, and we call the functions that its documentation
and catalogue name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import upstream

if TYPE_CHECKING:
    from benchmarks import server as servers

VERSION = upstream.VERSION


def install(server: servers.Server, database: str) -> None:
    """Apply upstream's schema with upstream's package."""
    upstream.apply_schema(server.dsn_of(database))
