"""What a connector of a user's own need not implement says so, by name and by kind."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

from procrastinate import connector, exceptions


async def call(instance: connector.BaseConnector, name: str, *arguments: Any) -> Any:
    answer = getattr(instance, name)(*arguments)
    return await answer if inspect.isawaitable(answer) else answer


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_sync_connector", []),
        ("open", []),
        ("close", []),
        ("execute_query", ["select 1"]),
        ("execute_query_one", ["select 1"]),
        ("execute_query_all", ["select 1"]),
    ],
)
async def test_what_a_sync_connector_leaves_out_is_not_implemented(
    name: str, arguments: list[Any]
) -> None:
    with pytest.raises(NotImplementedError):
        await call(connector.BaseConnector(), name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_async_twin", []),
        ("open_async", []),
        ("close_async", []),
        ("execute_query_async", ["select 1"]),
        ("execute_query_one_async", ["select 1"]),
        ("execute_query_all_async", ["select 1"]),
        ("listen_notify", [None, ["channel"]]),
    ],
)
async def test_a_sync_connector_names_the_mistake_of_those_who_await_it(
    name: str, arguments: list[Any]
) -> None:
    with pytest.raises(exceptions.SyncConnectorConfigurationError):
        await call(connector.BaseConnector(), name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("open_async", []),
        ("close_async", []),
        ("execute_query_async", ["select 1"]),
        ("execute_query_one_async", ["select 1"]),
        ("execute_query_all_async", ["select 1"]),
        ("listen_notify", [None, ["channel"]]),
    ],
)
async def test_what_an_async_connector_leaves_out_is_not_implemented(
    name: str, arguments: list[Any]
) -> None:
    with pytest.raises(NotImplementedError):
        await call(connector.BaseAsyncConnector(), name, *arguments)


@pytest.mark.parametrize("how", ["one", "all"])
@pytest.mark.parametrize("colour", ["", "_async"])
async def test_a_connector_refuses_connections_that_it_was_not_made_for(
    how: str, colour: str
) -> None:
    own = connector.BaseConnector()
    with pytest.raises(exceptions.ConnectorException, match="external connections"):
        await call(own, f"execute_query_{how}{colour}_with_connection", object(), "select 1")


class Async(connector.BaseAsyncConnector):
    """Runs queries in an event loop, and nothing else."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        self.ran.append(query)

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:
        self.ran.append(query)
        return {"one": 1}

    async def execute_query_all_async(
        self, query: str, **arguments: Any
    ) -> list[dict[str, Any]]:
        self.ran.append(query)
        return [{"one": 1}]


def test_an_async_connector_answers_sync_queries_where_no_loop_runs() -> None:
    own = Async()

    own.execute_query("first")

    assert own.execute_query_one("second") == {"one": 1}
    assert own.execute_query_all("third") == [{"one": 1}]
    assert own.ran == ["first", "second", "third"]


def test_a_connection_in_a_sync_call_is_refused_by_an_async_connector_too() -> None:
    own = Async()
    for run in (own.execute_query_one_with_connection, own.execute_query_all_with_connection):
        with pytest.raises(exceptions.ConnectorException, match="external connections"):
            run(object(), "select 1")
    assert asyncio.run(own.execute_query_one_async("select 1"))
