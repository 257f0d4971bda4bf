"""LISTEN and NOTIFY in memory: who listens on what, on whichever event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Generator

ANY_QUEUE = "procrastinate_any_queue_v1"
PREFIX = "procrastinate_queue_v1#"

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
