"""LISTEN and NOTIFY in memory: who listens on what, on whichever event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

ANY_QUEUE = "procrastinate_any_queue_v1"
PREFIX = "procrastinate_queue_v1#"

#: Where the ends of jobs that keep a result are told, and what running jobs say.
ENDED = "procrastinate_ended_v1"
PROGRESS = "procrastinate_progress_v1"

#: Jobs that fit in the payload of a notification.
MOST_JOBS = 300

#: Bytes of a queue's name that fit behind the prefix: a channel has at most 63.
LONGEST = 40


def channel_of(queue_name: str) -> str:
    """Return the channel of a queue: its name, or the hash of a long one."""
    encoded = queue_name.encode()
    if len(encoded) <= LONGEST:
        return PREFIX + queue_name
    return PREFIX + hashlib.md5(encoded, usedforsecurity=False).hexdigest()


@attrs.frozen(eq=False)
class Listener:
    """One that listens: its channels, and where its notifications wait."""

    channels: frozenset[str]
    loop: asyncio.AbstractEventLoop
    inbox: asyncio.Queue[tuple[str, str]] = attrs.field(factory=asyncio.Queue[tuple[str, str]])

    def hear(self, channel: str, payload: str) -> None:
        """Take a notification, from any thread."""
        if channel in self.channels and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.inbox.put_nowait, (channel, payload))


@attrs.define(eq=False)
class News:
    """What is to be announced when the call has succeeded, and to whom."""

    listening: list[Listener] = attrs.field(factory=list[Listener])
    pending: list[tuple[str, str]] = attrs.field(factory=list[tuple[str, str]])

    def announce(self, queue_name: str, event: str, job_id: int) -> None:
        """Note an announcement to a queue, and to those who listen to all queues."""
        payload = f'{{"type" : "{event}", "job_id" : {job_id}}}'
        for channel in (channel_of(queue_name), ANY_QUEUE):
            if (channel, payload) not in self.pending:
                self.pending.append((channel, payload))

    def announce_jobs(self, channel: str, event: str, job_ids: Sequence[int]) -> None:
        """Note an announcement of many jobs: in parts, as a payload has a limit."""
        for first in range(0, len(job_ids), MOST_JOBS):
            part = job_ids[first : first + MOST_JOBS]
            self.pending.append((channel, json.dumps({"type": event, "job_ids": list(part)})))

    def deliver(self) -> None:
        """Send what was noted."""
        pending, self.pending = self.pending, []
        for channel, payload in pending:
            for listener in self.listening:
                listener.hear(channel, payload)

    @contextlib.contextmanager
    def listen(self, channels: frozenset[str]) -> Generator[Listener]:
        """Listen on the running loop while the block runs."""
        listener = Listener(channels, asyncio.get_running_loop())
        self.listening.append(listener)
        try:
            yield listener
        finally:
            self.listening.remove(listener)
