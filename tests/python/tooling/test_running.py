"""Long parts end at their limit with all that they started, and the summary says what each did."""

from __future__ import annotations

import pathlib
import sys
import tarfile
import time

import pytest

from tools import postgres, running

SHORT = 60.0  # seconds; none of these needs them
COUNTING = "print('..'); print('== 3 passed, 1 skipped in 0.1s ==='); print('what comes after')"
#: Leaves a child that ignores what asks it to end, says its id, and waits for it.
LEAVING = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal\\n"
    "for each in (signal.SIGINT, signal.SIGTERM): signal.signal(each, signal.SIG_IGN)\\n"
    "print('deaf', flush=True)\\nsignal.pause()"], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def part(name: str, program: str, limit: float = SHORT) -> running.Part:
    return running.Part(name=name, command=(sys.executable, "-c", program), limit=limit)


def run_one(each: running.Part) -> tuple[running.Outcome, list[str]]:
    shown: list[str] = []
    return running.run_one(each, shown.append), shown


def test_what_a_part_prints_is_shown_and_its_count_is_kept() -> None:
    outcome, shown = run_one(part("a", COUNTING))
    assert outcome.passed
    assert shown == ["..", "== 3 passed, 1 skipped in 0.1s ===", "what comes after"]
    assert outcome.said == "3 passed, 1 skipped in 0.1s"


def test_a_part_without_a_count_is_told_by_its_last_line() -> None:
    outcome, _ = run_one(part("a", "print('one'); print('two')"))
    assert outcome.said == "two"


def test_all_parts_run_whatever_one_finds_and_the_status_tells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = running.run([part("bad", "raise SystemExit(7)"), part("good", COUNTING)])
    assert status == 1
    summary = capsys.readouterr().out.partition("=== in all ===\n")[2].splitlines()
    bad, good = summary
    assert bad.startswith("bad: FAILED with status 7 (")
    assert good.startswith("good: passed (")
    assert good.endswith("): 3 passed, 1 skipped in 0.1s")
    assert running.run([part("good", COUNTING)]) == 0


def test_a_part_that_is_out_of_time_has_failed_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "GRACE", 0.2)
    outcome, shown = run_one(part("a", LEAVING, limit=2.0))
    assert outcome.status is None
    assert "FAILED, not done after 2 s" in str(outcome)
    pid = int(shown[0])
    deadline = time.monotonic() + SHORT
    while is_alive(pid):
        assert time.monotonic() < deadline


def is_alive(pid: int) -> bool:
    """Whether it runs: who has ended may wait for somebody to ask."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_all_parts_together_have_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert running.run([part("a", "import time; time.sleep(1000)")], limit=0.0) == 1
    assert "a: FAILED, not done after 0 s" in capsys.readouterr().out


def test_a_package_of_npm_gets_its_links_and_a_client(tmp_path: pathlib.Path) -> None:
    package = tmp_path / "package" / "native"
    (package / "bin").mkdir(parents=True)
    (package / "lib").mkdir()
    (package / "bin" / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.1'\n")
    (package / "lib" / "libx.so.1.2").write_text("x")
    (package / "pg-symlinks.json").write_text(
        '[{"source": "native/lib/libx.so.1.2", "target": "native/lib/libx.so.1"}]'
    )
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(tmp_path / "package", "package")

    postgres.unpack(tmp_path / "a.tgz", tmp_path / "home")

    native = tmp_path / "home" / "native"
    assert (native / "lib" / "libx.so.1").read_text() == "x"
    assert (native / "bin" / "psql").exists()
    assert postgres.major(native / "bin") == "16"
    assert postgres.major(tmp_path) is None


def test_a_version_that_nobody_has_is_said_and_fails_if_it_is_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(_: str) -> None:
        pass

    monkeypatch.setattr(postgres, "programs_of", nowhere)
    monkeypatch.delenv(postgres.REQUIRED, raising=False)
    assert postgres.main(["15"]) == 0
    assert "PostgreSQL 15: this machine can't have it" in capsys.readouterr().out
    monkeypatch.setenv(postgres.REQUIRED, "1")
    assert postgres.main(["15"]) == 1


def test_tests_of_a_version_run_on_its_programs_and_on_no_given_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("PROCRASTINATE_DSN", "host=elsewhere")
    variables = postgres.environment(tmp_path)
    assert variables["PROCRASTINATE_TEST_BIN"] == str(tmp_path)
    assert "PROCRASTINATE_DSN" not in variables


def test_every_path_of_the_tests_is_there() -> None:
    assert [path for path in postgres.TESTS if not (running.ROOT / path).exists()] == []
