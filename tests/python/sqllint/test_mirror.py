"""Each SQL file has its file of pgTAP tests, at the same path."""

from __future__ import annotations

import pathlib

import pytest

import procrastinate.sql

ROOT = pathlib.Path(__file__).parents[3]
# What types promise is read from the catalogue: test_catalogue.
MIRRORED = ("tables/*.sql", "functions/*/*.sql", "triggers/*.sql", "views/*.sql", "rights.sql")


def test_every_definition_has_its_tests() -> None:
    definitions = {
        path.relative_to(procrastinate.sql.root)
        for pattern in MIRRORED
        for path in procrastinate.sql.root.glob(pattern)
    }
    tests = {
        path.relative_to(ROOT / "tests" / "sql")
        for path in (ROOT / "tests" / "sql").rglob("*.sql")
    }

    assert not sorted(definitions - tests), "without tests"
    assert not sorted(path for path in tests - definitions if len(path.parts) > 1), (
        "tests of nothing"
    )


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "tests" / "sql").rglob("*.sql")),
    ids=lambda path: path.relative_to(ROOT / "tests" / "sql").as_posix(),
)
def test_a_file_of_tests_begins_and_ends_as_all_do(path: pathlib.Path) -> None:
    lines = path.read_text().splitlines()

    assert lines[0].endswith("setup.psql")
    assert lines[-2:] == ["select * from finish();", "rollback;"]
