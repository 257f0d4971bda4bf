"""What all verbs of the manager are made with: a connector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from procrastinate import connector as connector_module


class Verbs:
    """
    Methods that each send one call, or few, by a connector.

    Parameters
    ----------
    connector
        What talks to the database.
    """

    def __init__(self, connector: connector_module.BaseConnector) -> None:
        self.connector = connector

    @property
    def _sync(self) -> connector_module.BaseConnector:
        return self.connector.get_sync_connector()
