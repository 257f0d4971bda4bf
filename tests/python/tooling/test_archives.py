"""Archives are unpacked by each Python, and by newer ones with care."""

from __future__ import annotations

import io
import pathlib
import tarfile

import pytest

from tools import archives


def archive_of(path: pathlib.Path, name: str) -> pathlib.Path:
    archive = path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    return archive


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="Python before 3.11.4")
def test_nothing_gets_out_of_the_directory(tmp_path: pathlib.Path) -> None:
    archive = archive_of(tmp_path, "../out.txt")
    with pytest.raises(tarfile.OutsideDestinationError):
        archives.unpack_tar(archive, tmp_path / "into")
    assert not (tmp_path / "out.txt").exists()


def test_a_python_without_filters_unpacks(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archives.unpack_tar(archive_of(tmp_path, "in.txt"), tmp_path / "into")
    assert (tmp_path / "into" / "in.txt").read_text() == "text"
