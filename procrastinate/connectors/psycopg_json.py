"""JSON in the arguments of published queries, and on connections of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from psycopg.types.json import Jsonb

from procrastinate import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def wrap(value: Any, dumps: Callable[..., Any] | None) -> Any:
    """Mark dictionaries as JSON, also those of jobs to defer, for psycopg."""
    if isinstance(value, dict):
        return Jsonb(value, dumps)
    if isinstance(value, types.JobToDefer):
        return value._replace(args=wrap(value.args, dumps))
    if isinstance(value, list):
        return [wrap(item, dumps) for item in cast("Iterable[Any]", value)]
    return value


def wrap_all(arguments: Mapping[str, Any], dumps: Callable[..., Any] | None) -> dict[str, Any]:
    """Mark the dictionaries among a query's arguments as JSON."""
    return {name: wrap(value, dumps) for name, value in arguments.items()}
