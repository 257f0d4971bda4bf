"""What breaks does break: clocks are wrong, disks are full; and a few faults of a real run."""

from __future__ import annotations

import errno
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tools.chaos import fleet, record, run
from tools.chaos.server import Disk


def test_a_worker_can_have_a_clock_that_is_an_hour_wrong() -> None:
    program = """if True:
        import time
        from tools.chaos import worker
        worker.set_clock_wrong(3600)
        import datetime
        print(time.time(), datetime.datetime.now(datetime.timezone.utc).timestamp())
    """
    before = time.time()
    said = subprocess.check_output(
        [sys.executable, "-c", program], text=True, cwd=fleet.ROOT
    ).split()

    for seen in map(float, said):
        assert before + 3600 <= seen <= time.time() + 3600


def test_what_was_recorded_is_read_and_a_mute_recorder_leaves_nothing(
    tmp_path: pathlib.Path,
) -> None:
    record.Recorder(tmp_path, "mute", is_mute=True).write("start", job=1)
    recorder = record.Recorder(tmp_path, "worker0")
    recorder.write("start", job=2)
    recorder.write("end", job=2)

    lines = list(record.read(tmp_path))
    assert [(it["what"], it["who"], it["job"]) for it in lines] == [
        ("start", "worker0", 2),
        ("end", "worker0", 2),
    ]
    assert lines[0]["at"] <= lines[1]["at"]


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    if disk.missing is not None:
        pytest.skip(f"a small file system can't be made here: {disk.missing}")
    yield disk
    disk.close()


def test_a_full_disk_takes_nothing_until_it_is_freed(disk: Disk) -> None:
    file = disk.path / "file"
    disk.fill()
    with pytest.raises(OSError, match="space") as raised:
        file.write_bytes(bytes(5000))
    assert raised.value.errno == errno.ENOSPC

    disk.free()
    file.write_bytes(bytes(5000))


def test_a_short_run_loses_nothing_and_leaves_nothing_stuck() -> None:
    kinds = ("kill_worker", "kill_backend", "cut")

    report = run.carry_out(20, len(kinds), workers=2, kinds=kinds)

    assert report.breaches == []
    assert set(report.faults) == set(kinds)
    assert report.findings is not None
    assert report.findings.acknowledged > 0
    assert report.findings.runs > 0
