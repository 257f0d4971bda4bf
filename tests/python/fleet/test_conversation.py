"""What 3.10 says and hears is the same on its own schema and on ours (I8)."""

from __future__ import annotations

import json
import pathlib
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from tests.conftest import Janitor, Server
from tools import upstream

from .conftest import HERE, environment

SCENES = (
    "deferring", "queueing_locks", "refusals", "by_hand", "deleting_old", "stalled",
    "periodic", "cron", "outcomes", "deletes", "waking", "polling", "shutdown",
    "transactions", "order",
)  # fmt: skip
APART = "differences"
# its own packages come first on the path: what it imports as procrastinate is 3.10
PLAY = f"""
import runpy, sys
sys.path.append({str(HERE.parents[2])!r})
runpy.run_module("tests.python.fleet.conversation", run_name="__main__")
"""


@attrs.frozen
class Heard:
    """What was heard, by scene."""

    theirs: dict[str, Any]
    ours: dict[str, Any]


def refuse(scene: dict[str, Any]) -> dict[str, str]:
    """How each call of a scene was refused, by the last word on it."""
    said: list[dict[str, Any]] = scene["said"]
    return {
        name: "" if isinstance(causes, str) else causes[-1].split(":")[0]
        for words in said
        for name, causes in words.items()
    }


@pytest.fixture(scope="module")
def heard(
    old_python: pathlib.Path,
    server: Server,
    template: Any,
    make_database: Callable[..., Janitor],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Heard]:
    """Have the conversation on both schemas, at the same time."""
    cwd = tmp_path_factory.mktemp("conversation")
    suffix = uuid.uuid4().hex[:8]
    theirs, ours = (f"procrastinate_test_{side}_{suffix}" for side in ("theirs", "ours"))

    def start(name: str) -> subprocess.Popen[str]:
        dsn = server.database(name)
        return subprocess.Popen(
            [old_python, "-I", "-c", PLAY],
            cwd=cwd,
            env=environment(dsn),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(process: subprocess.Popen[str]) -> dict[str, Any]:
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
        heard: dict[str, Any] = json.loads(out)
        return heard

    with make_database(theirs), make_database(ours, template=template.template_dbname):
        upstream.apply_schema(server.database(theirs))
        processes = [start(theirs), start(ours)]
        yield Heard(*map(end, processes))


def test_every_scene_is_compared(heard: Heard) -> None:
    assert {*SCENES, APART} == set(heard.ours) == set(heard.theirs)


@pytest.mark.parametrize("scene", SCENES)
def test_a_client_of_3_10_cannot_tell_our_schema_from_its_own(heard: Heard, scene: str) -> None:
    assert not [words for words in heard.theirs[scene]["said"] if isinstance(words, str)]
    assert heard.ours[scene]["said"] == heard.theirs[scene]["said"]


@pytest.mark.parametrize("scene", [*SCENES, APART])
def test_a_client_of_3_10_leaves_our_schema_sound(heard: Heard, scene: str) -> None:
    assert heard.ours[scene]["breaches"] == []


def test_our_schema_differs_only_where_a_decision_says_so(heard: Heard) -> None:
    assert refuse(heard.theirs[APART]) == {
        "queue of 41": "InvalidParameterValue",
        "task of 129": "StringDataRightTruncation",
        "fetch by nobody": "",
        "retry once aborted": "CheckViolation",
    }
    assert refuse(heard.ours[APART]) == {
        "queue of 41": "",  # its channel is named by a digest
        "task of 129": "ProgrammingError",  # PQ003 (a class that the driver has no name for)
        "fetch by nobody": "ProgrammingError",  # PQ004: at once, not with the first job
        "retry once aborted": "",  # the request to abort ends with the run it was for
    }
