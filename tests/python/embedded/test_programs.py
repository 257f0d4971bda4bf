"""Who runs an embedded server, and where it lives, on machines that are not like this one."""

from __future__ import annotations

import os
import pathlib
import pwd
import tempfile
from collections.abc import Callable

import pytest

from procrastinate.contrib.embedded import EmbeddedServerError, programs
from procrastinate.contrib.embedded.keeper import Account

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend to be on a machine of certain accounts, as one of its users."""

    def pretend(*, user: int, accounts: dict[str, int]) -> None:
        def find(name: str) -> pwd.struct_passwd:
            number = accounts[name]
            return pwd.struct_passwd((name, "x", number, number + 1, "", "/", "/bin/sh"))

        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(pwd, "getpwnam", find)

    return pretend


def test_somebody_else_than_root_runs_the_server_alone(machine: Machine) -> None:
    machine(user=1000, accounts={"postgres": 70})

    assert programs.find_account() is None


def test_root_takes_the_first_account_that_exists(machine: Machine) -> None:
    machine(user=0, accounts={"daemon": 1, "nobody": 65534})

    assert programs.find_account() == Account(uid=65534, gid=65535)


def test_root_without_any_account_is_told_which_were_looked_for(machine: Machine) -> None:
    machine(user=0, accounts={"ada": 1000})

    with pytest.raises(EmbeddedServerError, match="none of postgres, nobody, daemon exists"):
        programs.find_account()


def test_a_small_memory_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MEMORY_NEEDED", 1 << 62)

    assert programs.temporary_directory(None, in_memory=True) == tempfile.gettempdir()


def test_a_directory_that_is_missing_or_private_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    account = Account(uid=65534, gid=65534)
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(programs, "MEMORY", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", str(private))

    assert programs.temporary_directory(account, in_memory=True) == "/tmp"
    assert programs.temporary_directory(None, in_memory=True) == str(private)
    assert not programs.may_live_in_memory(programs.find_programs(), None)


def test_without_any_directory_that_all_may_enter_there_is_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(path: pathlib.Path) -> bool:
        return False

    monkeypatch.setattr(programs, "is_open", never)

    with pytest.raises(EmbeddedServerError, match="every account may enter"):
        programs.temporary_directory(Account(uid=1, gid=1), in_memory=False)
