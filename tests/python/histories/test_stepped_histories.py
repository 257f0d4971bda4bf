"""
Random histories that repeat themselves: sessions are stepped one after the other, by a seed.

Statements stop at drawn points in their middle, transactions stay open, others run meanwhile,
and the idle worker fetches whenever it is told to, and only then: what it leaves undone in
the end was a lost wake-up. A failing history prints its seed and all its steps.
"""

from __future__ import annotations

import os
import random

import attrs
import psycopg
import pytest

from tests.python.histories import draw, ending
from tests.python.races import audit, harness, points, scene, verbs

STEPS = int(os.environ.get("HISTORY_STEPS", "60"))
FIRST = int(os.environ.get("HISTORY_FIRST", "1"))
COUNT = int(os.environ.get("HISTORY_COUNT", "12"))
SESSIONS = ("one", "two", "three")


def brief(row: harness.Row) -> str:
    keys = ("outcome", "job_id", "id", "conflict", "done", "contended", "more", "next_due_in")
    return " ".join(str(row[key]) for key in keys if row.get(key) is not None)


@attrs.define
class Player:
    """A session, its gate, and what it is about to be told."""

    session: harness.Session
    gate: points.Gate
    client: draw.Client
    statement: harness.Statement | None = None
    drawn: draw.Drawn | None = None
    several: int = 0  # statements left in the transaction under way
    transactional: bool = False


@attrs.define
class History:
    queue: scene.Scene
    seed: int
    world: draw.World = attrs.field(factory=draw.World)
    transcript: list[str] = attrs.field(factory=list[str])
    players: list[Player] = attrs.field(factory=list[Player])
    rng: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        for number, name in enumerate(SESSIONS, start=1):
            session = self.queue.stage.session(name)
            self.players.append(
                Player(
                    session,
                    points.Gate(self.queue.stage, session, number),
                    draw.Client(self.world, self.rng),
                )
            )

    def note(self, text: str) -> None:
        self.transcript.append(text)

    def collect(self) -> None:
        """Tell each client the answer that has come, and refuse errors that have no name."""
        for player in self.players:
            statement, drawn = player.statement, player.drawn
            if statement is None or drawn is None or not statement.ended:
                continue
            player.statement = player.drawn = None
            if player.gate.shut:
                player.gate.open()
            error = statement.error
            if error is None:
                rows = statement.rows
                self.note(f"{player.session.name} <- {[brief(row) for row in rows]}")
                if not player.transactional:
                    drawn.tell(rows)
                continue
            self.note(f"{player.session.name} <- {error.sqlstate} {error}")
            assert draw.refusal(error, [drawn.kind], several=player.transactional), (
                f"{error.sqlstate}: {error}\n{statement.text}"
            )
            player.client.failed(error.sqlstate or "")
            if player.transactional:
                player.several = 0

    def step(self) -> None:
        rng = self.rng
        if rng.random() < 0.05:
            self.world.minutes += rng.choice([1, 5])
            moment = self.world.now.isoformat()
            if not self.queue.idle.session.busy:
                self.queue.idle.session.run(verbs.set_clock(moment))
                self.queue.idle.woken = True  # its alarm
        player = rng.choice(self.players)
        if player.gate.shut:
            self.note(f"{player.session.name} goes on")
            player.gate.open()
        elif player.session.busy:
            return
        elif player.transactional and not player.several:
            self._end(player)
        else:
            self._begin_statement(player)
        self.queue.stage.settle()
        self.collect()
        self.queue.idle.react()
        self.queue.stage.settle()
        self.collect()

    def _end(self, player: Player) -> None:
        failed = player.session.status == psycopg.pq.TransactionStatus.INERROR
        word = "rollback" if failed else self.rng.choice(["commit", "commit", "rollback"])
        self.note(f"{player.session.name} {word}")
        player.session.run(word)
        player.transactional = False

    def _begin_statement(self, player: Player) -> None:
        rng = self.rng
        if not player.transactional and rng.random() < 0.25:
            player.session.run("begin")
            player.transactional, player.several = True, rng.choice([1, 1, 2])
            self.note(f"{player.session.name} begin")
        drawn = player.client.draw()
        while drawn.kind == "repair":  # it locks the whole table: everybody waits for its end
            drawn = player.client.draw()
        # of a deadlock with a transaction of several statements, that one is the victim
        player.session.run(
            f"set deadlock_timeout = '{'20ms' if player.transactional else '1s'}'"
        )
        if player.transactional:
            player.several -= 1
            if drawn.kind in {"register", "heartbeat", "unregister"}:
                return
        player.session.run(verbs.set_clock(self.world.now.isoformat()))
        fetches = "fetch" in drawn.kind and not player.transactional
        player.session.run(audit.REMEMBER if fetches else audit.FORGET)
        if rng.random() < 0.5:
            player.gate.stop_at(int(rng.expovariate(1 / 25)) + 1)
        self.note(f"{player.session.name} -> {drawn.text}")
        player.drawn = drawn
        player.statement = player.session.start(drawn.text)
        self.queue.stage.settle()
        if player.gate.reached:
            self.note(f"{player.session.name} stops midway")

    def finish(self) -> None:
        for player in self.players:
            player.gate.open()
        stage = self.queue.stage
        stage.settle()
        self.collect()
        for _ in range(len(self.players)):
            for player in self.players:
                if not player.session.busy and player.transactional:
                    player.session.run("rollback")
                    player.transactional = False
            stage.settle()
            self.collect()
        assert not any(p.session.busy for p in self.players), stage.describe_waits()
        for player in self.players:
            player.session.run("select set_config('races.stop', '', false)")
            player.session.run(verbs.set_clock(self.world.now.isoformat()))
        idle = self.queue.idle
        idle.session.run(verbs.set_clock(self.world.now.isoformat()))
        idle.react()
        self.queue.stage.look(verbs.set_clock(self.world.now.isoformat()))
        # what the players hold they end; then whatever may run was announced
        for player in self.players:
            held = list(dict.fromkeys(player.client.held))
            if held and player.client.worker_id is not None:
                player.session.run(verbs.finish(player.client.worker_id, held))
        idle.react()
        left = self.queue.stage.look(scene.RUNNABLE)
        assert not left, f"nobody was told of {left}"
        ending.verdict(stage.watcher, self.world)


@pytest.fixture
def stopping(queue: scene.Scene) -> scene.Scene:
    points.instrument(queue.stage.watcher)
    return queue


def test_no_drawn_history_loses_a_job_a_wake_up_or_an_event(stopping: scene.Scene) -> None:
    for seed in range(FIRST, FIRST + COUNT):
        stopping.reset()
        history = History(stopping, seed)
        moment = history.world.now.isoformat()
        stopping.stage.look(verbs.set_clock(moment))
        stopping.idle.session.run(verbs.set_clock(moment))
        try:
            stopping.idle.react()
            for _ in range(STEPS):
                history.step()
            history.finish()
        except (AssertionError, psycopg.Error) as error:
            steps = "\n".join(history.transcript)
            raise AssertionError(f"seed {seed}: {error}\n{steps}") from error
        finally:
            stopping.stage.look(verbs.set_clock(None))
            stopping.idle.session.run(verbs.set_clock(None))
