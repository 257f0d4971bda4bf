"""
What several sessions do, statement by statement, and every order in which it can come about.

`permutations` runs all interleavings of given lists of steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import attrs
import psycopg

from tests.python.races import harness


@attrs.frozen
class Step:
    """One statement of one session. The text may be made when its turn comes."""

    session: str
    text: str | Callable[[], str]
    label: str = ""

    def __str__(self) -> str:
        text = self.text if isinstance(self.text, str) else self.label
        return f"{self.session}:{self.label or text}"


def transaction(
    session: str, *texts: str | Callable[[], str], end: str = "commit"
) -> list[Step]:
    """Statements between a begin and its end, each a step."""
    steps = [Step(session, text, label=f"{n}") for n, text in enumerate(texts)]
    return [Step(session, "begin"), *steps, Step(session, end)]


def alone(session: str, text: str | Callable[[], str]) -> list[Step]:
    """A statement that is its own transaction."""
    return [Step(session, text, label="alone")]


@attrs.define(repr=False)
class Ran:
    """What came of one interleaving."""

    order: tuple[Step, ...]
    statements: list[harness.Statement] = attrs.field(factory=list[harness.Statement])
    waited: list[Step] = attrs.field(factory=list[Step])

    def __repr__(self) -> str:
        parts: list[str] = []
        for step, statement in zip(self.order, self.statements, strict=False):
            mark = " (waited)" if step in self.waited else ""
            state = f" !{statement.sqlstate}" if statement.ended and statement.sqlstate else ""
            parts.append(f"{step}{mark}{state}")
        return " -> ".join(parts)

    def sqlstates(self) -> list[str]:
        return [s.sqlstate for s in self.statements if s.sqlstate is not None]

    def of(self, step: Step) -> harness.Statement:
        return self.statements[self.order.index(step)]


class InfeasibleError(Exception):
    """A step's session still waits for another: this order can't come about."""


def orders(*lists: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """All interleavings that keep the order within each list."""
    if len(lists) == 1:
        yield tuple(lists[0])
        return
    total = sum(len(steps) for steps in lists)
    first, rest = lists[0], lists[1:]
    for positions in itertools.combinations(range(total), len(first)):
        taken = set(positions)
        for other in orders(*rest):
            mine, others = iter(first), iter(other)
            yield tuple(next(mine if place in taken else others) for place in range(total))


def play(
    stage: harness.Stage, order: Sequence[Step], after_each: Callable[[], None] = lambda: None
) -> Ran:
    """Run the steps in this order. A step that waits is left waiting while the others go on."""
    ran = Ran(order=tuple(order))
    for step in order:
        session = stage.session(step.session)
        stage.settle()
        if session.busy:
            _finish(stage, ran)
            raise InfeasibleError(str(ran))
        text = step.text if isinstance(step.text, str) else step.text()
        statement = session.start(text)
        ran.statements.append(statement)
        stage.settle()
        if not statement.ended:
            ran.waited.append(step)
        after_each()
    _finish(stage, ran)
    after_each()
    return ran


def _finish(stage: harness.Stage, ran: Ran) -> None:
    stage.settle()
    waits = stage.describe_waits()
    stuck = [s for s in stage.sessions.values() if s.busy]
    for session in stage.sessions.values():
        if not session.busy and session.status != psycopg.pq.TransactionStatus.IDLE:
            session.run("rollback")
    stage.settle()
    for session in stuck:
        if session.busy:
            raise harness.HarnessError(f"{ran}: stuck at the end: {waits}")
        if session.status != psycopg.pq.TransactionStatus.IDLE:
            session.run("rollback")


def permutations(
    stage: harness.Stage,
    *lists: Sequence[Step],
    setup: Callable[[], None],
    after_each: Callable[[], None] = lambda: None,
) -> Iterator[Ran]:
    """Run every order that can come about, each after a setup of its own."""
    for order in orders(*lists):
        setup()
        try:
            yield play(stage, order, after_each)
        except InfeasibleError:
            continue
