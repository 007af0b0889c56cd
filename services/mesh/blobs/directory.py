"""Objects as files below a directory of this machine, or of a file system that machines share."""

import asyncio
import errno
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from soma.errors.v1 import reasons

from services.mesh.blobs.store import Object
from services.mesh.call import errors

RETRY_SECONDS = 1.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Files whose names begin with this are being written, or are left over from a write that was interrupted.
UNFINISHED = ".new-"
# How many objects are listed before another task may run.
_LISTED_AT_ONCE = 1000
# How often a folder is made again that somebody else removes because it is empty.
_TRIES = 10


class Directory:
    """A store in a directory. Only its owner can read its files.

    An object is written to a file of another name, which gets its own name once its bytes are on the disk. All work is
    done in threads.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Write the file."""
        try:
            await asyncio.to_thread(self._put, self._path(key), data, durable)
        except OSError as error:
            raise _typed(error) from error

    async def get(self, key: str) -> bytes | None:
        """Read the file."""
        try:
            return await asyncio.to_thread(self._path(key).read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _typed(error) from error

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete files, and their folders if these are empty."""
        try:
            await asyncio.to_thread(self._delete, keys)
        except OSError as error:
            raise _typed(error) from error

    async def list(self, folder: str) -> AsyncIterator[Object]:
        """The files of a folder, with those of interrupted writes, so that these are deleted like other old objects."""
        found = self._walk(self._path(folder))
        while True:
            try:
                some = await asyncio.to_thread(_some, found)
            except OSError as error:
                raise _typed(error) from error
            for one in some:
                yield one
            if len(some) < _LISTED_AT_ONCE:
                return

    def _path(self, key: str) -> Path:
        return self._root / key

    def _put(self, path: Path, data: bytes, durable: bool) -> None:
        unfinished = path.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
        try:
            with self._created(unfinished, durable) as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            unfinished.rename(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        if durable:
            _sync(path.parent)

    def _created(self, path: Path, durable: bool) -> BinaryIO:
        """A new file; its folder is made if necessary, also if a deletion removes the folder at the same time."""
        for _ in range(_TRIES):
            _make(path.parent, durable)
            with suppress(FileNotFoundError):
                return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self._path(key)
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()

    def _walk(self, folder: Path) -> Iterator[Object]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
                continue
            try:
                modified = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
            except FileNotFoundError:
                continue
            yield Object(str(Path(entry.path).relative_to(self._root)), modified)


def _make(folder: Path, durable: bool) -> None:
    """Make a folder; if `durable`, its name outlasts a power cut."""
    if folder.is_dir():
        return
    _make(folder.parent, durable)
    with suppress(FileNotFoundError):
        folder.mkdir(mode=0o700, exist_ok=True)
    if durable:
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _some(found: Iterator[Object]) -> list[Object]:
    return list(islice(found, _LISTED_AT_ONCE))


def _typed(error: OSError) -> errors.MeshError:
    if error.errno in _FULL:
        return errors.Unavailable(
            "the disk for pictures and documents is full, so nothing can be stored; make room on it, and it goes on",
            reason=reasons.STORAGE_FULL,
            metadata={"store": "blobs"},
            retry_after=errors.STORAGE_FULL_SECONDS,
        )
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno == errno.EROFS:
        return errors.FailedPrecondition(
            f"the directory for pictures and documents, `url` of `[blobs]`, cannot be used: {error.strerror}",
            reason=reasons.BLOBS_REFUSED,
        )
    return errors.Unavailable(
        f"pictures and documents cannot be stored or read now: {error.strerror}",
        reason=reasons.BLOBS_UNAVAILABLE,
        metadata={"store": "blobs"},
        retry_after=RETRY_SECONDS,
    )
