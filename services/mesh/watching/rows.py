"""Sequences in Postgres rows: a process that appends to one notifies the watchers, and they read the new rows.

Watchers in the same process are notified at once, watchers in other processes through a short Redis Stream. The stream
has names of sequences and no rows, so a lost entry only delays watchers. While Redis is away, watchers read by
themselves every few seconds.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import orjson
import redis.asyncio as aioredis
import structlog

from services.mesh.call import errors
from services.mesh.process.jobs import Job
from services.mesh.stores.redis import typed_errors
from services.mesh.stores.stream_position import Position
from services.mesh.watching.streams import Fields, StreamReader
from services.mesh.watching.watch import set_within

log = structlog.get_logger("watching")

T = TypeVar("T")

STREAM = "soma:appended:"
# The notifications that the stream keeps; the watchers of a process that was away for longer read by themselves.
MAX_LENGTH = 10_000
# The sequences of which other processes are still to be notified; if there are more, one name stands for all.
MOST_WAITING = 10_000
LOOK_SECONDS = 20.0
LOOK_SECONDS_ALONE = 2.0
RETRY_SECONDS = 0.5
# Watchers read at different times, even if they began, or lost Redis, together.
_JITTER = 0.25
# Stands for every sequence.
_ALL = ""


@dataclass(frozen=True)
class Found(Generic[T]):
    """The result of reading a sequence.

    Attributes:
        items: from the given position on, in order; possibly not all of them.
        place: the position to read from next.
        again: seconds after which to read again even if nobody appends; None if time alone changes nothing.
    """

    items: Sequence[T]
    place: int
    again: float | None = None


Read: TypeAlias = Callable[[int], Awaitable[Found[T]]]


class RowSequences:
    """The sequences in the rows of one schema, with their watchers in this process.

    The job of this object and the job of the reader have to run.
    """

    def __init__(self, client: aioredis.Redis, reader: StreamReader, schema: str) -> None:
        self.key = STREAM + schema
        self._redis = client
        self._reader = reader
        self._watches: dict[str, set[RowWatch[Any]]] = {}
        self._waiting: set[str] = set()
        self._news = asyncio.Event()
        # Marks the notifications of this process, whose watchers have been notified already.
        self._origin = uuid.uuid4().bytes

    def appended(self, *names: str) -> None:
        """Notify the watchers in all processes that these sequences have grown or ended; call it after the commit."""
        for name in names:
            self._wake(name)
        self._waiting.update(names)
        if len(self._waiting) > MOST_WAITING:
            self._waiting = {_ALL}
        self._news.set()

    @contextmanager
    def watch(self, name: str, place: int, read: Read[T]) -> "Iterator[RowWatch[T]]":
        """A watch of a sequence from a position on; `read` returns the items from a position on, and may raise."""
        watch = RowWatch(self._reader, place, read)
        if not self._watches:
            self._reader.follow(self)
        self._watches.setdefault(name, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[name]
            watches.discard(watch)
            if not watches:
                del self._watches[name]
            if not self._watches:
                self._reader.leave(self)

    @property
    def job(self) -> Job:
        """Notifies the other processes, with one command for all sequences since the last."""
        return Job("appended", self._notify, wake=self._news, longest_pause=RETRY_SECONDS)

    async def close(self) -> None:
        """Send the notifications that still wait; call it when nobody appends any more."""
        try:
            await self._notify()
        except errors.Unavailable as error:
            log.warning("other processes are not notified of what was appended", error=error.message)

    async def _notify(self) -> None:
        names, self._waiting = self._waiting, set()
        if not names:
            return
        fields: Any = {b"origin": self._origin, b"names": orjson.dumps(list(names))}
        try:
            with typed_errors():
                await self._redis.xadd(self.key, fields, maxlen=MAX_LENGTH, approximate=True)
        except BaseException:
            self._waiting |= names
            raise

    def begun(self) -> None:
        self._wake(_ALL)

    def take(self, place: Position, fields: Fields) -> None:
        if fields[b"origin"] != self._origin:
            for name in orjson.loads(fields[b"names"]):
                self._wake(name)

    def interrupted(self, away: bool) -> None:
        self._wake(_ALL)

    def _wake(self, name: str) -> None:
        for watches in self._watches.values() if name == _ALL else (self._watches.get(name, ()),):
            for watch in watches:
                watch.look()


class RowWatch(Generic[T]):
    """A `Watch` of a sequence in rows; it also reads about every 20 seconds, or every 2 while Redis is away."""

    def __init__(self, reader: StreamReader, place: int, read: Read[T]) -> None:
        self._reader = reader
        self._place = place
        self._read = read
        self._look_at = 0.0
        self._wake = asyncio.Event()
        self._wake.set()

    def look(self) -> None:
        """Have the watch read again, because there may be more."""
        self._wake.set()

    async def next(self, seconds: float) -> Sequence[T]:
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while True:
            if self._wake.is_set() or now() >= self._look_at:
                self._wake.clear()
                found = await self._read(self._place)
                self._place = found.place
                if found.items:
                    self._wake.set()
                    return found.items
                pause = LOOK_SECONDS_ALONE if self._reader.away else LOOK_SECONDS
                pause *= random.uniform(1 - _JITTER, 1 + _JITTER)
                self._look_at = now() + (pause if found.again is None else min(pause, found.again))
            if now() >= until and not self._wake.is_set():
                return ()
            await set_within(self._wake, min(until, self._look_at) - now())
