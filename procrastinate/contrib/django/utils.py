"""What the database of a project is to a driver."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING, Any

from django import db
from django.core import exceptions

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# What Django's own cursors need, and no other program's.
_ONLY_DJANGO = ("context", "cursor_factory")


def postgresql_connection(alias: str) -> BaseDatabaseWrapper:
    """
    Return this thread's connection of a database.

    Raises
    ------
    django.core.exceptions.ImproperlyConfigured
        The database is not PostgreSQL's.
    """
    connection = db.connections[alias]
    if connection.vendor != "postgresql":
        raise exceptions.ImproperlyConfigured(
            f"The database {alias!r} is {connection.display_name}, and procrastinate needs "
            "PostgreSQL: name another database in PROCRASTINATE_DATABASE_ALIAS"
        )
    return connection


def connector_params(alias: str = "default") -> dict[str, Any]:
    """
    Return the parameters of a database as psycopg takes them.

    They make a connector that does not depend on Django:
    ``PsycopgConnector(kwargs=connector_params())``.

    Parameters
    ----------
    alias :
        The database, as ``settings.DATABASES`` names it.
    """
    parameters: dict[str, Any] = postgresql_connection(alias).get_connection_params()
    return {name: value for name, value in parameters.items() if name not in _ONLY_DJANGO}


def package_is_installed(name: str) -> bool:
    """Tell whether a package can be imported."""
    return importlib.util.find_spec(name) is not None


def package_is_version(name: str, major: int) -> bool:
    """Tell whether a package has that major version."""
    return importlib.metadata.version(name).partition(".")[0] == str(major)
