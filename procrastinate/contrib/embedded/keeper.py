"""
Keeps one PostgreSQL server alive for as long as somebody uses it.

Run as a script, with a :class:`Plan` as JSON in its only argument: starts the server of a
directory, says so by returning, and stays behind in the background until nobody holds the
directory's ``users`` lock any more; then it stops the server. The kernel gives up the locks
of a process however it ends, so a killed test run leaves nothing behind.

Imports the standard library only, and nothing of this package: it must start quickly, and
run where the caller's ``sys.path`` is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_SOCKET = 100  # bytes; the kernels' limits for a socket's path are 104 and 108
PORT = 5432  # only names the socket: the server does not listen on TCP
SOCKET = f".s.PGSQL.{PORT}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Account:
    """Who runs the server when the caller is root, whom PostgreSQL refuses."""

    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What server to run, and where."""

    directory: str
    programs: str  # the directory of postgres, initdb and pg_ctl
    account: Account | None
    settings: dict[str, str]
    throwaway: bool  # remove the directory at the end

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        fields = json.loads(text)
        account = fields.pop("account")
        return cls(account=Account(**account) if account else None, **fields)

    @property
    def home(self) -> pathlib.Path:
        return pathlib.Path(self.directory)

    @property
    def data(self) -> pathlib.Path:
        """PostgreSQL insists on a directory of its own with mode 700: never the given one."""
        return self.home / "data"

    @property
    def log(self) -> pathlib.Path:
        return self.data / "server.log"


def lock(path: pathlib.Path, operation: int, *, create: bool = True) -> int | None:
    """Take a lock of a directory: the descriptor that holds it, or None if it is taken."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def users_lock(home: pathlib.Path) -> pathlib.Path:
    """Held shared by each user of the server; exclusively by a keeper that stops it."""
    return home / "users.lock"


def keeper_lock(home: pathlib.Path) -> pathlib.Path:
    """Held by the keeper for as long as it lives."""
    return home / "keeper.lock"


def start_lock(home: pathlib.Path) -> pathlib.Path:
    """Held by who starts a keeper."""
    return home / "start.lock"


def socket_note(home: pathlib.Path) -> pathlib.Path:
    """Where the server's socket is."""
    return home / "socket-directory"


def run(plan: Plan, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the account that owns the data."""
    # Temporary files, not pipes: the server would inherit a pipe, and a reader wait for ever.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [str(pathlib.Path(plan.programs) / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=plan.account.uid if plan.account else None,
            group=plan.account.gid if plan.account else None,
            extra_groups=[] if plan.account else None,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read(), "")


def must(done: subprocess.CompletedProcess[str], log: pathlib.Path | None = None) -> None:
    if done.returncode:
        said = done.stdout.strip()
        if log and log.exists():
            said += "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"{shlex.join(done.args)} failed:\n{said}")


def create(plan: Plan) -> None:
    """Make the data directory, if this is its first start."""
    if (plan.data / "PG_VERSION").exists():
        return
    shutil.rmtree(plan.data, ignore_errors=True)  # what an interrupted first start left
    plan.data.mkdir(mode=0o700)
    if plan.account:
        os.chown(plan.data, plan.account.uid, plan.account.gid)
    must(
        run(
            plan,
            "initdb",
            f"--pgdata={plan.data}",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            # Only whoever may enter the socket's directory, mode 700, can connect at all.
            "--auth=trust",
            *(["--no-sync"] if plan.settings.get("fsync") == "off" else []),
        )
    )


def choose_socket_directory(plan: Plan) -> pathlib.Path:
    """The data directory, or a fresh private one where that path is too long for a socket."""
    if len(os.fsencode(plan.data / SOCKET)) <= LONGEST_SOCKET:
        return plan.data
    directory = pathlib.Path(tempfile.mkdtemp(prefix="procrastinate-", dir="/tmp"))
    if plan.account:
        os.chown(directory, plan.account.uid, plan.account.gid)
    return directory


def start(plan: Plan) -> None:
    create(plan)
    if not run(plan, "pg_ctl", "status", f"--pgdata={plan.data}").returncode:
        return  # its keeper was killed, it was not: carry on
    remove_socket_directory(plan)  # of a server that was killed
    sockets = choose_socket_directory(plan)
    socket_note(plan.home).write_text(str(sockets))
    settings = {
        **plan.settings,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
    }
    options = [f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items()]
    must(
        run(
            plan,
            "pg_ctl",
            "start",
            "--wait",
            "--timeout=60",
            f"--pgdata={plan.data}",
            f"--log={plan.log}",
            f"--options={' '.join(options)}",
        ),
        plan.log,
    )


def stop(plan: Plan) -> None:
    postmaster = process_of(plan)
    run(plan, "pg_ctl", "stop", "--wait", "--mode=fast", f"--pgdata={plan.data}")
    if postmaster:
        wait_for_end(postmaster)  # pg_ctl only waits for its file to go, which is a bit earlier
    remove_socket_directory(plan)
    if plan.throwaway:
        shutil.rmtree(plan.home, ignore_errors=True)


def process_of(plan: Plan) -> int | None:
    try:
        return int((plan.data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 10.0  # seconds; it is on its last instructions
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.002)


def remove_socket_directory(plan: Plan) -> None:
    note = socket_note(plan.home)
    with contextlib.suppress(FileNotFoundError):
        directory = pathlib.Path(note.read_text())
        if directory != plan.data:
            shutil.rmtree(directory, ignore_errors=True)
        note.unlink()


def go_to_background(plan: Plan) -> None:
    """Return in a child that no terminal's signals reach; the parent ends with success."""
    if child := os.fork():
        keeper_lock(plan.home).write_text(str(child))  # for people, and for tests
        os._exit(0)
    os.setsid()
    os.chdir("/")
    with pathlib.Path(os.devnull).open() as nothing, plan.log.open("a") as output:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())


def leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def main(arguments: Sequence[str]) -> None:
    (text,) = arguments
    plan = Plan.from_json(text)
    signal.signal(signal.SIGTERM, leave)
    lock(keeper_lock(plan.home), fcntl.LOCK_EX)  # free, but for those who just look at it
    try:
        start(plan)
    except BaseException:
        if plan.throwaway:
            stop(plan)
        raise
    go_to_background(plan)
    try:
        lock(users_lock(plan.home), fcntl.LOCK_EX)  # returns when the last user has gone
    finally:
        stop(plan)


if __name__ == "__main__":
    main(sys.argv[1:])
