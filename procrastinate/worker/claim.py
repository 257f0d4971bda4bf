"""
The claim loop: reports what ended and claims what fits, in one round trip.

A lane has at most one exchange under way. What ends meanwhile goes with the next one, so that
batches grow by themselves as load does, without a timer and without waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from procrastinate import exceptions
from procrastinate.rpc import results, wire
from procrastinate.worker import quiet, reports, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from procrastinate.connector import Line
    from procrastinate.rpc import values
    from procrastinate.rpc.call import Call
    from procrastinate.worker.running import RunningJob
    from procrastinate.worker.worker import Worker

T = TypeVar("T")

#: Seconds after which ready jobs that another transaction held are looked at again.
FIRST_CONTENDED = 0.005
LONGEST_CONTENDED = 0.25

#: Seconds by which an alarm is late on purpose: a look that comes too early costs another one.
ALARM_MARGIN = 0.001

#: Seconds that a worker which is to stop, and has nothing left but ends to report, tries to
#: reach the database. Then the jobs are left in doing, where recovery finds them.
GIVE_UP_AFTER = 10.0

#: Slots from which on a worker has two lanes. With fewer, two half batches cost more than the
#: time that they overlap.
TWO_LANES_FROM = 40

#: Jobs in one exchange: what procrastinate_fetch_jobs_v1 allows.
MAX_LIMIT = 10_000

#: Characters of results in one exchange, unless one result has more.
MOST_TEXT = 16_000_000


class Claims:
    """
    What the worker holds but does not run, and the lanes that exchange it.

    Parameters
    ----------
    worker
        Whose slots are to be filled.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.ends: list[RunningJob] = []
        self.retries: list[RunningJob] = []
        self.suspects: int = 0
        """Ends that go one by one: the database refused a statement with all of them."""
        self.releases: dict[int, int] = {}
        """Claims to give back, with the ids of their jobs."""
        self.reserved = 0
        """Free slots that exchanges under way have asked jobs for."""
        self.failure: Exception | None = None
        """What ended the loop before its time."""
        self.is_flowing = False
        """Whether the last batch was full: more is waiting, as far as anybody knows."""
        self.quiet: quiet.Quiet = quiet.Quiet(worker)
        """Whether new jobs are to be announced to this worker."""
        self._highest = 0
        """The highest number of a claim so far."""
        # More than one for a worker of many slots: the database works on one batch while the
        # other runs. The first lane looks for jobs when there seem to be none; the others only
        # while full batches come.
        lanes = 2 if worker.concurrency >= TWO_LANES_FROM else 1
        self._lanes = [_Lane(self, is_first=number == 0) for number in range(lanes)]

    async def run(self) -> None:
        """Claim and report until the worker is to stop and nothing is left to report."""
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run())
        # Not before: what one lane could not report another may have.
        unreported = [ended.job.log_string for ended in self.ends + self.retries]
        if unreported:
            self.worker.logger.error(
                "The ends of %s jobs could not be saved; they stay in doing: %s",
                len(unreported),
                ", ".join(unreported),
                extra=self.worker.log_extra("ends_not_saved"),
            )

    def wake(self) -> None:
        """Something may have become possible: look at once."""
        for lane in self._lanes:
            lane.event.set()

    def wake_others(self, lane: _Lane) -> None:
        """Let the other lanes look at once."""
        for other in self._lanes:
            if other is not lane:
                other.event.set()

    def take_end(self, ended: RunningJob) -> None:
        """Take the end of a job, to report it with the next exchange."""
        self.ends.append(ended)
        self.wake()

    def take_retry(self, ended: RunningJob) -> None:
        """Take a job that failed and is to be tried again, or may be."""
        self.retries.append(ended)
        self.wake()

    def take_ends(self) -> tuple[list[RunningJob], bool]:
        """Give away the ends of the next exchange; tell whether they have results or errors."""
        text, tells_more, most = 0, False, 1 if self.suspects else len(self.ends)
        for count, ended in enumerate(self.ends):
            if count == most:
                break
            end = ended.end
            if end is not None and (end.result is not None or end.error is not None):
                tells_more = True
                text += len(end.result or "")
                if text > MOST_TEXT and count:
                    most = count
                    break
        self.suspects = max(self.suspects - most, 0)
        taken, self.ends = self.ends[:most], self.ends[most:]
        return taken, tells_more

    def take_release(self, job_id: int, claim_id: int) -> None:
        """Take a claim that is not run here, to give it back."""
        self.releases[claim_id] = job_id
        self.wake()

    def knows(self, claim_id: int) -> bool:
        """Whether a claim is run, or about to be reported; not while it is being reported."""
        return (
            claim_id in self.worker.running
            or claim_id in self.worker.prefetched
            or claim_id in self.releases
            or any(ended.claim_id == claim_id for ended in self.ends)
            or any(ended.claim_id == claim_id for ended in self.retries)
        )

    def known_jobs(self) -> list[int]:
        """Return the jobs that run or wait here."""
        worker = self.worker
        known = [running.job.id for running in worker.running]
        return [job_id for job_id in known if job_id is not None] + worker.prefetched.job_ids()

    def disown(self, claimed: Sequence[values.ClaimedJob]) -> None:
        """
        Let nothing of an older claim count for a new one of the same number.

        After a failover that lost the last transactions, numbers are given out again: what was
        claimed in those under this one runs on, and its end must not be the new one's. Otherwise
        they only grow, but for what two lanes are told in another order.
        """
        numbers = {claim.claim_id for claim in claimed}
        if not numbers:
            return
        before, self._highest = self._highest, max(self._highest, *numbers)
        if min(numbers) > before:
            return
        for number in numbers:
            self.releases.pop(number, None)
            self.worker.prefetched.forget(number)
            self.worker.running.disown(number)
        for ended in (*self.ends, *self.retries):
            if ended.claim_id in numbers:
                ended.disown()

    async def settled(self) -> None:
        """
        Wait until the calls that are under way now have ended, whatever others begin.

        A claim that the database had before is known here then, or its answer was lost.
        """
        for lane in self._lanes:
            await lane.settled()

    @property
    def under_way(self) -> bool:
        """Whether the answer to some call may bring jobs."""
        return any(lane.under_way for lane in self._lanes)

    def free(self) -> int:
        """Count the slots, and places to wait, that no job has and nobody has asked one for."""
        worker = self.worker
        if worker.shutdown.requested:
            return 0
        places = worker.concurrency + worker.prefetch
        free = places - len(worker.running) - len(worker.prefetched) - self.reserved
        share = -(-places // len(self._lanes))
        return min(free, share, MAX_LIMIT)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and there is nothing to report."""
        return not (
            self.worker.running or self.ends or self.retries or self.releases or self.reserved
        )


class _Lane:
    """One connection's worth of exchanges."""

    def __init__(self, claims: Claims, *, is_first: bool) -> None:
        self.event: asyncio.Event = asyncio.Event()
        self._is_first = is_first
        self._claims = claims
        self._worker = claims.worker
        self._line: Line | None = None
        self._marks: list[int] | None = None
        self._looked_from_the_start = False
        self._sent_at = 0.0
        """When the last exchange was sent, by the loop's clock."""
        self._contended = 0
        self._failures = 0
        self._is_done = False
        self.under_way: bool = False
        self._awaiting_end: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        """Exchange until there is nothing more to do."""
        self._line = line = self._worker.app.connector.line()
        line.greeting = self._worker.registration.greeting
        try:
            while not self._is_done:
                self.event.clear()
                seconds = await self._turn()
                if seconds != 0 and not self._is_done:
                    await self._rest(seconds)
            # Those that saw the last call of this one under way rest until somebody wakes them.
            self._claims.wake_others(self)
        except Exception as exc:  # It is raised once the running jobs have ended.
            await self._fail(exc)
        finally:
            await line.close()

    async def settled(self) -> None:
        """Wait until the call that is under way, if any, has ended."""
        if self.under_way:
            ended = asyncio.get_running_loop().create_future()
            self._awaiting_end.append(ended)
            await ended

    def _end_call(self) -> None:
        self.under_way = False
        if not self._worker.wait:
            # It may have reported what others wait for, and who saw it under way has not ended.
            self._claims.wake_others(self)
        for ended in self._awaiting_end:
            if not ended.done():
                ended.set_result(None)
        self._awaiting_end.clear()

    async def _rest(self, seconds: float | None) -> None:
        """Wait to be woken, or so many seconds."""
        alarm = (
            None
            if seconds is None
            else asyncio.get_running_loop().call_later(seconds, self.event.set)
        )
        try:
            await self.event.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    async def _turn(self) -> float | None:
        """
        Report and claim once; return the seconds to wait then, None for until woken.
        """
        claims = self._claims
        while claims.retries:
            if not await self._retry():
                return 0
        if claims.releases and not await self._release():
            return 0
        limit = claims.free() if self._is_first or claims.is_flowing else 0
        if not limit and not claims.ends:
            if self._is_first:
                await claims.quiet.speak(self._send)
            self._is_done = self._worker.shutdown.requested and claims.is_idle
            return claims.quiet.rest_when_full() if self._is_first else None
        exchange = await self._exchange(limit)
        if exchange is not None and limit:
            claims.quiet.took(len(exchange.claimed), limit)
            claims.is_flowing = exchange.more or len(exchange.claimed) >= limit
            if claims.is_flowing == self._is_first:  # the others may go; the first has to look
                claims.wake_others(self)
        if exchange is not None and self._is_first:
            # Not before: a job that was announced should not wait for it.
            await claims.quiet.speak(self._send)
        if exchange is not None and exchange.claimed:
            # What ends without having waited goes with the next exchange, without a wake-up.
            await asyncio.sleep(0)
        if (
            exchange is None
            or exchange.more
            or claims.ends
            or claims.retries
            or claims.releases
        ):
            return 0
        if len(exchange.claimed) >= limit:
            # More may be waiting, for slots that came free meanwhile, or for the next one.
            if claims.free() or self._worker.shutdown.requested:
                return 0
            return claims.quiet.rest_when_full() if self._is_first else None
        if not self._is_first:
            return None
        return self._after_short(exchange) if await claims.quiet.may_rest(self._send) else 0

    def _after_short(self, exchange: values.Exchange) -> float | None:
        """Nothing more can run just now: decide when to look again."""
        stands_in_the_way = exchange.contended or (
            # Due, and yet not fetched: what keeps it will go away without a word.
            exchange.next_due_in is not None and exchange.next_due_in <= 0
        )
        self._contended = self._contended + 1 if stands_in_the_way else 0
        again = waiting.backoff(
            self._contended - 1, first=FIRST_CONTENDED, most=LONGEST_CONTENDED
        )
        if (
            not self._worker.wait
            and self._claims.is_idle
            and not self._claims.under_way  # another lane's report may let jobs run
            and not self.event.is_set()
            and (not stands_in_the_way or again >= LONGEST_CONTENDED)
        ):
            if not self._looked_from_the_start:  # nobody comes back for what a mark may hide
                self._marks = None
                return 0
            self._worker.logger.info(
                "No job found. Stopping worker because wait=False",
                extra=self._worker.log_extra("stop_worker", queues=True),
            )
            self._worker.shutdown.drained()
            self._is_done = True
        seconds = self._worker.fetch_job_polling_interval
        if stands_in_the_way:
            return min(seconds, again)
        if exchange.next_due_in is not None:
            # Counted from where the database stood when it was asked: a call that is sent so
            # long after the last one gets there just when the job falls due.
            passed = asyncio.get_running_loop().time() - self._sent_at
            due = max(exchange.next_due_in - passed, 0) + ALARM_MARGIN
            seconds = min(seconds, due)
        return seconds

    async def _exchange(self, limit: int) -> values.Exchange | None:
        """Report the ends that are there and claim; None if it failed and was dealt with."""
        claims, worker = self._claims, self._worker
        sent, tells_more = claims.take_ends()
        marks = self._marks
        exchange: values.Exchange | None = None

        def receive(answer: values.Exchange) -> None:
            nonlocal exchange
            exchange = answer
            self._marks, self._looked_from_the_start = answer.marks, marks is None
            self._receive(answer.claimed)
            reports.settle_ends(worker, sent, answer.not_held, answer.too_large)

        def put_back() -> None:
            claims.ends[:0] = sent

        finish_and_fetch = (
            results.finish_and_fetch_v2 if tells_more else wire.finish_and_fetch_v1
        )
        claims.reserved += limit
        self._sent_at = asyncio.get_running_loop().time()
        try:
            await self._send(
                finish_and_fetch(
                    worker_id=worker.registration.worker_id,
                    queues=worker.queues,
                    limit=limit,
                    marks=marks,
                    ends=[ended.end for ended in sent if ended.end is not None],
                ),
                receive=receive,
                put_back=put_back,
                sent=sent,
            )
        except exceptions.ConnectorException as exc:
            if not tells_more or not reports.is_overcome(worker, sent, exc):
                raise
            claims.suspects = len(sent)
        finally:
            claims.reserved -= limit
        return exchange

    def _receive(self, claimed: list[values.ClaimedJob]) -> None:
        """Start what was claimed, or give it back if the worker was told to stop meanwhile."""
        worker = self._worker
        if worker.shutdown.requested:
            for claim in claimed:
                assert claim.job.id is not None  # The database has numbered it.
                self._claims.take_release(claim.job.id, claim.claim_id)
            return
        self._claims.disown(claimed)
        worker.prefetched.take(claimed)
        worker.running.forget_early_aborts()

    async def _retry(self) -> bool:
        """Report jobs that failed: those to be tried again, or those that may be."""
        claims, worker = self._claims, self._worker
        # One kind at a time; the others stay where they are known.
        is_decided = claims.retries[0].retry is not None
        sent = [it for it in claims.retries if (it.retry is not None) == is_decided]
        claims.retries = [it for it in claims.retries if (it.retry is not None) != is_decided]

        def receive(outcomes: list[values.Outcome]) -> None:
            reports.settle_retries(worker, sent, outcomes)

        def put_back() -> None:
            claims.retries[:0] = sent

        worker_id = worker.registration.worker_id
        return await self._send(
            results.retry_jobs_v2(
                worker_id=worker_id,
                retries=[ended.retry for ended in sent if ended.retry is not None],
            )
            if is_decided
            else results.fail_jobs_v1(
                worker_id=worker_id,
                ends=[ended.failure for ended in sent if ended.failure is not None],
            ),
            receive=receive,
            put_back=put_back,
            sent=sent,
        )

    async def _release(self) -> bool:
        """Give back the claims that are not run here; False if that failed."""
        claims, worker = self._claims, self._worker
        sent, claims.releases = claims.releases, {}

        def receive(outcomes: list[values.Outcome]) -> None:
            for outcome in outcomes:
                if outcome.outcome == "released":
                    worker.logger.info(
                        "Job %s was given back: it did not run here",
                        outcome.job_id,
                        extra={**worker.log_extra("job_released"), "job_id": outcome.job_id},
                    )

        def put_back() -> None:
            claims.releases.update(sent)

        return await self._send(
            wire.release_jobs_v1(
                worker_id=worker.registration.worker_id,
                claims=[(job_id, claim_id) for claim_id, job_id in sent.items()],
            ),
            receive=receive,
            put_back=put_back,
        )

    async def _send(
        self,
        call: Call[T],
        *,
        receive: Callable[[T], None],
        put_back: Callable[[], None],
        sent: Sequence[RunningJob] = (),
    ) -> bool:
        """
        Make the one call that this lane may have under way; False if it has to be made again.

        What it takes from the answer, or puts back, it does before anybody can see that no call
        is under way: at each moment a claim is known here, or its call is.
        """
        self.under_way = True
        worker_id = self._worker.registration.worker_id  # the one in the call
        failure: exceptions.ConnectorException | None = None
        try:
            receive(await self._worker.outage.call(call, line=self._line))
        except exceptions.WorkerNotRegistered as exc:
            put_back()  # Nothing was applied.
            failure = exc
        except exceptions.DatabaseUnavailable as exc:
            for ended in sent:
                ended.was_sent = True
            put_back()
            failure = exc
        except BaseException:
            put_back()
            raise
        finally:
            self._end_call()
        if failure is not None:
            await self._overcome(failure, worker_id)
            return False
        self._failures = 0
        self._worker.outage.end()
        return True

    async def _overcome(self, failure: exceptions.ConnectorException, worker_id: int) -> None:
        """Do what it takes before a call that failed is made again."""
        worker = self._worker
        if isinstance(failure, exceptions.WorkerNotRegistered):
            try:
                await worker.registration.renew(worker_id)
            except exceptions.DatabaseUnavailable as exc:
                failure = exc
            else:
                return
        assert isinstance(failure, exceptions.DatabaseUnavailable)
        waited = worker.shutdown.seconds_since_request()
        if waited is not None and waited > GIVE_UP_AFTER and not worker.running:
            raise failure
        worker.outage.begin(failure)
        self._failures += 1
        await worker.outage.pause(self._failures - 1)

    async def _fail(self, exc: Exception) -> None:
        """End for a failure that trying again can't heal, once the running jobs have ended."""
        claims, worker = self._claims, self._worker
        if claims.failure is None:
            claims.failure = exc
        worker.stop()
        await self._say_last(exc)  # What waits here should not wait for what runs.
        while worker.running:
            self.event.clear()
            await self.event.wait()
        await self._say_last(exc)

    async def _say_last(self, exc: Exception) -> None:
        """Report what there is to report, after a failure that may not concern reports."""
        claims = self._claims
        if isinstance(exc, exceptions.DatabaseUnavailable):
            return
        try:
            if claims.releases:
                await self._release()
            if claims.ends:
                await self._exchange(0)
            while claims.retries and await self._retry():
                pass
        except Exception as again:  # The first failure is the one that is raised.
            self._worker.logger.debug("A last report failed, too: %r", again)
