"""
A job queue whose whole behaviour lives in PostgreSQL.

Make an `App`, declare tasks with `App.task`, defer jobs, run a worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from procrastinate import utils as _utils
from procrastinate.app import App
from procrastinate.blueprints import Blueprint
from procrastinate.connector import BaseConnector
from procrastinate.job_context import JobContext
from procrastinate.retry import BaseRetryStrategy, RetryDecision, RetryStrategy

if TYPE_CHECKING:
    from procrastinate import metadata as metadata
    from procrastinate.psycopg_connector import PsycopgConnector
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

AiopgConnector: _utils.MovedElsewhere = _utils.MovedElsewhere(
    name="AiopgConnector",
    new_location="procrastinate.contrib.aiopg.AiopgConnector",
)
Psycopg2Connector: _utils.MovedElsewhere = _utils.MovedElsewhere(
    name="Psycopg2Connector",
    new_location="procrastinate.contrib.psycopg2.Psycopg2Connector",
)

# What takes its time to import comes when somebody asks for it: the driver alone is half of what
# importing all of this would cost, and a Django project has another one.
# docs/decisions/0052-what-is-imported-when-it-is-asked-for.md
_CONNECTORS = {
    "PsycopgConnector": "procrastinate.psycopg_connector",
    "SyncPsycopgConnector": "procrastinate.sync_psycopg_connector",
}
# With 3.x, `import procrastinate` was enough to write `procrastinate.schema`.
_MODULES = (
    "connectors",
    "metadata",
    "migrations",
    "psycopg_connector",
    "schema",
    "sql",
    "sync_psycopg_connector",
    "worker",
)
_METADATA = {
    "__author__": "author",
    "__author_email__": "email",
    "__license__": "license",
    "__url__": "url",
    "__version__": "version",
}


def __getattr__(name: str) -> Any:
    value: Any
    if name in _CONNECTORS:
        value = getattr(importlib.import_module(_CONNECTORS[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    elif name in _METADATA:
        reader = importlib.import_module(f"{__name__}.metadata")
        value = reader.extract_metadata()[_METADATA[name]]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_CONNECTORS, *_MODULES, *_METADATA})
