"""Which jobs a worker asks the database for: the ones that it knows, or now and then all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from procrastinate import App, exceptions
from procrastinate.worker import heartbeat

from .alone import ALONE, Runs, listening, until
from .conftest import Database, StartWorker, intercept

HEARTBEAT = "procrastinate_heartbeat_v2"
ABORTS = "procrastinate_list_jobs_to_abort_v2"
OFTEN: dict[str, Any] = {**ALONE, "update_heartbeat_interval": 0.01}


Hook: TypeAlias = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """What happens unless a test says otherwise."""


class Asked:
    """What a worker that starts now names in its beats and polls; None is all."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_beats: list[list[int] | None] = []
        self.by_polls: list[list[int]] = []
        self.during_a_beat: Hook = nothing
        self.during_a_poll: Hook = nothing
        self.after_a_claim: Hook = nothing
        self._send: Any = app.connector.call_async
        intercept(app, monkeypatch, self._call_async)

    async def _call_async(self, call: Any, **options: Any) -> Any:
        if call.function.name == HEARTBEAT:
            self.by_beats.append(call.args["p_job_ids"])
            await self.during_a_beat()
        if call.function.name == ABORTS:
            self.by_polls.append(call.args["p_job_ids"])
            await self.during_a_poll()
        answer = await self._send(call, **options)
        if call.function.name == "procrastinate_finish_and_fetch_v1" and answer.claimed:
            await self.after_a_claim()
        return answer

    async def beats(self, number: int = 3) -> list[list[int] | None]:
        """What the next beats name, from one on that has not begun."""
        first = len(self.by_beats)
        await until(lambda: len(self.by_beats) >= first + number)
        return self.by_beats[first : first + number]


@pytest.fixture
def asked(app: App, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(app, monkeypatch)


def rest(monkeypatch: pytest.MonkeyPatch, *, longest: float) -> None:
    """Let a thorough beat be followed by the longest rest, however short it took."""
    monkeypatch.setattr(heartbeat, "REST", 1e9)
    monkeypatch.setattr(heartbeat, "LONGEST_REST", longest)


async def test_beats_name_what_runs_or_waits_here_while_a_thorough_one_rests(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
) -> None:
    rest(monkeypatch, longest=3600)
    runs = Runs(app)
    slow = app.configure_task("slow")
    jobs = [await slow.defer_async(n=n) for n in range(3)]
    run = await start_worker(**OFTEN, concurrency=1, prefetch=2)
    await until(lambda: len(run.worker.prefetched) == 2)

    assert await asked.beats() == [jobs] * 3
    assert asked.by_beats.count(None) == 1
    assert asked.by_beats[0] is None, "the first is thorough"

    runs.gate.set()
    await database.until("select 1 from procrastinate_jobs having bool_and(status='succeeded')")
    assert await asked.beats() == [[]] * 3


@pytest.mark.parametrize("asks", ["update_heartbeat_interval", "abort_job_polling_interval"])
async def test_a_worker_hears_of_the_jobs_it_names_that_they_are_asked_to_abort(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
    asks: str,
) -> None:
    rest(monkeypatch, longest=3600)
    Runs(app)
    slow = app.configure_task("slow")
    jobs = [await slow.defer_async(n=n) for n in range(2)]
    regularly = {**ALONE, asks: 0.01}
    run = await start_worker(**regularly, listen_notify=False, concurrency=1, prefetch=1)
    await until(lambda: len(run.worker.prefetched) == 1)
    by_this = asked.by_polls if "abort" in asks else asked.by_beats
    await until(lambda: jobs in by_this)
    for job_id in jobs:
        database.conn.execute("select procrastinate_abort_job(%s)", [job_id])
    for job_id in jobs:
        await database.until_status(job_id, "aborted")
    assert asked.by_beats.count(None) == ("heartbeat" in asks)


async def test_to_greet_a_server_asks_for_no_job(start_worker: StartWorker) -> None:
    run = await start_worker(**ALONE)
    await until(lambda: run.worker.worker_id is not None)
    assert run.worker.registration.greeting().args["p_job_ids"] == []


@pytest.mark.parametrize("rests", [False, True])
async def test_a_thorough_beat_rests_as_long_as_it_is_dear_and_not_for_ever(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, asked: Asked, rests: bool
) -> None:
    if rests:
        rest(monkeypatch, longest=0.1)
    else:
        monkeypatch.setattr(heartbeat, "REST", 0)
    await start_worker(**OFTEN)
    await until(lambda: asked.by_beats.count(None) >= 4)
    assert ([] in asked.by_beats) == rests


async def test_the_end_of_an_outage_is_followed_by_a_thorough_beat(
    app: App,
    database: Database,
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
    asked: Asked,
) -> None:
    """A reply was lost, and what was claimed in it is known to nobody here."""
    rest(monkeypatch, longest=3600)
    runs = Runs(app)
    lost = True

    async def lose_it() -> None:
        nonlocal lost
        if lost:
            lost = False
            raise exceptions.DatabaseUnavailable

    asked.after_a_claim = lose_it
    await start_worker(**OFTEN)
    await asked.beats()
    job_id = await app.configure_task("quick").defer_async(n=1)
    await database.until_status(job_id, "succeeded")
    assert runs.ran == [1]
    assert asked.by_beats.count(None) == 2
    assert await asked.beats() == [[]] * 3


async def test_a_doubt_that_comes_up_during_a_thorough_beat_makes_the_next_one_thorough(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    rest(monkeypatch, longest=3600)
    run = await start_worker(**OFTEN)
    await asked.beats()

    async def doubt() -> None:
        if asked.by_beats.count(None) == 2 and asked.by_beats[-1] is None:
            run.worker.heartbeat.look_now()

    asked.during_a_beat = doubt
    run.worker.heartbeat.look_now()
    await until(lambda: asked.by_beats.count(None) >= 3)
    await asked.beats(1)
    place = asked.by_beats.index(None, 1)
    assert asked.by_beats[place : place + 3] == [None, None, []]


async def test_a_poll_names_what_notifications_named_until_it_has_been_answered(
    app: App,
    database: Database,
    start_worker: StartWorker,
    asked: Asked,
) -> None:
    """The abort of a job is told of while the answer of its claim is on its way."""
    Runs(app)
    told, polled, fails = asyncio.Event(), asyncio.Event(), True

    async def on_its_way() -> None:
        told.set()
        await polled.wait()

    async def fail_once() -> None:
        nonlocal fails
        if fails:
            fails = False
            run.worker.aborts.look_for(0)  # it is polled again at once
            raise exceptions.DatabaseUnavailable
        polled.set()

    asked.after_a_claim, asked.during_a_poll = on_its_way, fail_once
    run = await start_worker(**ALONE)
    await listening(database)
    job_id = await app.configure_task("slow").defer_async(n=1)
    await told.wait()
    database.conn.execute("select procrastinate_abort_job(%s)", [job_id])
    await polled.wait()
    await database.until_status(job_id, "aborted")
    assert [sorted(names) for names in asked.by_polls[:2]] == [[job_id], [0, job_id]]
    asked.by_polls.clear()
    run.worker.aborts.look_for(job_id + 1)
    await until(lambda: asked.by_polls)
    assert asked.by_polls == [[job_id + 1]], "what was answered is not named again"
