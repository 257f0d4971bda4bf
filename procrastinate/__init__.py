"""
A job queue whose whole behaviour lives in PostgreSQL.

Make an `App`, declare tasks with `App.task`, defer jobs, run a worker.
"""

from __future__ import annotations

from typing import Any

from procrastinate import metadata as metadata
from procrastinate import utils as _utils
from procrastinate.app import App
from procrastinate.blueprints import Blueprint
from procrastinate.connector import BaseConnector
from procrastinate.job_context import JobContext
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.retry import BaseRetryStrategy, RetryDecision, RetryStrategy
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector

__all__ = [
    "App",
    "BaseConnector",
    "BaseRetryStrategy",
    "Blueprint",
    "JobContext",
    "PsycopgConnector",
    "RetryDecision",
    "RetryStrategy",
    "SyncPsycopgConnector",
]

AiopgConnector = _utils.MovedElsewhere(
    name="AiopgConnector",
    new_location="procrastinate.contrib.aiopg.AiopgConnector",
)
Psycopg2Connector = _utils.MovedElsewhere(
    name="Psycopg2Connector",
    new_location="procrastinate.contrib.psycopg2.Psycopg2Connector",
)

_METADATA = {
    "__author__": "author",
    "__author_email__": "email",
    "__license__": "license",
    "__url__": "url",
    "__version__": "version",
}


def __getattr__(name: str) -> Any:
    # Read when somebody asks: it takes as long as the rest of a small module's import.
    if name in _METADATA:
        return metadata.extract_metadata()[_METADATA[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
