"""A PostgreSQL that is there to be broken: it syncs its commits, and its WAL has little room."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any

import psycopg

from procrastinate import migrations
from procrastinate.contrib.embedded import programs
from tools.chaos import ledger

PORT = 5432
ROLE = "app"
DATABASE = "chaos"
PATIENCE = 120.0  # seconds that the server has to come back: the machine may be busy
#: Room for the WAL, in MB: little, so that a disk is soon full; and what is written at full speed.
DISK, LARGE_DISK = 64, 2048
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "min_wal_size": "4MB",
    "wal_recycle": "off",  # so that a disk without room for another file is noticed soon
    "checkpoint_timeout": "30s",
    "max_connections": "100",
    "log_min_messages": "warning",
    "restart_after_crash": "on",
    "listen_addresses": "",
    "logging_collector": "off",
}


class Disk:
    """A small file system for the WAL, if this account may make one."""

    def __init__(self, path: pathlib.Path, size: int = DISK) -> None:
        self.path = path
        self.missing: str | None = None
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self.missing = done.stderr.strip()

    @property
    def _ballast(self) -> pathlib.Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.missing is None:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


class Server:
    """A server in a temporary directory, started and killed as one likes."""

    def __init__(self, disk: int = DISK) -> None:
        self._settings = {**SETTINGS, "max_wal_size": f"{disk * 3 // 8}MB"}
        self._account = programs.find_account()
        where = programs.temporary_directory(self._account, in_memory=False)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="procrastinate-chaos-", dir=where))
        self._process: subprocess.Popen[bytes] | None = None
        self.home.chmod(0o755)
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.disk = Disk(self.home / "disk", disk)

    @property
    def socket(self) -> str:
        return str(self.data / f".s.PGSQL.{PORT}")

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}

    def create(self) -> None:
        """Make the server, its database and the schema, all owned by a role without rights."""
        found = programs.open_programs(programs.find_programs(), self._account, self.home)
        self._programs = found
        for path in (self.data, self.disk.path):
            path.mkdir(exist_ok=True)
            if self._account is not None:
                os.chown(path, self._account.uid, self._account.gid)
        command = [
            str(found / "initdb"),
            f"--pgdata={self.data}",
            f"--waldir={self.disk.path / 'wal'}",
            "--wal-segsize=1",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--auth=trust",
        ]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as_account()
        )
        self.start()
        with self.connect("postgres") as conn:
            conn.execute(f"create role {ROLE} login".encode())
            conn.execute(f"create database {DATABASE} owner {ROLE}".encode())
        with self.connect(role=ROLE) as conn:
            conn.execute(migrations.one_file_schema().encode())
        with self.connect() as conn:
            conn.execute(ledger.SCHEMA.encode())

    def connect(
        self, database: str = DATABASE, role: str = "postgres"
    ) -> psycopg.Connection[Any]:
        """Connect past the proxy."""
        return psycopg.connect(
            host=str(self.data), port=PORT, dbname=database, user=role, autocommit=True
        )

    def start(self) -> None:
        """Start it, as often as it takes, and return when it answers."""
        deadline = time.monotonic() + PATIENCE
        settings = {**self._settings, "unix_socket_directories": str(self.data)}
        options = [
            part for name, value in settings.items() for part in ("-c", f"{name}={value}")
        ]
        while True:
            with self.log.open("ab") as log:
                self._process = process = subprocess.Popen[bytes](
                    [str(self._programs / "postgres"), "-D", str(self.data), *options],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                    **self._as_account(),
                )
            # It may leave at once: processes of the one before have its memory for a moment.
            while process.poll() is None:
                if self.answers():
                    return
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the server did not start: see {self.log}")
                time.sleep(0.05)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server did not start: see {self.log}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it takes a connection and a question."""
        try:
            with self.connect("postgres") as conn:
                conn.execute("select 1")
        except psycopg.Error:
            return False
        return True

    def ensure(self) -> None:
        """Return when it answers; start it if it has ended."""
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self._process is None or self._process.poll() is not None:
                self.start()
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server did not come back: see {self.log}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster, and wait until it has ended."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(PATIENCE)

    def close(self) -> None:
        """Stop it, and remove all that it had."""
        if self._process is not None and self._process.poll() is None:
            self.disk.free()
            self.signal(signal.SIGQUIT)
        self.disk.close()
        shutil.rmtree(self.home, ignore_errors=True)
