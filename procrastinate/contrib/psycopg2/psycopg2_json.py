"""JSON in the arguments of published queries, and on connections, for psycopg2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import psycopg2.extras

from procrastinate import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def wrap(value: Any, dumps: Callable[..., Any] | None) -> Any:
    """Mark dictionaries as JSON, also those of jobs to defer, for psycopg2."""
    if isinstance(value, dict):
        return psycopg2.extras.Json(value, dumps=_as_text(dumps or json.dumps))
    if isinstance(value, types.JobToDefer):
        return tuple(value._replace(args=wrap(value.args, dumps)))
    if isinstance(value, list):
        return [wrap(item, dumps) for item in cast("Iterable[Any]", value)]
    return value


def wrap_all(arguments: Mapping[str, Any], dumps: Callable[..., Any] | None) -> dict[str, Any]:
    """Mark the dictionaries among a query's arguments as JSON."""
    return {name: wrap(value, dumps) for name, value in arguments.items()}


def read_with(connection: Any, loads: Callable[..., Any]) -> None:
    """Have a connection read JSON with this function."""
    psycopg2.extras.register_default_json(connection, loads=loads)
    psycopg2.extras.register_default_jsonb(connection, loads=loads)


def _as_text(dumps: Callable[..., Any]) -> Callable[[Any], str]:
    def dump(value: Any) -> str:
        dumped = dumps(value)
        return dumped.decode() if isinstance(dumped, bytes) else str(dumped)

    return dump
