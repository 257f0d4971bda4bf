"""A network that can be broken: between TCP clients and the server's socket."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

T = TypeVar("T")


class _Link:
    """One client's connection, and ours to the server."""

    def __init__(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.near, self.far = near, far
        self.is_deaf = False

    def reset(self) -> None:
        """Close both ends at once; the client sees a reset."""
        for _, writer in (self.near, self.far):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            writer.transport.abort()


class Proxy:
    """
    Passes bytes on, in a thread of its own, until it is told to do otherwise.

    Parameters
    ----------
    target
        The server's Unix socket.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._delay = 0.0
        self.port = 0

    def start(self) -> None:
        """Listen, on a port that stays the same."""
        self._thread.start()
        self._run(self._listen())

    def close(self) -> None:
        """End all connections, and the thread."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset(self, keep_every: int = 0) -> None:
        """Reset all connections, or all but every n-th."""
        self._call(lambda: self._reset(keep_every))

    def refuse(self) -> None:
        """Reset all connections and listen no more."""
        self._run(self._stop_listening())
        self.reset()

    def accept(self) -> None:
        """Listen again."""
        self._run(self._listen())

    def delay(self, seconds: float) -> None:
        """Let each piece of what is said, in each direction, take so much longer."""
        self._call(lambda: setattr(self, "_delay", seconds))

    def deafen(self) -> None:
        """Swallow what is said on the connections that there are; new ones work."""
        self._call(self._deafen)

    def forget(self) -> None:
        """Close the server's ends of the deaf ones; the clients' stay open and silent."""
        self._call(self._forget)

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)

    def _call(self, doing: Callable[[], None]) -> None:
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def do() -> None:
            doing()
            done.set_result(None)

        self._loop.call_soon_threadsafe(do)
        done.result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _close(self) -> None:
        await self._stop_listening()
        self._reset(0)
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _reset(self, keep_every: int) -> None:
        for number, link in enumerate(list(self._links)):
            if not keep_every or number % keep_every:
                link.reset()

    def _deafen(self) -> None:
        for link in self._links:
            link.is_deaf = True

    def _forget(self) -> None:
        for link in self._links:
            if link.is_deaf:
                link.far[1].transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((reader, writer), far)
        self._links.add(link)
        pumps = {
            self._loop.create_task(self._pump(link, reader, far[1])),
            self._loop.create_task(self._pump(link, far[0], writer)),
        }
        self._tasks |= pumps
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if link.is_deaf:
                await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            self._links.discard(link)
            self._tasks -= pumps
            writer.transport.abort()
            far[1].transport.abort()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if not link.is_deaf:
                    writer.write(data)
                    await writer.drain()
