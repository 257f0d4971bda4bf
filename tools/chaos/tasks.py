"""The tasks of a run, which record what they do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import attrs

import procrastinate
from procrastinate.worker import updates

if TYPE_CHECKING:
    from tools.chaos import record

POOL = 4  # connections at most


@attrs.define
class Run:
    """One run of a task, that records itself."""

    recorder: record.Recorder
    job: int
    claim: int

    def effect(self) -> None:
        self.recorder.write("effect", job=self.job, claim=self.claim)

    def end(self, how: str) -> None:
        self.recorder.write("end", job=self.job, claim=self.claim, how=how)


def begin(recorder: record.Recorder, context: procrastinate.JobContext, task: str) -> Run:
    assert isinstance(context.reporter, updates.Reporter), "only a worker runs these"
    job_id, claim_id = context.job.id or 0, context.reporter.running.claim_id
    recorder.write("start", job=job_id, claim=claim_id, attempt=context.job.attempts, task=task)
    return Run(recorder, job_id, claim_id)


def make_app(dsn: str, recorder: record.Recorder | None = None) -> procrastinate.App:
    """Return the app that workers run and producers defer to."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(
            conninfo=dsn, min_size=1, max_size=POOL, timeout=5.0
        )
    )
    # not for ever: a job that kills its worker each time would have to end
    patient = procrastinate.RetryStrategy(max_attempts=1000)

    def started(context: procrastinate.JobContext, task: str) -> Run:
        assert recorder is not None, "producers run nothing"
        return begin(recorder, context, task)

    @app.task(name="quick", pass_context=True, retry=patient)
    async def quick(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "quick")
        run.effect()
        run.end("returned")

    @app.task(name="slow", pass_context=True, retry=patient)
    async def slow(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "slow")
        await asyncio.sleep(0.2)
        run.effect()
        run.end("returned")

    @app.task(name="threaded", pass_context=True, retry=patient)
    def threaded(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "threaded")
        time.sleep(0.02)
        run.effect()
        run.end("returned")

    @app.task(name="flaky", pass_context=True, retry=patient)
    async def flaky(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "flaky")
        if not context.job.attempts:
            run.end("raised")
            raise ValueError("the first try fails")
        run.effect()
        run.end("returned")

    @app.task(name="doomed", pass_context=True)
    async def doomed(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "doomed")
        run.effect()
        run.end("raised")
        raise ValueError("every try fails")

    @app.task(name="result", pass_context=True, retry=patient, store_result=True)
    async def result(context: procrastinate.JobContext, token: str) -> dict[str, str]:
        run = started(context, "result")
        run.effect()
        run.end("returned")
        return {"token": token}

    @app.task(name="pay", pass_context=True)
    async def pay(context: procrastinate.JobContext, token: str) -> None:
        run = started(context, "pay")
        await asyncio.sleep(0.02)
        run.effect()
        run.end("returned")

    return app
