"""What ``manage.py procrastinate healthchecks`` looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management import base
from django.db.migrations.executor import MigrationExecutor

from procrastinate.contrib.django import procrastinate_app, settings, utils

if TYPE_CHECKING:
    from procrastinate import app as app_module
    from procrastinate.contrib.django import db_cleanup

django_app: db_cleanup.DjangoApp = procrastinate_app.app

_MISSING = "Missing procrastinate migrations. Run `python manage.py migrate procrastinate`."


def healthchecks(app: app_module.App) -> None:
    """
    Say what works, until something does not.

    Parameters
    ----------
    app :
        The app that a worker would use, open.
    """
    missing = _has_missing_migrations()
    print("Database connection: OK")  # noqa: T201  (it is what was asked for)
    if missing:
        raise base.CommandError(_MISSING)
    print("Migrations: OK")  # noqa: T201
    django_app.check_connection()
    print("Default Django Procrastinate App: OK")  # noqa: T201
    app.check_connection()
    print("Worker App: OK")  # noqa: T201


def _has_missing_migrations() -> bool:
    connection = utils.postgresql_connection(settings.settings.DATABASE_ALIAS)
    executor = MigrationExecutor(connection)
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "procrastinate"]
    return bool(executor.migration_plan(targets))
