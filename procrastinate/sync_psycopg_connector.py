"""The door to :mod:`procrastinate.connectors.psycopg_sync`, where 3.x had it."""

from __future__ import annotations

from procrastinate.connectors.psycopg_sync import SyncPsycopgConnector

__all__ = ["SyncPsycopgConnector"]
