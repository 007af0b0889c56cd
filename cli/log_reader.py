"""Reads log files that grow and are rotated."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

POLL_SECONDS = 0.2


class LogReader:
    """Reads one file, adds a prefix to each line, and remembers its position."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._position = 0

    def last(self, count: int) -> list[str]:
        """The last `count` lines. `new` continues after them."""
        with self._path.open("rb") as file:
            lines = deque(file, maxlen=count)
            self._position = file.tell()
        return [self._with_prefix(line) for line in lines]

    def new(self) -> list[str]:
        """The complete lines written since the last call; after a rotation it reads from the beginning."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            if file.seek(0, 2) < self._position:
                self._position = 0
            file.seek(self._position)
            lines = [line for line in file if line.endswith(b"\n")]
        self._position += sum(len(line) for line in lines)
        return [self._with_prefix(line) for line in lines]

    def _with_prefix(self, line: bytes) -> str:
        return self._prefix + line.decode(errors="replace").rstrip("\n")


async def follow_logs(readers: Sequence[LogReader], show: Callable[[str], None]) -> None:
    """Show every new line until cancelled."""
    while True:
        for reader in readers:
            for line in reader.new():
                show(line)
        await asyncio.sleep(POLL_SECONDS)
