"""What processes saw, one line of JSON each, in files that outlive a kill."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Line = dict[str, Any]


class Recorder:
    """
    Appends to a file of one process.

    Each line is one write: what the call has returned from, a kill of the process keeps.
    """

    def __init__(
        self, directory: str | os.PathLike[str], who: str, *, is_mute: bool = False
    ) -> None:
        self.who = who
        self._is_mute = is_mute
        path = pathlib.Path(directory) / f"{who}.{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what: str, **said: Any) -> None:
        """Record that something happened now."""
        if self._is_mute:
            return
        line = {"what": what, "who": self.who, "at": time.monotonic(), **said}
        os.write(self._file, (json.dumps(line) + "\n").encode())


def read(directory: str | os.PathLike[str]) -> Iterator[Line]:
    """Yield all lines of all processes, in the order of each process."""
    for path in sorted(pathlib.Path(directory).glob("*.jsonl")):
        with path.open() as file:
            for text in file:
                yield json.loads(text)
