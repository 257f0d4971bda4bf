"""What importing the package imports, and what it leaves until somebody asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

import procrastinate
from procrastinate import psycopg_connector, sync_psycopg_connector

LATER = {
    "argparse",
    "croniter",
    "dateutil",
    "importlib.metadata",
    "procrastinate.migrations",
    "procrastinate.worker",
    "psycopg",
    "psycopg_pool",
}


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_leaves_the_slow_modules_until_they_are_used() -> None:
    printed = python("import sys, procrastinate; print(*sys.modules)")

    assert "procrastinate.app" in printed.split()
    assert LATER & set(printed.split()) == set()


@pytest.mark.parametrize(
    "expression",
    [
        "procrastinate.PsycopgConnector",
        "procrastinate.SyncPsycopgConnector",
        "procrastinate.schema.SchemaManager",
        "procrastinate.sql.queries",
        "procrastinate.worker.Worker",
        "procrastinate.psycopg_connector.PsycopgConnector",
        "procrastinate.metadata.extract_metadata",
        "procrastinate.manager.JobManager",
        "procrastinate.__version__",
    ],
)
def test_what_is_left_is_there_when_it_is_named(expression: str) -> None:
    assert python(f"import procrastinate; print(bool({expression}))") == "True\n"


def test_a_star_import_and_dir_know_all_that_is_published() -> None:
    printed = python(
        "import procrastinate; names = dir(procrastinate); from procrastinate import *; "
        "print(PsycopgConnector.__name__, set(procrastinate.__all__) <= set(names), "
        "'__version__' in names, 'schema' in names)"
    )

    assert printed == "PsycopgConnector True True True\n"


def test_the_connectors_are_those_of_their_modules() -> None:
    assert procrastinate.PsycopgConnector is psycopg_connector.PsycopgConnector
    assert procrastinate.SyncPsycopgConnector is sync_psycopg_connector.SyncPsycopgConnector
