"""What is built can be installed and used where there is no checkout, and no network."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import attrs
import pytest

ROOT = pathlib.Path(__file__).parents[3]
WHEELS = pathlib.Path(sys.prefix) / "wheels"  # filled by `make venv`


def run(*command: str | pathlib.Path, cwd: pathlib.Path, **variables: str) -> str:
    """Run a command that must succeed, away from the checkout and its environment."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PG", "PIP_", "PROCRASTINATE_", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**inherited, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


@attrs.frozen
class Built:
    """A wheel, and the sdist it was built from."""

    sdist: pathlib.Path
    wheel: pathlib.Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The programs of an environment that holds the wheel and what it needs."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", home / "env", cwd=home)
    programs = home / "env" / "bin"
    run(
        *(programs / "python", "-m", "pip", "--isolated", "install", "--quiet"),
        *("--no-index", "--find-links", WHEELS),
        *(built.wheel, "psycopg[binary]"),
        cwd=home,
    )
    return programs


def definitions() -> set[str]:
    return {path.relative_to(ROOT / "sql").as_posix() for path in (ROOT / "sql").rglob("*.sql")}


def test_the_wheel_carries_every_definition_and_the_lock(built: Built) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    wanted = {f"procrastinate/sql/{name}" for name in (*definitions(), "schema.lock")}
    assert definitions()
    assert not wanted - names
    assert not [name for name in names if name.startswith(("sql/", "tests/", "tools/"))]


def test_the_sdist_carries_every_definition_and_the_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not {f"sql/{name}" for name in definitions()} - names
    assert {"Makefile", "schema.lock", "tests/conftest.py"} <= names


def test_the_quickstart_runs_from_the_installed_wheel(
    installed: pathlib.Path, tmp_path: pathlib.Path, empty_dsn: str
) -> None:
    shutil.copy(pathlib.Path(__file__).with_name("quickstart.py"), tmp_path)
    variables = {"PROCRASTINATE_DSN": empty_dsn, "PYTHONPATH": str(tmp_path)}
    program = installed / "procrastinate"

    def procrastinate(*arguments: str) -> str:
        return run(program, "--app=quickstart.app", *arguments, cwd=tmp_path, **variables)

    procrastinate("schema", "--apply")
    procrastinate("healthchecks")
    procrastinate("defer", "quickstart.add", '{"a": 2, "b": 3}')
    assert "2 + 3 = 5" in procrastinate("worker", "--one-shot")


def test_the_module_runs_like_the_script(
    installed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    script = run(installed / "procrastinate", "--version", cwd=tmp_path)
    module = run(installed / "python", "-m", "procrastinate", "--version", cwd=tmp_path)
    assert script == module == "procrastinate, version 4.0.0.dev1\n"


def test_the_embedded_server_names_its_extra_where_it_is_missing(
    installed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    program = """
from procrastinate.contrib import embedded
try:
    embedded.EmbeddedServer().start()
except embedded.EmbeddedServerError as exc:
    print(exc)
"""
    said = run(installed / "python", "-c", program, cwd=tmp_path)
    assert "pip install 'procrastinate[embedded]'" in said
