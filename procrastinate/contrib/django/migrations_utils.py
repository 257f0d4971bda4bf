"""How a migration of Django's brings the schema about."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django import db
from django.db import transaction
from django.db.migrations.operations import RunSQL

from procrastinate import exceptions, migrations, schema
from procrastinate.contrib.django import django_connector

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

_NOT_POSTGRESQL = (
    "The database {alias!r} is {name}, and procrastinate needs PostgreSQL. Where it is another "
    "database's, say so in a database router: allow_migrate returns False for this one."
)

_TABLES_OF_3_X = (
    "The database {alias!r} holds the tables of procrastinate 3.x, and Django has no record of "
    "their migrations. Nothing was changed. If they are those of 3.0 to 3.10, record so with "
    "`python manage.py migrate --fake procrastinate 0041`, then migrate again: that adopts "
    "them; or give this version another database (PROCRASTINATE_DATABASE_ALIAS)."
)


@functools.cache
def list_migration_files() -> dict[str, str]:
    """Return the text of each migration of the schema, by the name of its file."""
    return {f"{each.name}.sql": each.text for each in migrations.known()}


class RunProcrastinateSQL(RunSQL):
    """
    Apply one migration of the schema, unless the database has it.

    It may: ``procrastinate schema --migrate`` and psql apply them, too, and each leaves a
    record in the database.

    Parameters
    ----------
    name :
        The name of its file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(sql=list_migration_files()[name])

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride] (its stubs know no keywords)
        """Return how to write this operation down."""
        return type(self).__name__, [], {"name": self.name}

    def describe(self) -> str:
        """Say what it does, as ``sqlmigrate`` shows it."""
        return f"Apply {self.name} of procrastinate's schema"

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Apply it."""
        connection = schema_editor.connection
        if not db.router.allow_migrate(connection.alias, app_label, **self.hints):
            return
        if connection.vendor != "postgresql":
            raise db.NotSupportedError(
                _NOT_POSTGRESQL.format(alias=connection.alias, name=connection.display_name)
            )
        if schema_editor.collect_sql or self.name in self.pending(connection):
            # as one transaction, though a migration that adopts is none
            with transaction.atomic(using=connection.alias):
                super().database_forwards(app_label, schema_editor, from_state, to_state)

    def pending(self, connection: BaseDatabaseWrapper) -> set[str]:
        """Return what is to be applied here."""
        if _holds_3_x(connection):
            raise exceptions.SchemaMismatch(_TABLES_OF_3_X.format(alias=connection.alias))
        return {f"{name}.sql" for name in _manager(connection).plan()}


class CarryOverProcrastinateSQL(RunProcrastinateSQL):
    """
    The same where the earlier migrations ran as those of procrastinate 3.x.

    They have other SQL under the same names, so there is no schema of ours yet: what they
    have made is adopted. That takes several transactions, so the migration can be none.
    """

    reduces_to_sql = False  # it depends on what is there

    def describe(self) -> str:
        """Say what it does, as ``sqlmigrate`` shows it."""
        return f"Adopt the schema of 3.x, or apply {self.name}, if 3.x was there before"

    def pending(self, connection: BaseDatabaseWrapper) -> set[str]:
        """Adopt what is there; return what is to be applied then."""
        manager = _manager(connection)
        if _holds_3_x(connection):
            manager.migrate()
        return {f"{name}.sql" for name in manager.plan()}


def _manager(connection: BaseDatabaseWrapper) -> schema.SchemaManager:
    return schema.SchemaManager(
        connector=django_connector.DjangoConnector(alias=connection.alias)
    )


def _holds_3_x(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
    return "procrastinate_jobs" in tables and "procrastinate_migrations" not in tables
