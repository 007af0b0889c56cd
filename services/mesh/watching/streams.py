"""Sequences in Redis Streams: one blocking read for all streams that are followed in this process.

A connection for each watcher would use up the pool of the process. A watcher that is slower than the writers reads the
stream itself, and then continues with new entries. Ids are in order, so it gets every entry exactly once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import redis.asyncio as aioredis

from services.mesh.call import errors
from services.mesh.process import tasks
from services.mesh.process.jobs import Job
from services.mesh.stores.redis import typed_errors
from services.mesh.stores.stream_position import BEGINNING, Position, entry_id, position
from services.mesh.watching.watch import set_within

T = TypeVar("T")

Fields: TypeAlias = Mapping[bytes, bytes]

BLOCK_MILLISECONDS = 2_000
RETRY_SECONDS = 0.5
# A watcher with more entries waiting than this has to read the stream itself.
MOST_WAITING = 1_000


class Followed(Protocol):
    """A stream that is followed; the reader calls these methods."""

    @property
    def key(self) -> str:
        """The stream's key in Redis."""
        ...

    def begun(self) -> None:
        """The reader begins: `take` gets every entry that is added from now on."""
        ...

    def take(self, place: Position, fields: Fields) -> None:
        """An entry was added."""
        ...

    def interrupted(self, away: bool) -> None:
        """Redis has gone away, or is back; entries that were added meanwhile come late, or are lost."""
        ...


