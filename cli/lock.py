"""The lock of a data directory: it names the process that runs on it, even if the lock's files were damaged."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from services.mesh.call.errors import FailedPrecondition

# A process that checks the lock holds it for a moment. The retries keep that from looking like a running stack.
TRIES, TRY_SECONDS = 10, 0.02


class Purpose(StrEnum):
    """What a process needs the data directory for."""

    STACK = "stack"
    # A command that needs Postgres and Redis while no stack runs, such as a backup.
    STORES = "stores"


@dataclass(frozen=True)
class Holder:
    """The process that holds a data directory."""

    pid: int
    purpose: Purpose


class Lock:
    """The files `ROOT/lock` and `ROOT/run/lock`. Each names its holder; the system unlocks it when that process ends.

    Earlier versions lock only the second file. It may be deleted together with the rest of `run`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths = (root / "lock", root / "run" / "lock")
        self._held: dict[Path, int] = {}
        self._text = b""

    @contextmanager
    def held(self, purpose: Purpose) -> Iterator[None]:
        """Hold the lock for this process.

        Raises:
            FailedPrecondition: another process has the lock.
            OSError: a file cannot be made.
        """
        self._text = f"{os.getpid()} {purpose}\n".encode()
        try:
            for path in self._paths:
                self._take(path)
            yield
        finally:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()

    def renew(self) -> None:
        """Make the files of a held lock again if they were deleted, and write them again if they were changed.

        Raises:
            OSError: a file cannot be made.
            FailedPrecondition: another process has locked a file that was deleted.
        """
        for path, descriptor in list(self._held.items()):
            if not _is_at(path, descriptor):
                path.parent.mkdir(mode=0o700, exist_ok=True)
                self._take(path)
                os.close(descriptor)
            elif os.pread(descriptor, len(self._text) + 1, 0) != self._text:
                self._write(descriptor)

    def holder(self) -> Holder | None:
        """The process that holds the lock; None when it is free.

        Raises:
            FailedPrecondition: it is held, but the file does not say by whom, or cannot be read.
        """
        for path in self._paths:
            try:
                with path.open("rb") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    except BlockingIOError:
                        return self._read(file.read(64))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise FailedPrecondition(
                    f"{path} cannot be read: {error.strerror}; run soma as the user who started the stack",
                    reason="LOCK_UNREADABLE",
                ) from error
        return None

    def process(self, holder: Holder) -> psutil.Process:
        """The process of a holder.

        Raises:
            FailedPrecondition: the process is not visible here, for example because it runs in another container.
        """
        try:
            process = psutil.Process(holder.pid)
            opened = {file.path for file in process.open_files()}
        except psutil.AccessDenied as error:
            raise FailedPrecondition(
                f"process {holder.pid} belongs to another user; run soma as that user", reason="HOLDER_ELSEWHERE"
            ) from error
        except psutil.NoSuchProcess:
            opened = set()
        # Another process here may have the same pid, so the open file is checked too.
        if not any(str(path.resolve()) in opened for path in self._paths):
            raise FailedPrecondition(
                f"process {holder.pid} holds {self._paths[0]} and cannot be seen from here; it may run in a container: "
                "run soma where it was started",
                reason="HOLDER_ELSEWHERE",
            )
        return process

    def _take(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            for _ in range(TRIES):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(TRY_SECONDS)
            else:
                raise self._already_held(os.pread(descriptor, 64, 0))
            self._write(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._held[path] = descriptor

    def _write(self, descriptor: int) -> None:
        # In this order, a reader never finds the file empty.
        os.pwrite(descriptor, self._text, 0)
        os.ftruncate(descriptor, len(self._text))

    def _read(self, text: bytes) -> Holder:
        try:
            pid, *purpose = text.decode().split()
            # Earlier versions wrote only the pid.
            return Holder(int(pid), Purpose(purpose[0]) if purpose else Purpose.STACK)
        except ValueError:
            raise FailedPrecondition(
                f"{self._root} is in use, and {self._paths[0]} does not say by which process: it is damaged; "
                "a stack that runs writes it again within seconds, so try again",
                reason="LOCK_DAMAGED",
            ) from None

    def _already_held(self, text: bytes) -> FailedPrecondition:
        holder = self._read(text)
        if holder.purpose is Purpose.STORES:
            what = f"another soma command uses the data of {self._root} (pid {holder.pid}); wait until it has ended"
        else:
            what = f"a stack already runs on {self._root} (pid {holder.pid}); soma down stops it"
        return FailedPrecondition(what, reason="ALREADY_RUNNING")


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
