"""
Install, migrate and check the schema.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, LiteralString, TypeVar, cast

from procrastinate import adopting, exceptions, migrations, reversion, sql
from procrastinate.rpc import front

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from procrastinate import connector as connector_module
    from procrastinate.rpc import values

T = TypeVar("T")
Steps = Generator[migrations.Query | migrations.Script, migrations.Answer, T]

#: Directory of the migrations: plain SQL files, to be applied in the order of their names.
migrations_path: pathlib.Path = sql.root / "migrations"


class SchemaManager:
    """
    What an app does with its database's schema: ``app.schema_manager``.

    Parameters
    ----------
    connector
        What talks to the database.
    """

    def __init__(self, connector: connector_module.BaseConnector) -> None:
        self.connector = connector

    @staticmethod
    def get_schema() -> LiteralString:
        """
        Return the whole schema as one SQL script, for an empty schema.
        """
        return sql.literal(migrations.one_file_schema())

    @staticmethod
    def get_migrations_path() -> str:
        """
        Return the directory of the migrations, as SQL files that psql can apply.
        """
        return str(migrations_path)

    def apply_schema(self) -> None:
        """
        Install the schema in the first schema of the ``search_path``, which must hold none.
        """
        self._drive(migrations.applying())

    async def apply_schema_async(self) -> None:
        """
        Install the schema in the first schema of the ``search_path``, which must hold none.
        """
        await self._drive_async(migrations.applying())

    def migrate(self, on_begin: Callable[[str], None] | None = None) -> list[str]:
        """
        Apply the migrations that are pending, and return their names.

        Each runs in one transaction. Several callers may do this at once: one applies, the
        others wait, then have nothing to do.

        Tables of procrastinate 3.0 to 3.10 are adopted first, with all jobs, while their
        clients are at work: several transactions, not within one of the caller's. What was cut
        short is taken up again; of several callers, the one that ends it returns its name.

        Parameters
        ----------
        on_begin
            Told the name of each migration before it is applied.

        Raises
        ------
        exceptions.SchemaMismatch
            A migration was edited, is missing, or is newer than this version; or the tables
            are those of procrastinate 2.x. Nothing was changed. Or a migration would remove
            functions that live workers call: the message names them, and what only adds was
            applied.
        """
        return self._drive(adopting.migrating(migrations.known(), on_begin))

    async def migrate_async(self, on_begin: Callable[[str], None] | None = None) -> list[str]:
        """
        Apply the migrations that are pending, and return their names: see `migrate`.
        """
        return await self._drive_async(adopting.migrating(migrations.known(), on_begin))

    def plan(self) -> list[str]:
        """
        Return the names of the migrations that `migrate` would apply.
        """
        return self._drive(adopting.planning(migrations.known()))

    async def plan_async(self) -> list[str]:
        """
        Return the names of the migrations that `migrate_async` would apply.
        """
        return await self._drive_async(adopting.planning(migrations.known()))

    def explain(self) -> list[str]:
        """
        Say in sentences what `migrate` would do, with estimates; nothing is changed.
        """
        return self._drive(adopting.explaining(migrations.known()))

    async def explain_async(self) -> list[str]:
        """
        Say in sentences what `migrate_async` would do, with estimates; nothing is changed.
        """
        return await self._drive_async(adopting.explaining(migrations.known()))

    def check(self) -> list[migrations.Difference]:
        """
        Compare the database with ``schema.lock``, object by object; empty if they agree.
        """
        return self._drive(migrations.checking(migrations.known(), migrations.locked_objects()))

    async def check_async(self) -> list[migrations.Difference]:
        """
        Compare the database with ``schema.lock``, object by object; empty if they agree.
        """
        return await self._drive_async(
            migrations.checking(migrations.known(), migrations.locked_objects())
        )

    def create_roles(
        self,
        *,
        producer: str | None = "procrastinate_producer",
        worker: str | None = "procrastinate_worker",
        operator: str | None = "procrastinate_operator",
        auditor: str | None = "procrastinate_auditor",
    ) -> list[values.Role]:
        """
        Create the roles that are not there, and give each the rights of its part, and no other.

        The connector's user must own the schema and be able to create roles. Do this again
        after each migration: what is new is granted then.

        Parameters
        ----------
        producer
            Name of the role that may defer jobs and sees no table; None leaves it out.
        worker
            Name of the role that a worker needs.
        operator
            Name of the role that looks, pauses, cancels, retries and purges.
        auditor
            Name of the role that looks, at all but what tasks were given and gave back.

        Raises
        ------
        exceptions.InvalidArgument
            A role has all rights already, or everybody may create objects in the schema.
            Nothing was changed.
        """
        return self.connector.get_sync_connector().call(
            front.create_roles(
                producer=producer, worker=worker, operator=operator, auditor=auditor
            )
        )

    async def create_roles_async(
        self,
        *,
        producer: str | None = "procrastinate_producer",
        worker: str | None = "procrastinate_worker",
        operator: str | None = "procrastinate_operator",
        auditor: str | None = "procrastinate_auditor",
    ) -> list[values.Role]:
        """
        Create the roles that are not there, and set their rights: see `create_roles`.
        """
        return await self.connector.call_async(
            front.create_roles(
                producer=producer, worker=worker, operator=operator, auditor=auditor
            )
        )

    def revert(self, schema_of_3_x: str) -> None:
        """
        Turn the schema into that of procrastinate 3.x again, with the jobs and their history.

        Everybody waits meanwhile. What 3.x has no place for is lost: pauses of queues, and the
        columns that this version has added.

        Parameters
        ----------
        schema_of_3_x
            What ``procrastinate schema --read`` of that version prints.

        Raises
        ------
        exceptions.SchemaMismatch
            It is not that. Nothing was changed.
        """
        self._drive(reversion.reverting(schema_of_3_x))

    async def revert_async(self, schema_of_3_x: str) -> None:
        """
        Turn the schema into that of procrastinate 3.x again: see `revert`.
        """
        await self._drive_async(reversion.reverting(schema_of_3_x))

    def _drive(self, steps: Steps[T]) -> T:
        connector = self.connector.get_sync_connector()
        try:
            step = next(steps)
            while True:
                answer: migrations.Answer = []
                try:
                    if isinstance(step, migrations.Query):
                        answer = connector.execute_query_all(_escaped(step.text))
                    else:
                        connector.execute_query(_escaped(step.text))
                except exceptions.ConnectorException as exc:
                    answer = exc
                step = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)

    async def _drive_async(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                answer: migrations.Answer = []
                try:
                    if isinstance(step, migrations.Query):
                        answer = await self.connector.execute_query_all_async(
                            _escaped(step.text)
                        )
                    else:
                        await self.connector.execute_query_async(_escaped(step.text))
                except exceptions.ConnectorException as exc:
                    answer = exc
                step = steps.send(answer)
        except StopIteration as stop:
            return cast("T", stop.value)


def _escaped(text: str) -> LiteralString:
    # Connectors look for %(name)s in what they are given, even when there are no arguments.
    return sql.literal(text.replace("%", "%%"))
