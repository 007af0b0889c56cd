"""The log file of one part. Its process appends to it, and it is rotated by size."""

import os
import shutil
from collections import deque
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
ROTATED_FILES = 3


class PartLog:
    """The log `PATH`, and its older files `PATH.1` (the newest) to `PATH.3`.

    A process keeps its log open while it runs, so rotation copies the file and empties it. The process continues at the
    beginning, because it appends. A line that is written between copy and emptying is lost.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def open(self) -> int:
        """A file descriptor to append to; the caller closes it. The folder is made if it is missing.

        Raises:
            OSError: the file can neither be opened nor made.
        """
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def rotate(self) -> bool:
        """Rotate the file if it is too large, and return whether it was.

        Raises:
            OSError: the copy failed, for example because the disk is full; no log was changed.
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
        for number in range(ROTATED_FILES, 1, -1):
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
