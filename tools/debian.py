"""
Files from Debian packages, without root: downloaded and unpacked below .cache/.

Where there is no apt, or no network the first time, the answer is None.
    python -m tools.debian PATTERN ...    fetches packages for later
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

CACHE = pathlib.Path(__file__).parent.parent / ".cache" / "debian"
TIMEOUT = 300.0  # seconds, for each of apt's commands


def unpacked(pattern: str) -> pathlib.Path | None:
    """
    The root of an unpacked package whose name matches a regular expression.

    The highest version wins if several match (``postgresql-(\\d+)-pgtap``).
    """
    found = sorted(
        (path for path in CACHE.glob("*") if re.fullmatch(pattern, path.name)),
        key=lambda path: _numbers(path.name),
    )
    return found[-1] if found else fetch(pattern)


def fetch(pattern: str) -> pathlib.Path | None:
    """Download the package, and unpack it."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        return None
    name = _known(pattern, []) or _known(pattern, _own_lists())
    return _download(name) if name else None


def _download(name: str) -> pathlib.Path | None:
    downloads = CACHE.parent / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for options in ([], _own_options()):
        if not _apt(["apt-get", *options, "download", name], cwd=downloads).returncode:
            break
    archives = sorted(downloads.glob(f"{name}_*.deb"))
    if not archives:
        return None
    unfinished = CACHE.parent / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", str(archives[-1]), str(unfinished)], check=True)
    CACHE.mkdir(exist_ok=True)
    return unfinished.rename(CACHE / name)


def _known(pattern: str, options: list[str]) -> str | None:
    stem = re.split(r"[^a-z0-9.+-]", pattern)[0]
    names = _apt(["apt-cache", *options, "pkgnames", stem]).stdout.split()
    matches = sorted((n for n in names if re.fullmatch(pattern, n)), key=_numbers)
    return matches[-1] if matches else None


def _own_lists() -> list[str]:
    """Package lists of our own: a fresh machine has none, and root alone may fetch those."""
    options = _own_options()
    if not any((CACHE.parent / "apt" / "lists").glob("*_Packages*")):
        _apt(["apt-get", *options, "update"])
    return options


def _own_options() -> list[str]:
    home = CACHE.parent / "apt"
    (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (home / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    return [
        *("-o", f"Dir::State::Lists={home / 'lists'}"),
        *("-o", f"Dir::Cache={home / 'cache'}"),
        *("-o", "Debug::NoLocking=1"),
        *("-o", "Acquire::Retries=1"),
        *("-o", "Acquire::http::Timeout=20"),
        *("-o", "APT::Sandbox::User="),
    ]


def _apt(
    command: list[str], cwd: pathlib.Path | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return subprocess.CompletedProcess(command, 1, "", str(exc))


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        print(unpacked(wanted) or f"{wanted} is not to be had")
