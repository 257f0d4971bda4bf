"""
One typed function per SQL function: the only Python that names one.

Each returns a :class:`~procrastinate.rpc.call.Call`, which a connector sends:
``await connector.call_async(wire.heartbeat_v2(worker_id=1))``, or ``connector.call(...)``.
"""

from __future__ import annotations

from procrastinate.rpc.call import Call, Function

# Each family is imported by those who call it: no program needs all of them.
__all__ = ["Call", "Function"]
