"""Half of what the machine can do, for long, with a fault now and then: does it come back?"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import psycopg

from tools.chaos import fleet, ledger, plan, record, run, tasks
from tools.chaos.server import LARGE_DISK, ROLE

if TYPE_CHECKING:
    from collections.abc import Generator

KEPT = fleet.ROOT / ".cache"
WORKERS = 2
CONCURRENCY = 20
MEASURED = 6000  # jobs of which the maximum is measured
# a worker: its pool, a listener, two lanes; the producer: its pool, which grows when it waits
MOST_CONNECTIONS = WORKERS * (tasks.POOL + 3) + tasks.POOL
BATCH_EVERY = 0.1  # seconds between two batches of the producer
SAMPLE_EVERY = 0.25  # seconds
WINDOW = 1.0  # seconds over which throughput is taken
BACK_WITHIN = 5.0  # seconds after a fault was mended
ENOUGH = 0.9  # of what is deferred: then throughput is back
GROWTH = 1.1  # a worker's memory in the end, beside what it was once warm
WARM_AFTER = 20.0  # seconds of a worker's life
FEED = """
    insert into procrastinate_jobs (queue_name, task_name, args)
    select 'default', 'quick', jsonb_build_object('token', 'first ' || n)
    from generate_series(1, %s) as n
"""
STATE = f"""
    select
        (select coalesce(sum(jobs), 0)::bigint from procrastinate_counts),
        (select last_value from procrastinate_jobs_id_seq),
        (select count(*) from pg_stat_activity where usename = '{ROLE}')
"""  # noqa: S608 (a constant of ours)


@attrs.frozen(kw_only=True)
class Sample:
    """What was seen at one time."""

    at: float
    ended: int | None
    """Jobs that have ended; None: the server did not answer."""
    numbered: int
    """The last number that a job was given: with those of batches that failed."""
    connections: int
    idle: float
    """Seconds of processor that nobody used until then, since the machine started."""
    stolen: float
    """Seconds of processor that were another machine's."""
    memory: dict[int, int]
    """Resident memory of each worker, in kB, by process id."""


