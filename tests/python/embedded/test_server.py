"""A server in a directory: alive while it is used, found again, gone without a trace."""

from __future__ import annotations

import fcntl
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import psycopg
import pytest

from procrastinate.contrib.embedded import (
    EmbeddedServer,
    EmbeddedServerError,
    find_programs,
    keeper,
    programs,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account run it")

# Starts a server, says where, and uses it until its standard input ends.
USER = """
import sys
from procrastinate.contrib.embedded import EmbeddedServer
server = EmbeddedServer(sys.argv[1] if len(sys.argv) > 1 else None, durable=False).start()
print(server.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def open_directory() -> Iterator[pathlib.Path]:
    """A fresh directory that another account may enter (pytest's own is private)."""
    account = programs.find_account()
    where = programs.temporary_directory(
        account, in_memory=programs.may_live_in_memory(find_programs(), account)
    )
    with tempfile.TemporaryDirectory(prefix="procrastinate-test-", dir=where) as name:
        path = pathlib.Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def start_user() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that uses a server."""
    users: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        user = subprocess.Popen(
            [sys.executable, "-c", USER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        users.append(user)
        return user

    yield start
    for user in users:
        user.communicate()


def directory_of(user: subprocess.Popen[str]) -> pathlib.Path:
    assert user.stdout is not None
    return pathlib.Path(user.stdout.readline().strip())


def postmaster(server: EmbeddedServer | pathlib.Path) -> int:
    directory = server if isinstance(server, pathlib.Path) else server.directory
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ask(server: EmbeddedServer, question: str) -> object:
    with psycopg.connect(server.dsn()) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_throwaway_server_leaves_nothing_behind() -> None:
    with EmbeddedServer(durable=False) as server:
        directory, pid = server.directory, postmaster(server)
        assert ask(server, "select 1") == 1
        mapped = pathlib.Path(f"/proc/{pid}/maps").read_text()
        shared = {pathlib.Path(name) for name in re.findall(r"/dev/shm/PostgreSQL\S+", mapped)}
        assert shared

    assert not runs(pid)
    assert not directory.exists()
    assert not [path for path in shared if path.exists()]


def test_a_server_may_be_started_and_closed_twice() -> None:
    server = EmbeddedServer(durable=False)

    assert server.start() is server.start()
    server.close()
    server.close()

    with pytest.raises(EmbeddedServerError):
        server.dsn()


def test_a_directory_keeps_its_data_when_the_server_stops(open_directory: pathlib.Path) -> None:
    with EmbeddedServer(open_directory, durable=False) as server:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("create table kept as select 42 as answer")
        pid = postmaster(server)
    assert not runs(pid)

    with EmbeddedServer(open_directory, durable=False) as server:
        assert ask(server, "select answer from kept") == 42


def test_a_running_server_is_found_again_and_stops_with_its_last_user(
    open_directory: pathlib.Path,
) -> None:
    first = EmbeddedServer(open_directory, durable=False).start()
    second = EmbeddedServer(open_directory, durable=False).start()
    pid = postmaster(first)
    assert ask(first, "select pg_postmaster_start_time()") == ask(
        second, "select pg_postmaster_start_time()"
    )

    first.close()
    assert ask(second, "select 1") == 1

    second.close()
    assert not runs(pid)


def test_two_processes_share_a_server(
    open_directory: pathlib.Path, start_user: Callable[..., subprocess.Popen[str]]
) -> None:
    users = [start_user(str(open_directory)), start_user(str(open_directory))]
    assert {directory_of(user) for user in users} == {open_directory}
    pid = postmaster(open_directory)

    users[0].communicate()
    assert runs(pid)

    users[1].communicate()
    assert not runs(pid)


def test_a_killed_user_leaves_nothing_behind(
    start_user: Callable[..., subprocess.Popen[str]],
) -> None:
    user = start_user()
    directory = directory_of(user)
    pid = postmaster(directory)
    gone = os.open(keeper.keeper_lock(directory), os.O_RDWR)

    user.kill()

    fcntl.flock(gone, fcntl.LOCK_SH)  # the keeper has ended
    os.close(gone)
    assert not runs(pid)
    assert not directory.exists()


def test_a_server_whose_keeper_was_killed_is_found_and_stopped(
    open_directory: pathlib.Path,
) -> None:
    first = EmbeddedServer(open_directory, durable=False).start()
    pid = postmaster(first)
    lock = keeper.keeper_lock(open_directory)
    os.kill(int(lock.read_text()), signal.SIGKILL)
    gone = os.open(lock, os.O_RDWR)
    fcntl.flock(gone, fcntl.LOCK_SH)
    os.close(gone)
    assert runs(pid)

    with EmbeddedServer(open_directory, durable=False) as second:
        assert postmaster(second) == pid
        first.close()
        assert ask(second, "select 1") == 1

    assert not runs(pid)


def test_a_path_too_long_for_a_socket_is_no_obstacle(open_directory: pathlib.Path) -> None:
    long = open_directory / ("x" * keeper.LONGEST_SOCKET)
    with EmbeddedServer(long, durable=False) as server:
        sockets = pathlib.Path(keeper.socket_note(long).read_text())
        assert ask(server, "select 1") == 1
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


def test_no_existing_directory_changes_its_mode(open_directory: pathlib.Path) -> None:
    concerned = {open_directory, *open_directory.parents, *find_programs().parents}
    before = {path: path.stat().st_mode for path in concerned}

    with EmbeddedServer(open_directory, durable=False):
        pass

    assert {path: path.stat().st_mode for path in concerned} == before


def test_nobody_else_can_enter_the_data_or_reach_the_server(
    open_directory: pathlib.Path,
) -> None:
    with EmbeddedServer(open_directory, durable=False) as server:
        assert stat.S_IMODE((open_directory / "data").stat().st_mode) == 0o700
        assert ask(server, "show listen_addresses") == ""


@as_root
def test_root_has_an_account_without_privileges_run_the_server(
    open_directory: pathlib.Path,
) -> None:
    with EmbeddedServer(open_directory, durable=False) as server:
        pid = postmaster(server)
        assert pathlib.Path(f"/proc/{pid}").stat().st_uid != 0


@as_root
def test_root_is_told_that_no_account_can_enter_a_private_directory(
    open_directory: pathlib.Path,
) -> None:
    open_directory.chmod(0o700)
    with pytest.raises(EmbeddedServerError, match="no other account may enter"):
        EmbeddedServer(open_directory / "deep").start()
    assert stat.S_IMODE(open_directory.stat().st_mode) == 0o700


@as_root
def test_programs_in_a_private_directory_are_copied_not_opened(
    open_directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    package = tmp_path / "private" / "package"
    for name in ("install/bin/postgres", "install/bin/initdb", "install/share/data"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch(mode=0o700)
    (package / "install/bin/postmaster").symlink_to("postgres")
    (tmp_path / "private" / "package.libs").mkdir()
    package.parent.chmod(0o700)
    private = package / "install" / "bin"

    copy = programs.open_programs(private, programs.find_account(), open_directory)

    assert copy == open_directory / "programs" / "package" / "install" / "bin"
    assert programs.is_open(copy / "postgres")
    assert (open_directory / "programs" / "package.libs").is_dir()
    assert not programs.is_open(private / "postgres")

    (copy / "postgres").write_text("kept")
    assert programs.open_programs(private, programs.find_account(), open_directory) == copy
    assert (copy / "postgres").read_text() == "kept"


@as_root
def test_a_server_runs_from_copied_programs(
    open_directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    package = find_programs().parents[1]
    for each in (package, package.with_name(f"{package.name}.libs")):
        if each.exists():
            shutil.copytree(each, tmp_path / each.name, symlinks=True)
    tmp_path.chmod(0o700)

    home = open_directory / "home"
    server = EmbeddedServer(
        home,
        durable=False,
        bin_directory=tmp_path / find_programs().relative_to(package.parent),
    )
    with server:
        assert ask(server, "select 1") == 1
        assert (home / "programs").is_dir()


def test_tests_may_do_without_fsync_and_nothing_else_does(open_directory: pathlib.Path) -> None:
    with EmbeddedServer(open_directory) as server:
        assert ask(server, "show fsync") == "on"
    with EmbeddedServer(durable=False, settings={"work_mem": "7MB"}) as server:
        assert ask(server, "show fsync") == "off"
        assert ask(server, "show work_mem") == "7MB"


def test_a_failed_start_says_what_postgresql_said_and_leaves_nothing(
    open_directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_directory))
    with pytest.raises(EmbeddedServerError, match="max_connections"):
        EmbeddedServer(settings={"max_connections": "none at all"}).start()
    assert not list(open_directory.iterdir())


def test_a_missing_extra_is_named_and_leaves_nothing(
    open_directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", find_nothing)
    monkeypatch.setattr(tempfile, "tempdir", str(open_directory))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'procrastinate\[embedded\]'"):
        EmbeddedServer().start()
    assert not list(open_directory.iterdir())


def test_a_server_that_was_not_started_has_no_address() -> None:
    with pytest.raises(EmbeddedServerError, match="not been started"):
        EmbeddedServer().dsn()
