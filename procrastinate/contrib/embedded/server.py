"""A PostgreSQL server in a directory."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from typing import TYPE_CHECKING

from procrastinate.contrib.embedded import keeper, programs
from procrastinate.contrib.embedded.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["EmbeddedServer", "EmbeddedServerError"]

# A crash of the machine may lose the data; a crash of the server does not.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
LAST_WAIT = 60.0  # seconds to wait for the server to have stopped; pg_ctl's own limit


class EmbeddedServer:
    """
    A PostgreSQL server in a directory, alive while anybody uses it.

    Any number of processes may open the same directory: the first one starts the server, the
    others find it, and it stops once the last one has closed it or has ended, be it by a kill.
    It listens on a socket in a private directory only, never on the network.

    Root may open one too: the server then runs as an account without privileges, and the
    directory must be one which that account can reach. No existing file's mode changes.

    Parameters
    ----------
    directory :
        Where the server keeps its data; made if it does not exist. ``None``: a temporary one,
        which is removed when the server stops.
    durable :
        ``False`` trades the data's safety in a crash of the machine for speed: tests.
    settings :
        Server settings, by name. They hold from the start of the server on: one that is found
        running keeps what it was started with.
    bin_directory :
        The programs of another PostgreSQL than the extra's.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        bin_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        self._directory = None if directory is None else pathlib.Path(directory).absolute()
        self._durable = durable
        self._settings = {**({} if durable else NOT_DURABLE), **(settings or {})}
        self._bin_directory = None if bin_directory is None else pathlib.Path(bin_directory)
        self._home: pathlib.Path | None = None
        self._socket_directory = ""
        self._users: int | None = None

    @property
    def bin_directory(self) -> pathlib.Path:
        """Where ``psql``, ``pg_dump`` and the others are."""
        return self._bin_directory or programs.find_programs()

    @property
    def directory(self) -> pathlib.Path:
        """The directory of the running server."""
        return self._must_run()

    def dsn(self, database: str = "postgres") -> str:
        """How to connect to a database of the running server, as its superuser."""
        self._must_run()
        where = urllib.parse.urlencode({"host": self._socket_directory, "port": keeper.PORT})
        return f"postgresql://postgres@/{urllib.parse.quote(database, safe='')}?{where}"

    def _must_run(self) -> pathlib.Path:
        if self._home is None:
            raise EmbeddedServerError("The embedded server has not been started")
        return self._home

    def start(self) -> EmbeddedServer:
        """
        Start the server, or find it running. Does nothing if this object has done so.

        Raises
        ------
        EmbeddedServerError
            The extra is missing, the directory cannot be used, or PostgreSQL did not start:
            the message ends with what it said.
        """
        if self._home is not None:
            return self
        account = programs.find_account()
        home = self._make_home(account)
        try:
            # Waits for a keeper that is stopping the server at this moment.
            users = keeper.lock(keeper.users_lock(home), fcntl.LOCK_SH)
        except PermissionError as exc:
            raise EmbeddedServerError(f"{home} belongs to another account's server") from exc
        try:
            self._ensure_keeper(home, account)
            self._socket_directory = keeper.socket_note(home).read_text()
        except BaseException:
            _release(users)
            if self._directory is None:
                shutil.rmtree(home, ignore_errors=True)
            raise
        self._home, self._users = home, users
        atexit.register(self.close)
        return self

    def close(self) -> None:
        """Give up the server. If nobody else uses it, it has stopped when this returns."""
        home, users = self._home, self._users
        self._home = self._users = None
        if home is None:
            return
        atexit.unregister(self.close)
        _release(users)
        _wait_for_keeper(home)

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _make_home(self, account: keeper.Account | None) -> pathlib.Path:
        if self._directory is None:
            where = programs.temporary_directory(
                account,
                in_memory=not self._durable
                and programs.may_live_in_memory(self.bin_directory, account),
            )
            home = pathlib.Path(tempfile.mkdtemp(prefix="procrastinate-", dir=where))
            if account:
                home.chmod(0o755)
            return home
        home = self._directory
        if not home.exists():
            try:
                home.mkdir(mode=0o755 if account else 0o700)
            except OSError as exc:
                raise EmbeddedServerError(f"Cannot make {home}: {exc}") from exc
        if account and not programs.is_open(home):
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root, and no other account may enter {home}; "
                "choose a directory below a temporary one"
            )
        return home

    def _ensure_keeper(self, home: pathlib.Path, account: keeper.Account | None) -> None:
        starting = keeper.lock(keeper.start_lock(home), fcntl.LOCK_EX)
        try:
            if _has_keeper(home):
                return
            plan = keeper.Plan(
                directory=str(home),
                programs=str(programs.open_programs(self.bin_directory, account, home)),
                account=account,
                settings=self._settings,
                throwaway=self._directory is None,
            )
            _start_keeper(plan)
        finally:
            _release(starting)


def _start_keeper(plan: keeper.Plan) -> None:
    with subprocess.Popen(
        [sys.executable, "-I", keeper.__file__, plan.to_json()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        start_new_session=True,  # no Ctrl-C of ours: it stops the server once we have gone
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()  # and not kill: it takes along what it has started
            raise
    if process.returncode:
        raise EmbeddedServerError(f"The embedded server did not start. {said.strip()}")


def _wait_for_keeper(home: pathlib.Path) -> None:
    """Return when the server has stopped, or is known to have other users."""
    users = keeper.users_lock(home)
    deadline = time.monotonic() + LAST_WAIT
    while time.monotonic() < deadline:
        if not _has_keeper(home) and not _is_being_removed(home):
            return
        if not _is_available(users, fcntl.LOCK_EX) and _is_available(users, fcntl.LOCK_SH):
            return
        time.sleep(0.005)


def _has_keeper(home: pathlib.Path) -> bool:
    # Shared, so that two who look at once do not take each other for a keeper.
    return not _is_available(keeper.keeper_lock(home), fcntl.LOCK_SH)


def _is_being_removed(home: pathlib.Path) -> bool:
    # From 3.12 on, rmtree removes the files of a directory before what lies deeper.
    return not keeper.keeper_lock(home).exists() and home.exists()


def _is_available(path: pathlib.Path, operation: int) -> bool:
    try:
        held = keeper.lock(path, operation | fcntl.LOCK_NB, create=False)
    except FileNotFoundError:
        return True  # not yet there; or gone: a throwaway's directory goes last
    _release(held)
    return held is not None


def _release(descriptor: int | None) -> None:
    if descriptor is not None:
        with contextlib.suppress(OSError):
            os.close(descriptor)
