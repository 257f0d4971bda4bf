"""The door to :mod:`procrastinate.connectors.psycopg_async`, where 3.x had it."""

from __future__ import annotations

from procrastinate.connectors.psycopg_async import PsycopgConnector

__all__ = ["PsycopgConnector"]
