"""The memory connector, and a queue on it."""

from __future__ import annotations

import pytest

from procrastinate.rpc import wire
from procrastinate.testing import InMemoryConnector
from tests.python.testing.world import World


@pytest.fixture
def memory() -> InMemoryConnector:
    return InMemoryConnector()


@pytest.fixture
def world(memory: InMemoryConnector) -> World:
    world = World(memory)
    memory.clock = lambda: world.now
    world.worker_id = world.call(wire.register_worker_v2(name="w"))
    return world
