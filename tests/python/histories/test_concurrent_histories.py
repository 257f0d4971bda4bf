"""
Many sessions at once, each doing what a seeded generator draws.

The seed draws what each session says; how the sessions interleave is the machine's, so a
failing seed fails again only with some luck. test_stepped_histories repeats itself exactly.
"""

from __future__ import annotations

import collections
import os
import random
import threading
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest

from tests.python.histories import draw, ending
from tests.python.races import audit, harness, verbs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "150"))  # statements of each session
SEEDS = [int(seed) for seed in os.environ.get("HISTORY_SEEDS", "1 2 3").split()]
CAST = [
    *[("worker",)] * 4,
    *[("producer",)] * 2,
    *[("operator",)] * 2,
    ("worker", "producer", "operator"),
]


@attrs.define
class Actor:
    """One session in its thread."""

    connection: psycopg.Connection[harness.Row]
    client: draw.Client
    kinds: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    fault: BaseException | None = None

    def live(self) -> None:
        try:
            for _ in range(ROUNDS):
                self._act()
        except BaseException as error:  # raised by the test, in its own thread
            self.fault = error

    def _act(self) -> None:
        rng, world = self.client.random, self.client.world
        if rng.random() < 0.02:
            world.minutes += rng.choice([1, 1, 5])
        self._run(verbs.set_clock(world.now.isoformat()))
        several = "operator" in self.client.roles and rng.random() < 0.15
        # of a deadlock with a transaction of several statements, that one is the victim: it
        # looks for one at once, and gives up long before the others look
        self._run(f"set deadlock_timeout = '{'20ms' if several else '10s'}'")
        self._run(f"set lock_timeout = '{'1s' if several else '0'}'")
        if several:
            self._run("begin")
        texts: list[str] = []
        kinds: list[str] = []
        try:
            for _ in range(rng.randint(2, 3) if several else 1):
                drawn = self.client.draw()
                if several and drawn.kind not in TRANSACTIONAL:
                    continue
                texts.append(drawn.text)
                kinds.append(drawn.kind)
                self._run(audit.REMEMBER if "fetch" in drawn.kind else audit.FORGET)
                rows = self._run(drawn.text)
                if not several:
                    drawn.tell(rows)
                self.kinds[drawn.kind] += 1
            if several:
                self._run(rng.choice(["commit", "commit", "rollback"]))
        except psycopg.Error as error:
            if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self._run("rollback")
            if not draw.refusal(error, kinds, several=several):
                error.add_note(f"{error.sqlstate}: {texts}")
                raise
            self.client.failed(error.sqlstate or "")
            world.tell(f"{error.sqlstate} {error.diag.constraint_name or ''}".strip())

    def _run(self, text: str) -> list[harness.Row]:
        return ending.run(self.connection, text)


# what a user puts into a transaction of several statements; what a worker says stands alone
TRANSACTIONAL = {
    "cancel",
    "abort",
    "retry_by_id",
    "reschedule",
    "update",
    "delete",
    "defer",
    "one",
    "insert todo",
}


@pytest.fixture
def connections(dsn: str) -> Iterator[list[psycopg.Connection[harness.Row]]]:
    made = [harness.connect(dsn, "history") for _ in range(len(CAST) + 1)]
    yield made
    for connection in made:
        connection.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_many_sessions_do_at_once_all_is_well_in_the_end(
    connections: list[psycopg.Connection[harness.Row]], seed: int
) -> None:
    print("seed", seed)
    watcher, *others = connections
    audit.install(watcher)
    world = draw.World()
    actors = [
        Actor(
            connection,
            draw.Client(world, random.Random(seed * 1000 + number), roles=roles),
        )
        for number, (connection, roles) in enumerate(zip(others, CAST, strict=True))
    ]
    threads = [threading.Thread(target=actor.live) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [actor.fault for actor in actors if actor.fault is not None]
    if faults:
        raise faults[0]
    counts = ending.verdict(watcher, world)
    kinds = sum((actor.kinds for actor in actors), start=collections.Counter[str]())
    print(counts, dict(world.told), dict(kinds))
    assert counts["started"] > ROUNDS / 3, "a history in which something happened"
