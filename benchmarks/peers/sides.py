"""Who is compared: each side's package, its program, and how it is set."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import attrs

from benchmarks.peers import environments

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


@attrs.frozen(kw_only=True)
class Side:
    """One queue. ``set_so`` is for the report: what it was given, of what it documents."""

    key: str
    title: str
    environment: environments.Environment
    program: str
    set_so: str
    settings: Mapping[str, Any] = {}  # of its worker, in every case

    @property
    def path(self) -> pathlib.Path:
        return PROGRAMS / self.program


OURS = "ours"
OLD = "3.10"

SIDES: Mapping[str, Side] = {
    side.key: side
    for side in (
        Side(
            key=OURS,
            title="ours",
            environment=environments.Ours(),
            program="run_procrastinate.py",
            set_so="as it comes, asyncio's own loop",
        ),
        Side(
            key=OLD,
            title="procrastinate 3.10",
            environment=environments.Upstream(),
            program="run_procrastinate.py",
            set_so="as it comes, asyncio's own loop",
        ),
        Side(
            key="saq",
            title="SAQ",
            environment=environments.Python(
                package="saq", version="0.26", extras="[postgres]", also=("psycopg[binary]",)
            ),
            program="run_saq.py",
            set_so="`concurrency`; its own pool of 4 to 20 connections; locks are its `group_key`;"
            " it has no call that enqueues many jobs",
        ),
        Side(
            key="pgqueuer",
            title="pgqueuer",
            environment=environments.Python(
                package="pgqueuer", version="1.6", extras="[asyncpg]"
            ),
            program="run_pgqueuer.py",
            set_so="asyncpg, uvloop (which it brings), `batch_size` as the concurrency and at most"
            " 100, `max_concurrent_tasks` twice the concurrency, the least that it takes; sync"
            " tasks through `asyncio.to_thread`; it has no locks of jobs",
        ),
        Side(
            key="oban",
            title="oban-py",
            environment=environments.Python(package="oban", version="0.7", least_minor=12),
            program="run_oban.py",
            set_so="uvloop (which it brings), its queue's limit as the concurrency, 10 to 20"
            " connections; it has neither sync tasks nor locks of jobs",
        ),
        Side(
            key="graphile",
            title="graphile-worker",
            environment=environments.Node(package="graphile-worker", version="0.17"),
            program="run_graphile.mjs",
            settings={"local": 2_000},
            set_so="`localQueue` of 2,000 prefetched jobs, `completeJobBatchDelay` and"
            " `failJobBatchDelay` 0, `concurrentJobs` as the concurrency, `maxPoolSize` one more"
            " and at most 25; locks are its named queues; it deletes what is done",
        ),
        Side(
            key="pg-boss",
            title="pg-boss",
            environment=environments.Node(package="pg-boss", version="10"),
            program="run_pgboss.mjs",
            set_so="`batchSize` as the concurrency, `pollingIntervalSeconds` 0.5 (the least it"
            " takes), `notifyWorker` after each batch, so that a busy worker does not wait",
        ),
    )
}
PEERS = tuple(key for key in SIDES if key not in {OURS, OLD})