class StreamReader:
    """Reads the streams that are followed, and no others."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._redis = client
        self._streams: dict[str, Followed] = {}
        self._places: dict[str, Position] = {}
        self._changed = asyncio.Event()
        self._away = False

    @property
    def away(self) -> bool:
        """Whether the last attempt to read Redis failed."""
        return self._away

    def follow(self, stream: Followed) -> None:
        """Read this stream as well, from its end on."""
        self._streams[stream.key] = stream
        self._changed.set()

    def leave(self, stream: Followed) -> None:
        """Stop reading this stream."""
        del self._streams[stream.key]
        self._places.pop(stream.key, None)

    @property
    def job(self) -> Job:
        """Reads the streams, and tries again while Redis is away."""
        return Job("watching", self._step, longest_pause=RETRY_SECONDS)

    async def _step(self) -> None:
        self._changed.clear()
        streams = dict(self._streams)
        if not streams:
            self._away = False
            await self._changed.wait()
            return
        try:
            with typed_errors():
                await self._begin(streams)
                found = await self._read({key: self._places[key] for key in streams if key in self._places})
        except errors.Unavailable:
            self._set_away(away=True)
            raise
        if found is None:
            return
        self._set_away(away=False)
        for key, entries in found.items():
            # Meanwhile a stream may have been left, and followed again.
            if self._streams.get(key) is streams[key]:
                for found_id, fields in entries:
                    place = self._places[key] = position(found_id.decode())
                    streams[key].take(place, fields)

    async def _begin(self, streams: Mapping[str, Followed]) -> None:
        for key in streams.keys() - self._places.keys():
            newest: Any = await self._redis.xrevrange(key, count=1)
            if self._streams.get(key) is streams[key]:
                self._places[key] = position(newest[0][0].decode()) if newest else BEGINNING
                streams[key].begun()

    async def _read(self, places: Mapping[str, Position]) -> dict[str, Any] | None:
        """The new entries by stream; None as soon as another stream has to be followed as well."""
        if not places:
            return None
        ids: Any = {key: entry_id(place) for key, place in places.items()}
        # After Redis was away, the first read does not block: its answer says that Redis is back.
        block = None if self._away else BLOCK_MILLISECONDS
        read: Any = self._redis.xread(ids, block=block)
        reading: asyncio.Task[Any] = asyncio.create_task(read)
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
            found: Any = reading.result() if reading.done() else None
            if not reading.done():
                return None
        finally:
            await tasks.end(reading, changed)
        pairs = found.items() if isinstance(found, dict) else found or ()
        return {key.decode(): entries for key, entries in pairs}

    def _set_away(self, *, away: bool) -> None:
        if away is not self._away:
            self._away = away
            for stream in self._streams.values():
                stream.interrupted(away)


Read: TypeAlias = Callable[[Position], Awaitable[Sequence[tuple[Position, T]]]]
"""The next entries after a position, oldest first; empty if there are none."""


class StreamWatch(Generic[T]):
    """A `Watch` of the entries of a stream that `wanted` accepts."""

    def __init__(self, place: Position, read: Read[T], wanted: Callable[[T], bool]) -> None:
        self._place = place
        self._read = read
        self._wanted = wanted
        self._behind = True
        self._waiting: deque[tuple[Position, T]] = deque()
        self._wake = asyncio.Event()

    def offer(self, place: Position, item: T) -> None:
        """Add an entry, if it is wanted; if too many wait, the watch reads the stream itself later."""
        if not self._wanted(item):
            return
        if len(self._waiting) >= MOST_WAITING:
            self._behind = True
        else:
            self._waiting.append((place, item))
        self._wake.set()

    def look(self) -> None:
        """Have the watch read the stream itself, because an entry may not have been offered."""
        self._behind = True
        self._wake.set()

    async def next(self, seconds: float) -> Sequence[T]:
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while True:
            self._wake.clear()
            found = await self._catch_up() if self._behind else self._offered()
            if found or (not self._behind and now() >= until):
                return found
            if not self._behind and not self._waiting:
                await set_within(self._wake, until - now())

    async def _catch_up(self) -> Sequence[T]:
        self._waiting.clear()
        self._behind = False
        entries = await self._read(self._place)
        if entries:
            self._place = entries[-1][0]
            self._behind = True
        return [item for _, item in entries if self._wanted(item)]

    def _offered(self) -> Sequence[T]:
        # Entries that were written while the stream was read are offered as well.
        found = [(place, item) for place, item in self._waiting if place > self._place]
        self._waiting.clear()
        if found:
            self._place = found[-1][0]
        return [item for _, item in found]


class StreamSequences(Generic[T]):
    """Streams of one kind; each is read and decoded once for all its watchers in this process.

    Args:
        decode: makes an item of an entry's position and fields.
        section: the part of its stream that an item belongs to; watchers of other parts are not woken by it.
    """

    def __init__(
        self, reader: StreamReader, decode: Callable[[Position, Fields], T], section: Callable[[T], str]
    ) -> None:
        self._reader = reader
        self._decode = decode
        self._section = section
        self._streams: dict[str, _Shared[T]] = {}

    @contextmanager
    def watch(
        self, key: str, place: Position, read: Read[T], *, section: str, wanted: Callable[[T], bool]
    ) -> Iterator[StreamWatch[T]]:
        """A watch of the entries after `place`, in one section, or in all if `section` is empty."""
        watch = StreamWatch(place, read, wanted)
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Shared(key, self._decode, self._section)
            self._reader.follow(stream)
        stream.sections.setdefault(section, set()).add(watch)
        try:
            yield watch
        finally:
            watches = stream.sections[section]
            watches.discard(watch)
            if not watches:
                del stream.sections[section]
            if not stream.sections:
                del self._streams[key]
                self._reader.leave(stream)


class _Shared(Generic[T]):
    """A stream that is watched, and its watches by section."""

    def __init__(self, key: str, decode: Callable[[Position, Fields], T], section: Callable[[T], str]) -> None:
        self.key = key
        self.sections: dict[str, set[StreamWatch[T]]] = {}
        self._decode = decode
        self._section = section

    def begun(self) -> None:
        for watches in self.sections.values():
            for watch in watches:
                watch.look()

    def take(self, place: Position, fields: Fields) -> None:
        item = self._decode(place, fields)
        for section in {"", self._section(item)}:
            for watch in self.sections.get(section, ()):
                watch.offer(place, item)

    def interrupted(self, away: bool) -> None:
        """Do nothing: the reader continues where it was."""
