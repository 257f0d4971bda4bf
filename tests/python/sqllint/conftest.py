"""A server that has the extension plpgsql_check, which the embedded one has not."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from procrastinate.contrib.embedded import EmbeddedServer
from tools import debian

REQUIRED = "PROCRASTINATE_REQUIRE_PLPGSQL_CHECK"
MISSING = "plpgsql_check is neither installed nor to be had as a Debian package"
SKIPPED = pytest.StashKey[int]()

VERSIONS = (18, 17, 16, 15)
PROGRAMS = "usr/lib/postgresql/{version}/bin"
CONTROL = "usr/share/postgresql/{version}/extension/plpgsql_check.control"


def installed(root: pathlib.Path) -> pathlib.Path | None:
    """The programs of a PostgreSQL that has the extension, where Debian puts them."""
    for version in VERSIONS:
        programs = root / PROGRAMS.format(version=version)
        control = root / CONTROL.format(version=version)
        if (programs / "initdb").exists() and control.exists():
            return programs
    return None


def assembled(into: pathlib.Path) -> pathlib.Path | None:
    """
    Put a PostgreSQL and the extension together in a directory, from Debian's packages.

    PostgreSQL finds its files beside its programs, wherever those are.
    """
    extension = debian.unpacked(r"postgresql-(\d+)-plpgsql-check")
    if extension is None:
        return None
    found = re.search(r"\d+", extension.name)
    assert found is not None
    version = found[0]
    system = pathlib.Path("/")
    if not (system / PROGRAMS.format(version=version) / "initdb").exists():
        unpacked = debian.unpacked(rf"postgresql-{version}")
        if unpacked is None:
            return None
        system = unpacked
    for part in ("lib", "share"):
        for root in (system, extension):
            source = root / "usr" / part / "postgresql" / version
            if source.is_dir():
                target = into / "usr" / part / "postgresql" / version
                shutil.copytree(source, target, dirs_exist_ok=True)
    return installed(into)


def runs(programs: pathlib.Path) -> bool:
    """Whether the libraries that it needs are on this machine."""
    done = subprocess.run(
        [str(programs / "postgres"), "--version"], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.fixture(scope="session")
def checking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of its own, only for this."""
    # not below pytest's directory: root's server runs as an account that could not read it
    with tempfile.TemporaryDirectory(prefix="plpgsql_check_") as directory:
        root = pathlib.Path(directory)
        programs = installed(pathlib.Path("/")) or assembled(root)
        if programs is None or not runs(programs):
            if os.environ.get(REQUIRED):
                pytest.fail(f"{MISSING}, and {REQUIRED} is set", pytrace=False)
            pytest.skip(MISSING)
        root.chmod(0o755)
        with EmbeddedServer(durable=False, bin_directory=programs) as server:
            yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, Any, Any]:
    report: Any = yield
    if report.skipped and "checking_server" in getattr(item, "fixturenames", ()):
        item.config.stash[SKIPPED] = item.config.stash.get(SKIPPED, 0) + 1
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = config.stash.get(SKIPPED, 0)
    if skipped:
        terminalreporter.write_sep(
            "!", f"{skipped} tests of every SQL function were SKIPPED: {MISSING}", red=True
        )
