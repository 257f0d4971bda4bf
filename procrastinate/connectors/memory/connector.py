"""The connector that has its database in memory."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from procrastinate import connector, types
from procrastinate.connectors.memory import answers, named_queries, published, refusals
from procrastinate.connectors.memory.store import EventRow, JobRow, Store

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator

    from procrastinate import jobs
    from procrastinate.rpc.call import Call

T = TypeVar("T")

#: The arguments of a batch that is deferred, in the order of the fields of a job to defer.
_BATCH = (
    "p_queue_names",
    "p_task_names",
    "p_priorities",
    "p_locks",
    "p_queueing_locks",
    "p_args",
    "p_scheduled_ats",
)


class InMemoryConnector(named_queries.NamedQueries, connector.BaseAsyncConnector):
    """
    A connector for tests: the whole queue is in memory, and gone with this object.

    What it holds can be looked at, and changed. It need not be opened. All that a connector to
    PostgreSQL does, it does the same, except that arguments of jobs are handed over as they
    are, and that transactions and connections of the caller's mean nothing to it.
    """

    def __init__(self) -> None:
        store = self._store = Store()
        # Sync tasks call from threads of their own.
        self._access = threading.RLock()
        self.jobs: dict[int, JobRow] = store.jobs
        """
        The jobs by their ids: dictionaries with the columns of ``procrastinate_jobs``.

        ``id queue_name task_name priority lock queueing_lock args status scheduled_at attempts
        abort_requested worker_id``; the status is a string.
        """
        self.options: dict[int, jobs.JobOptions] = store.options
        """What jobs ask for beyond that, by their ids: timeout, key and so on, if anything."""
        self.events: dict[int, list[EventRow]] = store.events
        """
        What happened to each job: dictionaries with ``type`` and ``at``.

        Of a run that failed also ``error``, a line, and ``details``, all that was told of it.
        """
        self.workers: dict[int, datetime.datetime] = store.workers
        """The last heartbeat of each worker, by its id."""
        self.periodic_defers: dict[tuple[str, str], int] = store.periodic_defers
        """The last tick of each periodic task, by its name and periodic id."""
        self.job_counter: Iterator[int] = store.job_ids
        """Where ids come from."""
        self.queries: list[tuple[str, dict[str, Any]]] = []
        """What was asked: names and arguments, in order."""
        self.states: list[str] = []
        """``open``, ``open_async``, ``closed``, ``closed_async``: what was done to it."""
        self.notify_channels: list[str] = []
        """The channels that the last worker listens on."""
        self.on_notification: connector.Notify | None = None
        """What the last worker wants to be called for each notification."""
        self.table_exists: bool = True
        """Whether the main table is there: a test may say that it is not."""
        self.reverse_queries: dict[str, str] = published.names()
        """The names of the published queries, by their texts."""

    def reset(self) -> None:
        """Empty everything, and let ids start at 1 again. Who listens goes on listening."""
        with self._access:
            self._store.empty()
            self.job_counter = self._store.job_ids
            self.queries.clear()
            self.states.clear()
            self.notify_channels.clear()

    @property
    def finished_jobs(self) -> list[JobRow]:
        """The jobs that succeeded or failed."""
        return self._store.with_status("succeeded", "failed")

    @property
    def current_locks(self) -> Iterable[str]:
        """The locks of the jobs in doing."""
        return self._store.held_locks()

    @property
    def clock(self) -> Callable[[], datetime.datetime]:
        """What says the time; set it, and this database travels in time."""
        return self._store.clock

    @clock.setter
    def clock(self, clock: Callable[[], datetime.datetime]) -> None:
        self._store.clock = clock

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this same connector."""
        return self

    def open(self, pool: connector.Pool | None = None) -> None:
        """Note that it was opened."""
        self.states.append("open")

    def close(self) -> None:
        """Note that it was closed."""
        self.states.append("closed")

    async def open_async(self, pool: connector.Pool | None = None) -> None:
        """Note that it was opened."""
        self.states.append("open_async")

    async def close_async(self) -> None:
        """Note that it was closed."""
        self.states.append("closed_async")

    def call(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Answer a call, whatever the connection; see :meth:`BaseConnector.call`."""
        self._refuse_in_loop()
        return self._answer(call)

    async def call_async(self, call: Call[T], *, connection: Any | None = None) -> T:
        """Answer a call, whatever the connection; see :meth:`BaseConnector.call`."""
        # As a server does, it lets others work meanwhile.
        await asyncio.sleep(0)
        return self._answer(call)

    def _answer(self, call: Call[T]) -> T:
        function = call.function
        with self._access:
            self.queries.append(_as_query(function.name, call.args))
            if function.name == "check_connection":
                return call.decode([(self.table_exists,)])
            refusals.check_values(function, call.args)
            return call.decode(self._run(answers.ANSWERS[function.name], **call.args))

    async def set_job_status_run(self, id: int, status: str) -> None:  # noqa: A002 (as in 3.10)
        """Change the status of a job, as an ``UPDATE`` would."""
        with self._access:
            self._run(Store.set_status, job_id=id, status=status)

    def _run(self, answer: Callable[..., T], **arguments: Any) -> T:
        news = self._store.news
        try:
            answered = answer(self._store, **arguments)
        except BaseException:
            news.pending.clear()
            raise
        news.deliver()
        return answered

    def _refuse_in_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise RuntimeError(self._IN_LOOP_MESSAGE)

    def answer_text(self, query: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """Answer a published query, given by its text, and note that it was asked."""
        if query not in self.reverse_queries:
            refusals.refuse_sql()
        name = self.reverse_queries[query]
        self.queries.append((name, arguments))
        return self.answer_published(name, **arguments)

    def answer_published(self, name: str, **arguments: Any) -> list[dict[str, Any]]:
        """Answer a published query, given by its name."""
        if name == "check_connection":
            return [{"check": "procrastinate_jobs" if self.table_exists else None}]
        with self._access:
            return self._run(published.ANSWERS[name], **arguments)

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Answer one of the published queries, for its effect."""
        self._refuse_in_loop()
        self.answer_text(query, arguments)

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> dict[str, Any]:
        """Answer one of the published queries: its first row."""
        self._refuse_in_loop()
        return named_queries.first(self.answer_text(query, arguments))

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[dict[str, Any]]:
        """Answer one of the published queries: its rows."""
        self._refuse_in_loop()
        return self.answer_text(query, arguments)

    def execute_query_one_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Answer one of the published queries, whatever the connection: its first row."""
        return self.execute_query_one(query, **arguments)

    def execute_query_all_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Answer one of the published queries, whatever the connection: its rows."""
        return self.execute_query_all(query, **arguments)

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """Answer one of the published queries, for its effect."""
        self.answer_text(query, arguments)

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Answer one of the published queries: its first row."""
        return named_queries.first(self.answer_text(query, arguments))

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Answer one of the published queries: its rows."""
        return self.answer_text(query, arguments)

    async def execute_query_one_async_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        """Answer one of the published queries, whatever the connection: its first row."""
        return named_queries.first(self.answer_text(query, arguments))

    async def execute_query_all_async_with_connection(
        self, connection: Any, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        """Answer one of the published queries, whatever the connection: its rows."""
        return self.answer_text(query, arguments)

    async def listen_notify(
        self,
        on_notification: connector.Notify,
        channels: Iterable[str],
        on_listening: Callable[[], None] | None = None,
    ) -> None:
        """Listen on channels until cancelled; see :meth:`BaseConnector.listen_notify`."""
        self.on_notification = on_notification
        self.notify_channels = list(channels)
        with self._store.news.listen(frozenset(self.notify_channels)) as listener:
            if on_listening:
                on_listening()
            while True:
                channel, payload = await listener.inbox.get()
                await on_notification(channel=channel, payload=payload)


def _as_query(name: str, args: Any) -> tuple[str, dict[str, Any]]:
    """Return a call as the query of 3.x that it stands for: ``("defer_jobs", {"jobs": [...]})``."""
    query_name = re.sub(r"^procrastinate_|_v\d+$", "", name)
    if all(column in args for column in _BATCH):
        batch = zip(*(args[column] for column in _BATCH), strict=True)
        return query_name, {"jobs": [types.JobToDefer(*values) for values in batch]}
    if query_name == "defer_job":
        fields = {name: args[name] for name in types.JobToDefer._fields}
        return "defer_jobs", {"jobs": [types.JobToDefer(**fields)]}
    return query_name, {re.sub("^(p_|_)", "", key): value for key, value in args.items()}
