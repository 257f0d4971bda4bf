"""
Each package in an environment of its own below .cache/peers/, made at its first use.

A package that can't be had is not the end of a run: it is named as missing, with the reason.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import venv
from typing import Protocol

import attrs

from tools import upstream

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
HOME = CHECKOUT / ".cache" / "peers"
PATIENCE = 600  # seconds for an installation; pip and npm give up on a dead network sooner


class MissingError(Exception):
    """A package can't be had here; the text says which, and why."""


def last_line(text: str) -> str:
    """What a program had to say at last: the rest of a traceback belongs to its authors."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


class Environment(Protocol):
    """Where a package is installed, and what runs its programs."""

    def ready(self) -> str:
        """Install what is not installed yet; return the version, or raise MissingError."""
        ...

    def command(self, program: pathlib.Path) -> list[str]: ...

    def variables(self) -> dict[str, str]: ...


def _install(package: str, folder: pathlib.Path, command: list[str]) -> None:
    shown = folder.relative_to(CHECKOUT) if folder.is_relative_to(CHECKOUT) else folder
    print(f"installing {package} into {shown} …", flush=True)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"{package}: no answer from its registry in {PATIENCE} s") from None
    if done.returncode:
        said = last_line(done.stderr or done.stdout)
        raise MissingError(f"{package} can't be had from its registry: {said}")


def python_of_at_least(minor: int) -> str:
    """Find an interpreter: the one that runs us if it is new enough, or the oldest that is."""
    if sys.version_info >= (3, minor):
        return sys.executable
    found = subprocess.run(
        ["sh", CHECKOUT / "tools" / "pythons.sh"], capture_output=True, text=True, check=False
    )
    for interpreter in found.stdout.split():
        asked = f"import sys; sys.exit(sys.version_info < (3, {minor}))"
        if not subprocess.run([interpreter, "-c", asked], check=False).returncode:
            return interpreter
    raise MissingError(f"it needs Python 3.{minor}, and there is none on this machine")


@attrs.frozen(kw_only=True)
class Python:
    """A package for Python in a virtual environment."""

    package: str
    version: str
    extras: str = ""
    also: tuple[str, ...] = ()
    least_minor: int = 11

    @property
    def folder(self) -> pathlib.Path:
        return HOME / f"{self.package}-{self.version}"

    @property
    def interpreter(self) -> pathlib.Path:
        return self.folder / "bin" / "python"

    def ready(self) -> str:
        done = self.folder / "ready"  # set last: an installation cut short is begun anew
        if not done.exists():
            python = python_of_at_least(self.least_minor)
            if python == sys.executable:
                venv.create(self.folder, with_pip=False, clear=True)
            else:
                options = ("--without-pip", "--clear")
                subprocess.run([python, "-m", "venv", *options, self.folder], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(self.interpreter), "install"]
            quickly = ["--quiet", "--retries", "1", "--timeout", "30"]
            what = f"{self.package}{self.extras}=={self.version}.*"
            _install(what, self.folder, [*pip, *quickly, what, *self.also])
            done.touch()
        asked = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return subprocess.run(
            [self.interpreter, "-I", "-c", asked], capture_output=True, text=True, check=True
        ).stdout.strip()

    def command(self, program: pathlib.Path) -> list[str]:
        # -E -s: the program's folder may be searched, and nothing of the caller's may
        return [str(self.interpreter), "-E", "-s", str(program)]

    def variables(self) -> dict[str, str]:
        return {}


@attrs.frozen(kw_only=True)
class Node:
    """A package for Node in a prefix of npm."""

    package: str
    version: str

    @property
    def folder(self) -> pathlib.Path:
        return HOME / f"{self.package}-{self.version}"

    def ready(self) -> str:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise MissingError(f"{self.package}: there is no {program} on this machine")
        done = self.folder / "ready"
        if not done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            options = ["--no-audit", "--no-fund", "--fetch-retries", "1", "--loglevel", "error"]
            what = f"{self.package}@{self.version}"
            command = ["npm", "install", "--prefix", str(self.folder), *options, what]
            _install(what, self.folder, command)
            done.touch()
        about = self.folder / "node_modules" / self.package / "package.json"
        return str(json.loads(about.read_text())["version"])

    def command(self, program: pathlib.Path) -> list[str]:
        return ["node", str(program)]

    def variables(self) -> dict[str, str]:
        return {"PEER_HOME": str(self.folder)}


@attrs.frozen
class Ours:
    """This checkout, in the environment that runs the benchmark."""

    def ready(self) -> str:
        from procrastinate import __version__  # noqa: PLC0415 (only a run needs it)

        version: str = __version__
        return version

    def command(self, program: pathlib.Path) -> list[str]:
        return [sys.executable, "-E", "-s", str(program)]

    def variables(self) -> dict[str, str]:
        return {}


@attrs.frozen
class Upstream:
    """procrastinate 3.10, where the tests have it, too."""

    def ready(self) -> str:
        try:
            upstream.python()
        except upstream.UpstreamError as error:
            raise MissingError(f"{upstream.MISSING}: {last_line(str(error))}") from None
        return upstream.VERSION

    def command(self, program: pathlib.Path) -> list[str]:
        return [str(upstream.HOME / "bin" / "python"), "-E", "-s", str(program)]

    def variables(self) -> dict[str, str]:
        return {}