def memory_of(pid: int) -> int:
    """Return the resident memory of a process, in kB; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def processor() -> tuple[float, float]:
    """Return for how many seconds the processors were idle, and how many were stolen."""
    first = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0]
    ticks = [int(it) for it in first.split()[1:]]
    hertz = os.sysconf("SC_CLK_TCK")
    return (ticks[3] + ticks[4]) / hertz, ticks[7] / hertz


class Sampler:
    """Looks at regular intervals, in a thread of its own."""

    def __init__(self, scene: run.Scene) -> None:
        self._scene = scene
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def _run(self) -> None:
        conn: psycopg.Connection[Any] | None = None
        while not self._over.wait(SAMPLE_EVERY):
            ended, numbered, connections = None, 0, 0
            try:
                conn = conn or self._scene.server.connect()
                seen = conn.execute(STATE.encode()).fetchone()
                ended, numbered, connections = seen or (None, 0, 0)
            except psycopg.Error:
                if conn is not None:
                    conn.close()
                conn = None
            memory = {it.pid: memory_of(it.pid) for it in self._scene.fleet.workers}
            idle, stolen = processor()
            self.samples.append(
                Sample(
                    at=time.monotonic(),
                    ended=ended,
                    numbered=numbered,
                    connections=connections,
                    idle=idle,
                    stolen=stolen,
                    memory=memory,
                )
            )
        if conn is not None:
            conn.close()

    @contextlib.contextmanager
    def sampling(self) -> Generator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()


def seconds_until_back(
    samples: list[Sample], mended: float, until: float, rate: float
) -> float | None:
    """Return how long after a fault the throughput was what is deferred; None if it was not."""
    seen = [it for it in samples if it.ended is not None and it.at <= until]
    for sample in (it for it in seen if it.at >= mended):
        before = [it for it in seen if it.at <= sample.at - WINDOW]
        if not before or before[-1].at < sample.at - 3 * WINDOW:
            continue  # nothing is known of the second before
        done = (sample.ended or 0) - (before[-1].ended or 0)
        if done / (sample.at - before[-1].at) >= ENOUGH * rate:
            return sample.at - mended
    return None


def growth(samples: list[Sample]) -> dict[int, float]:
    """Return by how much the memory of each worker grew, of those that lived long enough."""
    lives: dict[int, list[tuple[float, int]]] = {}
    for sample in samples:
        for pid, kilobytes in sample.memory.items():
            if kilobytes:
                lives.setdefault(pid, []).append((sample.at, kilobytes))
    grown: dict[int, float] = {}
    for pid, life in lives.items():
        warm = [kilobytes for at, kilobytes in life if at - life[0][0] >= WARM_AFTER]
        if len(warm) > WARM_AFTER / SAMPLE_EVERY:
            grown[pid] = warm[-1] / warm[0]
    return grown


def maximum(scene: run.Scene) -> float:
    """Return the jobs a second that the workers end while more wait than they can take."""
    with scene.server.connect() as conn:
        conn.execute(FEED.encode(), (MEASURED,))
    began = time.monotonic()
    while run.number(scene.server, run.WAITING):
        time.sleep(0.05)
    return MEASURED / (time.monotonic() - began)


def keep(
    seed: int, rate: float, spans: list[tuple[plan.Fault, float, float]], samples: list[Sample]
) -> pathlib.Path:
    """Write what was seen to a file, so that a slow return can be explained afterwards."""
    path = KEPT / f"soak-{seed}.json"
    path.parent.mkdir(exist_ok=True)
    faults = [
        {**attrs.asdict(fault), "began": began, "mended": mended}
        for fault, began, mended in spans
    ]
    seen = [attrs.asdict(sample) for sample in samples]
    path.write_text(json.dumps({"rate": rate, "faults": faults, "samples": seen}))
    return path


def carry_out(seed: int, seconds: float, every: float) -> int:
    """Soak, print what was seen, and return 1 if anything was not as it should be."""
    breaches: list[str] = []
    with run.scene(LARGE_DISK) as scene:
        kinds = run.kinds_for(scene.server)
        scene.fleet.start_workers(WORKERS, CONCURRENCY, "--mute")
        maximum(scene)  # once to be warm
        most = maximum(scene)
        batch = max(int(most / 2 * BATCH_EVERY), 1)
        rate = batch / BATCH_EVERY
        print(f"at most {most:.0f} jobs/s; deferred are {rate:.0f} jobs/s", flush=True)
        scene.fleet.start_producers(1, seed, f"--batch={batch}", f"--pause={BATCH_EVERY}")
        sampler = Sampler(scene)
        spans: list[tuple[plan.Fault, float, float]] = []
        with sampler.sampling():
            ends = time.monotonic() + seconds
            time.sleep(every)
            calm = max(sample.connections for sample in sampler.samples)
            for fault in plan.draw(seed, int(seconds / every), kinds):
                if time.monotonic() >= ends:
                    break
                began = time.monotonic()
                scene.breaker.carry_out(fault)
                scene.server.ensure()
                spans.append((fault, began, time.monotonic()))
                # the next one is due, however long this one took
                time.sleep(max(every - (time.monotonic() - began), every / 4))
                breaches += scene.fleet.check()
        kept = keep(seed, rate, spans, sampler.samples)
        for number, (fault, began, mended) in enumerate(spans):
            until = spans[number + 1][1] if number + 1 < len(spans) else mended + every
            back = seconds_until_back(sampler.samples, mended, until, rate)
            said = "not" if back is None else f"{back:.1f} s"
            print(f"  {fault.kind}: {mended - began:.1f} s, throughput back after {said}")
            if back is None or back > BACK_WITHIN:
                breaches.append(f"after {fault.kind} throughput was back after {said}")
        breaches += settle(scene, sampler, calm)
    for breach in breaches:
        print(f"BREACH {breach}")
    if breaches:
        print(f"again: make chaos CHAOS='--soak {seconds:g} --every {every:g} --seed {seed}'")
        print(f"what was seen: {kept}")
    return int(bool(breaches))


def settle(scene: run.Scene, sampler: Sampler, calm: int) -> list[str]:
    """Let all end; return what is not as it should be then."""
    grown = growth(sampler.samples)
    last = sampler.samples[-1]
    print(
        f"connections: {calm} before the first fault, {last.connections} in the end;"
        " memory of workers that lived long enough: "
        + (", ".join(f"{it:.2f} x" for it in grown.values()) or "none did")
    )
    breaches = [f"memory: a worker grew {it:.2f} times" for it in grown.values() if it > GROWTH]
    if last.connections > MOST_CONNECTIONS:
        breaches.append(f"connections: {last.connections}, and {MOST_CONNECTIONS} may be")
    scene.fleet.stop_producers()
    breaches += run.drain(scene)
    for place in range(WORKERS):
        scene.fleet.terminate(place)
    breaches += scene.fleet.ended_badly + run.left_connections(scene.server)
    breaches += run.ask(scene.server, ledger.check)
    acknowledged = {
        job_id
        for line in record.read(scene.history)
        if line["what"] == "ack"
        for job_id in line["ids"]
    }

    def lost(conn: psycopg.Connection[Any]) -> list[str]:
        there = {
            job_id
            for (job_id,) in conn.execute(
                "select id from procrastinate_jobs where status = 'succeeded'"
            ).fetchall()
        }
        return [f"lost: job {job_id}" for job_id in sorted(acknowledged - there)]

    found: list[str] = run.ask(scene.server, lost)
    print(f"{len(acknowledged)} jobs acknowledged, {len(found)} of them lost")
    return breaches + found
