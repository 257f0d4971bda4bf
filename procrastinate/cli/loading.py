"""The app that a command is for, or what stands in its place."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from procrastinate import app as app_module
from procrastinate import connector, exceptions

logger: logging.Logger = logging.getLogger("procrastinate.cli")


def _missing(*args: Any, **kwargs: Any) -> NoReturn:
    raise exceptions.MissingApp


async def _missing_async(*args: Any, **kwargs: Any) -> NoReturn:
    raise exceptions.MissingApp


class MissingAppConnector(connector.BaseAsyncConnector):
    """
    The connector of the app that stands in when none was named.

    It can be opened, since some commands need no database; any use of one says what is missing.
    """

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    async def open_async(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    async def close_async(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def get_sync_connector(self) -> connector.BaseConnector:
        """Return this same connector."""
        return self

    call: Any = _missing
    call_async: Any = _missing_async
    execute_query: Any = _missing
    execute_query_one: Any = _missing
    execute_query_all: Any = _missing
    execute_query_async: Any = _missing_async
    execute_query_one_async: Any = _missing_async
    execute_query_all_async: Any = _missing_async
    listen_notify: Any = _missing_async


def load_app(app_path: str) -> app_module.App:
    """
    Import the app; without a path, return one that has no database.

    Raises
    ------
    exceptions.LoadFromPathError
        There is no app at that path, or one whose connector is not async. The message is for
        whoever typed the path.
    """
    if not app_path:
        # Its tasks are known nowhere, so there is nothing to say about it.
        return app_module.App(connector=MissingAppConnector())
    try:
        app = app_module.App.from_path(app_path)
    except exceptions.LoadFromPathError as exc:
        raise exceptions.LoadFromPathError(f"Could not load app from {app_path}") from exc
    if not isinstance(app.connector, connector.BaseAsyncConnector):
        raise exceptions.LoadFromPathError(
            "The connector provided by the app is not async. "
            "Please use an async connector for the procrastinate CLI."
        )
    return app
