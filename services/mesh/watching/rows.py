"""Sequences in Postgres rows: whoever appends says so, and watchers read when they are told.

Watchers of the same process are told at once, those of other processes through a short Redis Stream. It carries names,
no rows: what is lost there costs time. While Redis is away, watchers look by themselves every few seconds.
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
# Names of so many transactions: a process that does not read for longer looks by itself.
MAX_LENGTH = 10_000
# Sequences whose growth other processes have not been told of; beyond that, all are named.
MOST_WAITING = 10_000
LOOK_SECONDS = 20.0
LOOK_SECONDS_ALONE = 2.0
RETRY_SECONDS = 0.5
# Watchers look at times of their own, even if they came, or lost Redis, together.
_JITTER = 0.25
# Stands for every sequence.
_ALL = ""


@dataclass(frozen=True)
class Found(Generic[T]):
    """What was read of a sequence.

    Attributes:
        items: what there is from the asked place on, in order; not necessarily everything.
        place: from where to read on.
        again: seconds after which to look even if nobody appends; None where time alone changes nothing.
    """

    items: Sequence[T]
    place: int
    again: float | None = None


Read: TypeAlias = Callable[[int], Awaitable[Found[T]]]


class RowSequences:
    """The sequences in the rows of one schema: who watches them here, and who appends to them.

    Its job has to run, and that of the reader.
    """

    def __init__(self, client: aioredis.Redis, reader: StreamReader, schema: str) -> None:
        self.key = STREAM + schema
        self._redis = client
        self._reader = reader
        self._watches: dict[str, set[RowWatch[Any]]] = {}
        self._waiting: set[str] = set()
        self._news = asyncio.Event()
        # What this process appends, its watchers know already.
        self._origin = uuid.uuid4().bytes

    def appended(self, *names: str) -> None:
        """Tell watchers everywhere that these sequences have grown or ended, once that is committed."""
        for name in names:
            self._wake(name)
        self._waiting.update(names)
        if len(self._waiting) > MOST_WAITING:
            self._waiting = {_ALL}
        self._news.set()

    @contextmanager
    def watch(self, name: str, place: int, read: Read[T]) -> "Iterator[RowWatch[T]]":
        """A watch of a sequence from a place on; `read` gives what there is from a place on, and may raise."""
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
        """Tells the other processes: one command for all that was appended since the last."""
        return Job("appended", self._tell, wake=self._news, longest_pause=RETRY_SECONDS)

    async def close(self) -> None:
        """Tell the other processes what they have not been told, once nobody appends any more."""
        try:
            await self._tell()
        except errors.Unavailable as error:
            log.warning("other processes are not told what was appended", error=error.message)

    async def _tell(self) -> None:
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
        """See `Followed`."""
        self._wake(_ALL)

    def take(self, place: Position, fields: Fields) -> None:
        """See `Followed`."""
        if fields[b"origin"] != self._origin:
            for name in orjson.loads(fields[b"names"]):
                self._wake(name)

    def interrupted(self, away: bool) -> None:
        """See `Followed`."""
        self._wake(_ALL)

    def _wake(self, name: str) -> None:
        for watches in self._watches.values() if name == _ALL else (self._watches.get(name, ()),):
            for watch in watches:
                watch.look()


class RowWatch(Generic[T]):
    """`Watch` of a sequence in rows; without news it reads about every 20 seconds, or every 2 while Redis is away."""

    def __init__(self, reader: StreamReader, place: int, read: Read[T]) -> None:
        self._reader = reader
        self._place = place
        self._read = read
        self._look_at = 0.0
        self._wake = asyncio.Event()
        self._wake.set()

    def look(self) -> None:
        """Have it read: there may be more."""
        self._wake.set()

    async def next(self, seconds: float) -> Sequence[T]:
        """See `Watch`."""
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
