"""The log of one part: appended to by its process, rotated by size, its last lines read back."""

import os
import shutil
from collections import deque
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
KEPT = 3


class PartLog:
    """`PATH`, with `PATH.1` (the newest) to `PATH.3` before it.

    A process keeps its file open for as long as it runs, so rotation copies the file and empties it; the process
    appends, and goes on at the beginning. A line written in the instant between copy and emptying is lost.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def open(self) -> int:
        """A file descriptor to append to, in a folder that is made again if it is gone; the caller closes it.

        Raises:
            OSError: the file can be neither opened nor made.
        """
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def rotate(self) -> bool:
        """Rotate when the file has outgrown its size; whether it did.

        Raises:
            OSError: there is no room for the copy, say; every log is as it was.
        """
        if not self.path.exists() or self.path.stat().st_size <= self._max_bytes:
            return False
        copy = self.path.with_name(f"{self.path.name}.new")
        try:
            shutil.copyfile(self.path, copy)
            copy.chmod(0o600)
        except OSError:
            copy.unlink(missing_ok=True)
            raise
        for number in range(KEPT, 1, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        copy.replace(self._numbered(1))
        os.truncate(self.path, 0)
        return True

    def tail(self, count: int) -> list[str]:
        """The last `count` lines, oldest first."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=count)]

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
