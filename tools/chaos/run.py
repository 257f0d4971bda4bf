"""A run: everything is started, broken again and again, left to drain, and examined."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import psycopg

from tools.chaos import checker, ledger, plan, record
from tools.chaos.faults import Breaker
from tools.chaos.fleet import Fleet
from tools.chaos.proxy import Proxy
from tools.chaos.server import DATABASE, DISK, ROLE, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

T = TypeVar("T")

#: Seconds in which, after a fault, some job must end; and at the end of the run, each.
PATIENCE = 120.0
ENDED = """
    select coalesce(max(seq), 0) from chaos.ledger where hold = 'claim' and not taken
"""
RUNNABLE = """
    select count(*) from procrastinate_jobs
    where status = 'doing' or status = 'todo' and coalesce(scheduled_at <= now(), true)
"""
WAITING = "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"


@attrs.define
class Report:
    """What a run found."""

    seed: int
    faults: collections.Counter[str] = attrs.field(factory=collections.Counter[str])
    breaches: list[str] = attrs.field(factory=list[str])
    recoveries: list[tuple[float, str]] = attrs.field(factory=list[tuple[float, str]])
    """Seconds from the end of each fault to the next job's end, and which it was."""
    findings: checker.Findings | None = None
    seconds: float = 0.0


@attrs.frozen
class Scene:
    """What a run has to play with."""

    server: Server
    proxy: Proxy
    fleet: Fleet
    breaker: Breaker
    history: pathlib.Path


@contextlib.contextmanager
def scene(disk: int = DISK) -> Generator[Scene]:
    """Set up a server, a proxy and a place for the history; take all of it down."""
    history = pathlib.Path(tempfile.mkdtemp(prefix="procrastinate-chaos-history-"))
    with contextlib.ExitStack() as stack:
        server = Server(disk)
        stack.callback(server.close)
        server.create()
        proxy = Proxy(server.socket)
        proxy.start()
        stack.callback(proxy.close)
        dsn = (
            f"host=127.0.0.1 port={proxy.port} dbname={DATABASE} user={ROLE}"
            " sslmode=disable gssencmode=disable connect_timeout=5"
        )
        fleet = Fleet(dsn, history)
        stack.callback(fleet.close)
        yield Scene(server, proxy, fleet, Breaker(server, proxy, fleet), history)
    shutil.rmtree(history)  # kept if something was raised: somebody will look


def kinds_for(server: Server) -> tuple[str, ...]:
    """Return the kinds of faults that this machine allows, and say which it does not."""
    if server.disk.missing is None:
        return plan.KINDS
    print(f"no disk_full: a small file system can't be made here ({server.disk.missing})")
    return tuple(kind for kind in plan.KINDS if kind != "disk_full")


def ask(server: Server, question: Callable[[psycopg.Connection[Any]], T]) -> T:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with server.connect() as conn:
                return question(conn)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            server.ensure()


def number(server: Server, query: str) -> int:
    def question(conn: psycopg.Connection[Any]) -> int:
        found: int
        (found,) = conn.execute(query.encode()).fetchone() or (0,)
        return found

    return ask(server, question)


def wait_for_progress(server: Server, before: int) -> float | None:
    """
    Return the seconds until another claim has ended; None if none did.

    Those in which there was nothing to run do not count: producers bear longer silences.
    """
    idle, began = 0.0, time.monotonic()
    while number(server, ENDED) <= before:
        if time.monotonic() - began > PATIENCE:
            return None
        asked = time.monotonic()
        nothing = number(server, RUNNABLE) == 0
        time.sleep(0.05)
        if nothing:
            idle += time.monotonic() - asked
    return time.monotonic() - began - idle


def drain(found: Scene) -> list[str]:
    """Let all that waits end, without faults; return what did not."""
    before, since = number(found.server, ENDED), time.monotonic()
    while waiting := number(found.server, WAITING):
        if (now := number(found.server, ENDED)) > before:
            before, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            return [f"stuck: {waiting} jobs do not end"]
        time.sleep(0.2)
    return []


