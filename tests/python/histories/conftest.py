from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.python.races import harness, scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage(dsn: str) -> Iterator[harness.Stage]:
    with harness.Stage(dsn) as stage:
        yield stage


@pytest.fixture
def queue(stage: harness.Stage) -> Iterator[scene.Scene]:
    made = scene.Scene(stage)
    yield made
    made.close()
