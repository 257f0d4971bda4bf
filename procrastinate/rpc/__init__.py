"""
One typed function per SQL function: the only Python that names one.

Each returns a :class:`~procrastinate.rpc.call.Call`, which a connector sends:
``await connector.call_async(wire.heartbeat_v1(worker_id=1))``, or ``connector.call(...)``.
"""

from __future__ import annotations

from procrastinate.rpc import errors, front, listing, old_wire, schema_free, values, wire
from procrastinate.rpc.call import Call, Function

__all__ = [
    "Call",
    "Function",
    "errors",
    "front",
    "listing",
    "old_wire",
    "schema_free",
    "values",
    "wire",
]
