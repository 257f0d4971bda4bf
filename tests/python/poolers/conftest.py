"""A real PgBouncer in front of the tests' server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator

import psycopg
import psycopg.conninfo
import pytest

from tests.conftest import Server

REQUIRED = "PROCRASTINATE_REQUIRE_PGBOUNCER"
MISSING = "PgBouncer is not installed (Debian: pgbouncer)"

Bounce = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture
def bounce(server: Server, dsn: str, tmp_path: pathlib.Path) -> Bounce:
    """Start a PgBouncer in front of this test's database: the connection string through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{MISSING}, and {REQUIRED} is set", pytrace=False)
        pytest.skip(MISSING)

    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    numbers = [int(number) for number in re.findall(r"\d+", version.stdout)[:2]]
    knows_statements = numbers >= [1, 21]

    @contextlib.contextmanager
    def start(*, pool_mode: str = "transaction", statements: int = 0) -> Generator[str]:
        if statements and not knows_statements:
            pytest.skip("this PgBouncer keeps no prepared statements: 1.21 does")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        target = {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "dbname": psycopg.conninfo.conninfo_to_dict(dsn)["dbname"],
        }
        words = " ".join(f"{key}='{value}'" for key, value in target.items() if value)
        settings = tmp_path / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\nqueue = {words}\n"
            "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir =\nauth_type = any\n"
            f"listen_port = {port}\npool_mode = {pool_mode}\ndefault_pool_size = 4\n"
            f"server_round_robin = 1\n"
            + (f"max_prepared_statements = {statements}\n" if knows_statements else "")
        )
        log = tmp_path / "pgbouncer.log"
        # It refuses to be root, and must get to the server's socket.
        user: int | str | None = None
        if os.geteuid() == 0:
            is_local = server.host.startswith("/")
            user = pathlib.Path(server.host).stat().st_uid if is_local else "nobody"
        with (
            settings.open() as text,
            log.open("w") as output,
            subprocess.Popen(
                [program, "/dev/stdin"], stdin=text, stdout=output, stderr=output, user=user
            ) as process,
        ):
            try:
                through = f"host=127.0.0.1 port={port} dbname=queue user=somebody"
                _wait(through, process, log)
                yield through
            finally:
                process.kill()

    return start


def _wait(through: str, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(through, connect_timeout=2).close()
        except psycopg.OperationalError as exc:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from exc
            time.sleep(0.02)
        else:
            return
