"""
The tree, its migrations and schema.lock say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from procrastinate import migrations, sql
from tools import lock

if TYPE_CHECKING:
    import pathlib

    from tests.conftest import Server

A_FUNCTION = "functions/old_wire/update_heartbeat_v1.sql"


def edit(path: pathlib.Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path: pathlib.Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_the_tree_agrees_with_its_lock() -> None:
    assert lock.problems() == []


def test_the_lock_holds_the_definitions_of_a_fresh_install(server: Server) -> None:
    found = lock.read_catalogue(server.dsn)
    assert migrations.compare(migrations.locked_objects(), found) == []


def test_reading_the_catalogue_leaves_nothing_on_the_server(server: Server) -> None:
    dsn: str = server.dsn
    lock.read_catalogue(dsn)
    with psycopg.connect(dsn) as conn:
        left = conn.execute("select 1 from pg_namespace where nspname ^@ 'procrastinate_lock'")
        assert left.fetchall() == []


def test_an_edited_definition_is_named(tree: pathlib.Path) -> None:
    append(tree / "sql" / A_FUNCTION, "-- more\n")
    assert f"sql/{A_FUNCTION}: differs from the lock" in lock.problems()
    assert f"{lock.BASELINE}: differs from the definitions" in lock.problems()


def test_an_edited_migration_is_named(tree: pathlib.Path) -> None:
    append(lock.path_of(lock.BASELINE), "-- more\n")
    assert f"{lock.BASELINE}: was edited and says another digest" in lock.problems()


def test_a_released_migration_that_changed_is_named(tree: pathlib.Path) -> None:
    lock.release()
    path = lock.path_of(lock.BASELINE)
    path.write_text(
        migrations.Migration(name=lock.BASELINE, text=path.read_text() + "-- more\n")
        .stamped()
        .text
    )
    assert lock.problems() == [f"{lock.BASELINE}: was released, and has changed"]


def test_a_released_migration_that_is_gone_is_named(tree: pathlib.Path) -> None:
    lock.release()
    lock.path_of(lock.BASELINE).unlink()
    assert lock.problems() == [f"{lock.BASELINE}: in the lock, and its file is missing"]


def test_a_definition_that_no_install_would_run_is_named(tree: pathlib.Path) -> None:
    (tree / "sql" / "stray.sql").write_text("create table procrastinate_stray ();\n")
    assert "sql/stray.sql: not in sql/install_order.txt" in lock.problems()


def test_a_name_out_of_order_is_named(tree: pathlib.Path) -> None:
    name = "04.01.00_51_pre_add"
    text = migrations.compose(name, "select 1;", after=lock.BASELINE).text
    lock.path_of(name).write_text(text)
    assert f"{name}: pre has numbers from 01 to 49, post from 50" in lock.problems()


def test_before_the_first_release_a_draft_renews_the_baseline(tree: pathlib.Path) -> None:
    append(tree / "sql" / A_FUNCTION, "-- more\n")
    lock.main(["draft"])
    assert [each.name for each in migrations.known()] == [lock.BASELINE]
    assert f"{lock.BASELINE}: differs from the definitions" not in lock.problems()


def test_a_draft_copies_bodies_and_leaves_tables_to_a_person(tree: pathlib.Path) -> None:
    lock.release()
    append(tree / "sql" / A_FUNCTION, "-- more\n")
    append(tree / "sql" / "tables" / "2_jobs.sql", "-- more\n")
    (tree / "sql" / "views" / "new.sql").write_text(
        "create view procrastinate_new as\nselect 1 as one;\n"
    )
    lock.main(["draft", "change_things", "--version", "04.01.00"])
    name = "04.01.00_01_pre_change_things"
    text = lock.path_of(name).read_text()
    assert "set local lock_timeout" in text
    assert "create or replace function procrastinate_update_heartbeat_v1(" in text
    assert "\ncreate view procrastinate_new as" in text
    assert "-- by hand: bring a database to what sql/tables/2_jobs.sql says now" in text
    assert f"{name}: a part is still to be written by hand" in lock.problems()


def test_a_draft_drops_in_a_migration_of_its_own_what_a_later_release_removes(
    tree: pathlib.Path,
) -> None:
    lock.release()
    (tree / "sql" / A_FUNCTION).unlink()
    lock.main(["draft", "drop_it", "--version", "04.02.00"])
    assert f"by hand: drop what sql/{A_FUNCTION} defined" in (
        lock.path_of("04.02.00_50_post_drop_it").read_text()
    )


def test_what_a_draft_brings_is_what_a_fresh_install_has(
    tree: pathlib.Path, server: Server, empty_dsn: str
) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(migrations.one_file_schema().encode())
        lock.release()
        edit(tree / "sql" / A_FUNCTION, "as $$\nbegin\n", "as $$\nbegin\n    perform 1;\n")
        (tree / "sql" / "views" / "new.sql").write_text(
            "create view procrastinate_new as\nselect 1 as one;\n"
        )
        (drafted,) = lock.draft("add_a_view", "04.01.00")
        conn.execute(drafted.text.encode())
        updated = lock.update(server.dsn)
        migrated: dict[str, str] = dict(conn.execute(sql.catalogue_query().encode()).fetchall())
    assert migrations.compare(migrations.locked_objects(), migrated) == []
    assert lock.problems() == []
    newer = [
        name for name, (_, migration) in updated.objects.items() if migration == drafted.name
    ]
    assert newer == [
        "column procrastinate_new.one",
        "function procrastinate_update_heartbeat_v1(bigint)",
        "view procrastinate_new",
    ]


def test_the_command_prints_what_is_wrong_and_fails(
    tree: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lock.main(["check"]) == 0
    append(tree / "sql" / A_FUNCTION, "-- more\n")
    assert lock.main(["check"]) == 1
    assert f"sql/{A_FUNCTION}: differs from the lock" in capsys.readouterr().err


def test_a_head_without_the_place_of_the_guard_makes_no_migration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(name: str) -> str:
        return "-- Procrastinate Schema\n\nset search_path = x;"

    monkeypatch.setattr(sql, "read", read)

    with pytest.raises(
        ValueError, match=r"head\.sql lacks its title or the place of the guard"
    ):
        migrations.compose("name", "select 1;", after=lock.BASELINE)