def carry_out(
    seed: int,
    faults: int,
    *,
    workers: int = plan.WORKERS,
    kinds: Sequence[str] | None = None,
) -> Report:
    """Make a run, and say what it found; of these kinds of faults, or of all."""
    began, report = time.monotonic(), Report(seed)
    with scene() as found:
        drawn = plan.draw(seed, faults, kinds or kinds_for(found.server))
        found.fleet.start_workers(workers)
        found.fleet.start_producers(2, seed)
        if wait_for_progress(found.server, 0) is None:
            report.breaches.append("stuck: nothing runs, before any fault")
        for index, fault in enumerate(drawn, 1):
            time.sleep(fault.pause)
            found.breaker.carry_out(fault)
            found.server.ensure()
            report.faults[fault.kind] += 1
            recovery = wait_for_progress(found.server, number(found.server, ENDED))
            wrong = ask(found.server, ledger.check) + found.fleet.check()
            if recovery is None:
                wrong.append("stuck: no job has ended since")
            else:
                report.recoveries.append((recovery, f"{index}, {fault.kind}"))
            report.breaches += [f"after fault {index}, {fault.kind}: {it}" for it in wrong]
            for it in wrong:
                print(f"BREACH after fault {index}, {fault}: {it}", flush=True)
            if index % 20 == 0:
                print(f"{index} faults, {time.monotonic() - began:.0f} s", flush=True)
        found.fleet.stop_producers()
        report.breaches += drain(found)
        for place in range(len(found.fleet.workers)):
            found.fleet.terminate(place)
        report.breaches += found.fleet.ended_badly
        report.breaches += left_connections(found.server)
        state = ask(found.server, ledger.read_state)
        report.findings = checker.examine(record.read(found.history), state)
        report.breaches += report.findings.breaches
        report.seconds = time.monotonic() - began
        if report.breaches:
            kept = found.history.with_name(found.history.name + ".kept")
            shutil.copytree(found.history, kept)
            shutil.copy(found.server.log, kept)
            (kept / "state.json").write_text(json.dumps(attrs.asdict(state)))
            print(f"what was recorded is in {kept}", flush=True)
    return report


def left_connections(server: Server) -> list[str]:
    """Name the connections of processes that have ended, once they had time to go."""
    deadline = time.monotonic() + 10
    query = f"select count(*) from pg_stat_activity where usename = '{ROLE}'"  # noqa: S608
    while left := number(server, query):
        if time.monotonic() > deadline:
            return [f"connections: {left} are left, and nobody has them"]
        time.sleep(0.1)
    return []


def show(report: Report) -> None:
    """Print what a run found."""
    made = report.faults.total()
    print(f"seed {report.seed}: {made} faults of {len(report.faults)} kinds")
    print("  " + ", ".join(f"{kind} {times}" for kind, times in sorted(report.faults.items())))
    if report.recoveries:
        ordered = sorted(report.recoveries)
        longest = "; ".join(f"{seconds:.2f} s ({which})" for seconds, which in ordered[:-4:-1])
        print(
            f"  next job's end after a fault: median {ordered[len(ordered) // 2][0]:.2f} s,"
            f" longest {longest}"
        )
    if (found := report.findings) is not None:
        print(
            f"  {found.acknowledged} jobs acknowledged, {found.unacknowledged} more are there,"
            f" {found.runs} runs, {found.repeats} of them repeats,"
            f" {found.expected_failures} failed as they should"
        )
    print(f"  {report.seconds:.0f} s, {len(report.breaches)} breaches")
    for breach in report.breaches[:50]:
        print(f"  BREACH {breach}")
    if report.breaches:
        print(f"  again: make chaos CHAOS='--seed {report.seed} --faults {made}'")
