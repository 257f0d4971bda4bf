"""Django's migrations bring the schema about, and take over where 3.x has been."""

from __future__ import annotations

import os
import pathlib
import subprocess
from typing import Any

import psycopg
import pytest
from django import db
from django.core import management
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.loader import MigrationLoader

from procrastinate import exceptions, migrations
from procrastinate.contrib.django import migrations_utils
from tests.python.django import conftest
from tests.python.django.project import settings as project_settings
from tools import upstream

UPSTREAM = [
    "0001_initial",
    "0002_drop_started_at_column",
    "0003_drop_started_at_column",
    "0004_drop_procrastinate_version_table",
    "0005_fix_procrastinate_fetch_job",
    "0006_fix_trigger_status_events_insert",
    "0007_add_queueing_lock_column",
    "0008_close_fetch_job_race_condition",
    "0009_add_defer_job_function",
    "0010_add_procrastinate_periodic_defers",
    "0011_add_foreign_key_index",
    "0012_add_locks_to_periodic_defer",
    "0013_fix_procrastinate_defer_periodic_job",
    "0014_add_finish_job_and_retry_job_functions",
    "0015_add_trigger_on_job_deletion",
    "0016_delete_finished_jobs",
    "0017_add_checks_to_finish_job",
    "0018_add_checks_to_retry_job",
    "0019_fix_finish_job_compat_issue",
    "0020_add_index_on_procrastinate_jobs",
    "0021_add_kwargs_to_defer_periodic_job",
    "0022_null_locks_excluded",
    "0023_remove_old_finish_job_function",
    "0024_job_id_bigint",
    "0025_add_models",
    "0026_add_job_priority",
    "0027_add_periodic_job_priority",
    "0028_add_cancel_states",
    "0029_add_additional_params_to_retry_job",
    "0030_alter_procrastinateevent_options",
    "0031_add_indexes_for_fetch_job",
    "0032_pre_cancel_notification",
    "0033_post_cancel_notification",
    "0034_pre_add_heartbeat",
    "0035_post_add_heartbeat",
    "0036_add_worker_model",
    "0037_pre_batch_defer_jobs",
    "0038_post_batch_defer_jobs",
    "0039_pre_priority_lock_fetch_job",
    "0040_pre_retry_failed_job",
    "0041_post_retry_failed_job",
]

OLD_TABLES = "create table procrastinate_jobs (id bigserial primary key)"
CARRIED_OVER = """\
create table django_migrations (
    id bigserial primary key, app varchar(255), name varchar(255), applied timestamptz
)"""


def carry_over(dsn: str) -> None:
    """Leave what 3.10 records in a project's database."""
    with psycopg.connect(dsn) as connection:
        connection.execute(CARRIED_OVER)
        for name in UPSTREAM:
            connection.execute(
                "insert into django_migrations (app, name, applied) "
                "values ('procrastinate', %s, now())",
                [name],
            )


def applied(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select name from django_migrations where app = 'procrastinate' order by name"
        )
        return [row[0] for row in rows]


def schema_is_ours(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select to_regproc('procrastinate_finish_and_fetch_v1') is not null"
        ).fetchone()
    return row == (True,)


def migrate(dsn: str, *arguments: str) -> None:
    """Migrate a database of this test's own, in this process."""
    databases = db.connections.settings
    databases["own"] = {**databases["default"], **project_settings.database(dsn)}
    try:
        management.call_command("migrate", *arguments, database="own", verbosity=0)
    finally:
        db.connections["own"].close()
        del db.connections["own"], databases["own"]


def test_every_name_of_3_10_is_there_in_its_order() -> None:
    loader = MigrationLoader(None)
    own = sorted(name for app, name in loader.graph.nodes if app == "procrastinate")

    assert own[: len(UPSTREAM)] == UPSTREAM
    (leaf,) = loader.graph.leaf_nodes("procrastinate")
    assert loader.graph.forwards_plan(leaf) == [("procrastinate", name) for name in own]


def test_each_migration_of_the_schema_is_one_of_djangos() -> None:
    loader = MigrationLoader(None)
    named = [
        operation.name
        for migration in loader.disk_migrations.values()
        for operation in migration.operations
        if isinstance(operation, migrations_utils.RunProcrastinateSQL)
    ]
    assert set(named) == set(migrations_utils.list_migration_files())
    assert set(named) == {f"{each.name}.sql" for each in migrations.known()}


