"""3.10's Django app on our schema, whichever package's migrations Django has on record (I8)."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from .conftest import HERE, environment

RAN = ["deferred", "started", "succeeded"]


def site(python: Any, dsn: str, cwd: pathlib.Path, *words: str) -> str:
    """Run a command of the site's."""
    done = subprocess.run(
        [python, HERE / "site_of_both.py", *words],
        cwd=cwd,
        env=environment(dsn),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("begun_by_3_10", [True, False], ids=["adopted", "ours from the first"])
def test_the_site_of_3_10_works_on_our_schema(
    old_python: pathlib.Path, empty_dsn: str, tmp_path: pathlib.Path, begun_by_3_10: bool
) -> None:
    if begun_by_3_10:
        site(old_python, empty_dsn, tmp_path, "migrate", "-v0")
    site(sys.executable, empty_dsn, tmp_path, "migrate", "-v0")

    said = json.loads(site(old_python, empty_dsn, tmp_path, "play").splitlines()[-1])

    assert said["pending"] == []
    assert said["within"] == "todo"
    assert "already a job in the queue with the queueing lock once" in said["refused"]
    assert said["histories"] == {
        "django {}": RAN, "ours {'n': 'async'}": RAN[:1], "ours {}": RAN[:1]
    }  # fmt: skip
    assert set(said["pages"].values()) == {200}
    assert said["pages"].keys() >= {"procrastinatejob list", "procrastinatejob row"}
    assert (said["workers"], said["periodic"]) == (0, 0)
    with psycopg.connect(empty_dsn) as connection:
        newest = "select max(name) from django_migrations where app = 'procrastinate'"
        assert connection.execute(newest).fetchone() == ("0042_carry_over_from_3_x",)
        assert connection.execute("select * from procrastinate_check()").fetchall() == []
