"""The processes of a run: workers that are replaced, and producers."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.chaos.plan import Fault

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE = 90.0  # seconds that a process has to end after it was asked to


class Fleet:
    """
    Starts processes, and ends them.

    Parameters
    ----------
    dsn
        Where they connect to: the proxy.
    history
        Directory that they record in.
    """

    def __init__(self, dsn: str, history: pathlib.Path) -> None:
        self._dsn, self._history = dsn, history
        self.workers: list[subprocess.Popen[bytes]] = []
        self.producers: list[subprocess.Popen[bytes]] = []
        self.skews: list[float] = []
        self.ended_badly: list[str] = []
        self._options: tuple[str, ...] = ()

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        with (self._history / "processes.log").open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable, "-m", f"tools.chaos.{what}", self._dsn,
                    f"--history={self._history}", *options,
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def start_workers(self, number: int, concurrency: int = 10, *options: str) -> None:
        self._options = (f"--concurrency={concurrency}", *options)
        for place in range(number):
            self.skews.append(0.0)
            self.workers.append(self._worker(place))

    def _worker(self, place: int) -> subprocess.Popen[bytes]:
        return self._start(
            "worker",
            f"--name=worker{place}",
            f"--skew={self.skews[place]}",
            *self._options,
        )

    def start_producers(self, number: int, seed: int, *options: str) -> None:
        for place in range(number):
            self.producers.append(
                self._start(
                    "producer", f"--name=producer{place}", f"--seed={seed + place}", *options
                )
            )

    def victim(self, fault: Fault) -> int:
        return fault.victim % len(self.workers)

    def replace(self, place: int) -> None:
        """Start another worker where one has ended."""
        self.workers[place] = self._worker(place)

    def kill(self, place: int) -> None:
        worker = self.workers[place]
        worker.kill()
        worker.wait()

    def terminate(self, place: int) -> None:
        """Ask a worker to end, and see that it does."""
        worker = self.workers[place]
        worker.terminate()
        try:
            status = worker.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGUSR1)  # it writes what it waits for
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(5)
            worker.kill()
            status = worker.wait()
        # A worker that had not begun ends as any program does.
        if status not in {0, -signal.SIGTERM}:
            self.ended_badly.append(f"worker{place} ended with {status} when asked to stop")

    def check(self) -> list[str]:
        """Name the processes that have ended by themselves, and replace them."""
        for place, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.ended_badly.append(f"worker{place} ended by itself: {worker.returncode}")
                self.replace(place)
        for place, producer in enumerate(self.producers):
            if producer.poll() is not None:
                self.ended_badly.append(f"producer{place} ended by itself")
                self.producers.remove(producer)
        said, self.ended_badly = self.ended_badly, []
        return said

    def stop_producers(self) -> None:
        for producer in self.producers:
            producer.terminate()
        for producer in self.producers:
            producer.wait(PATIENCE)
        self.producers.clear()

    def close(self) -> None:
        """End all that is left."""
        for process in (*self.workers, *self.producers):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