def test_no_change_of_the_models_is_without_a_migration(shop: str) -> None:
    management.call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_a_fresh_project_gets_the_schema(shop: str) -> None:
    with db.connection.cursor() as cursor:
        cursor.execute("select name from procrastinate_migrations order by name")
        assert [row[0] for row in cursor.fetchall()] == [
            each.name for each in migrations.known()
        ]
    assert schema_is_ours(shop)


def test_a_schema_that_was_there_already_stays(dsn: str) -> None:
    migrate(dsn, "procrastinate")
    assert applied(dsn)[-1] == "0042_carry_over_from_3_x"


def test_a_carried_over_project_whose_schema_is_ours_goes_on(dsn: str) -> None:
    carry_over(dsn)
    migrate(dsn, "procrastinate")
    assert applied(dsn)[len(UPSTREAM) :] == ["0042_carry_over_from_3_x"]


def test_a_carried_over_project_whose_old_tables_are_gone_gets_the_schema(
    empty_dsn: str,
) -> None:
    carry_over(empty_dsn)
    migrate(empty_dsn, "procrastinate")
    assert schema_is_ours(empty_dsn)


def test_tables_of_3_x_that_django_knows_nothing_of_are_left_alone(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(OLD_TABLES)

    with pytest.raises(exceptions.SchemaMismatch) as raised:
        migrate(empty_dsn, "procrastinate")

    message = str(raised.value)
    assert "'own' holds the tables of procrastinate 3.x" in message
    assert "migrate --fake procrastinate 0041" in message
    assert "PROCRASTINATE_DATABASE_ALIAS" in message
    assert applied(empty_dsn) == []


def test_a_project_of_3_10_is_carried_over_with_its_jobs(empty_dsn: str) -> None:
    try:
        upstream.python()
    except (upstream.UpstreamError, subprocess.CalledProcessError):
        if os.environ.get(upstream.REQUIRED):
            pytest.fail(f"{upstream.MISSING}, and {upstream.REQUIRED} is set", pytrace=False)
        pytest.skip(upstream.MISSING)
    upstream.apply_schema(empty_dsn)
    carry_over(empty_dsn)
    with psycopg.connect(empty_dsn) as connection:
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name) values ('q', 't')"
        )

    migrate(empty_dsn, "procrastinate")

    assert applied(empty_dsn) == [*UPSTREAM, "0042_carry_over_from_3_x"]
    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute("select job_id from procrastinate_todo").fetchall()
        assert rows == [(1,)]
        assert connection.execute("select * from procrastinate_check()").fetchall() == []


def test_going_back_before_the_schema_is_refused_before_anything_changed(dsn: str) -> None:
    migrate(dsn, "procrastinate")
    before = applied(dsn)

    with pytest.raises(IrreversibleError):
        migrate(dsn, "procrastinate", "zero")

    assert applied(dsn) == before
    assert schema_is_ours(dsn)


def test_sqlmigrate_shows_the_schema(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    management.call_command("sqlmigrate", "procrastinate", "0001")
    assert "create table procrastinate_jobs" in capsys.readouterr().out

    management.call_command("sqlmigrate", "procrastinate", "0042")
    shown = capsys.readouterr().out
    assert "if 3.x was there before" in shown
    assert "create table" not in shown


def test_what_is_written_down_makes_the_same_operation() -> None:
    (name,) = migrations_utils.list_migration_files()
    operation = migrations_utils.RunProcrastinateSQL(name=name)
    kind, arguments, keywords = operation.deconstruct()
    assert (kind, arguments, keywords) == ("RunProcrastinateSQL", [], {"name": name})


def test_another_database_than_postgresql_passes_the_checks_and_is_not_migrated(
    tmp_path: pathlib.Path, shop_dsn: str
) -> None:
    databases = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.db")}
    }
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('check')\n"
        "from django.db.utils import NotSupportedError\n"
        "try:\n    call_command('migrate', 'procrastinate', verbosity=0)\n"
        "except NotSupportedError as exc:\n    print(exc)\n"
    )
    done = conftest.run_python(shop_dsn, "-c", script, settings={"DATABASES": databases})
    assert "'default' is SQLite, and procrastinate needs PostgreSQL" in done.stdout


class Nowhere:
    """A router that keeps the queue out of every database."""

    def allow_migrate(self, alias: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "procrastinate" else None


def test_a_router_says_which_database_gets_the_schema(empty_dsn: str) -> None:
    router = Nowhere()
    db.router.routers.append(router)
    try:
        migrate(empty_dsn, "procrastinate")
    finally:
        db.router.routers.remove(router)
    assert not schema_is_ours(empty_dsn)
