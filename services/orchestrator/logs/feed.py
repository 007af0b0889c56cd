"""What is being written to logs, for everyone in this process who follows one: a single blocking read of Redis."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh import tasks
from services.mesh.jobs import Job
from services.orchestrator.logs.entry import Position, Wanted, position
from services.orchestrator.logs.store import LogStore

BLOCK_MILLISECONDS = 2_000
RETRY_SECONDS = 0.5
# A follower who reads more slowly than is written is told to read the log itself.
MOST_WAITING = 1_000


class Follower:
    """The entries of one tenant that are wanted, as they come; `behind` is set once some had to be left out."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.behind = False
        self._waiting: deque[pb.LogEntry] = deque()
        self._wake = asyncio.Event()

    def offer(self, entry: pb.LogEntry) -> None:
        """Hand an entry over, unless there is no room for it."""
        if len(self._waiting) >= MOST_WAITING:
            self.behind = True
        else:
            self._waiting.append(entry)
        self._wake.set()

    def catch_up(self) -> None:
        """Forget what waits: whoever follows reads the log now."""
        self._waiting.clear()
        self.behind = False

    async def next(self, seconds: float) -> pb.LogEntry | None:
        """The next entry; None when none came in time or the follower is behind."""
        if not self._waiting:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
        return self._waiting.popleft() if self._waiting else None


@dataclass(slots=True)
class _Followed:
    """A tenant somebody follows: how far its log was read, and by whom, under the task that is followed or none."""

    place: Position
    followers: dict[str, set[Follower]] = field(default_factory=dict)

    def add(self, follower: Follower) -> None:
        self.followers.setdefault(follower.wanted.task_id, set()).add(follower)

    def remove(self, follower: Follower) -> None:
        group = self.followers[follower.wanted.task_id]
        group.discard(follower)
        if not group:
            del self.followers[follower.wanted.task_id]

    def hand_out(self, entry: pb.LogEntry) -> None:
        """Offer an entry to those who want it: whom another task concerns is not woken."""
        for task_id in {"", entry.task_id}:
            for follower in self.followers.get(task_id, ()):
                if follower.wanted.has(entry):
                    follower.offer(entry)


class LogFeed:
    """Reads the logs that are followed, and no others."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._followed: dict[str, _Followed] = {}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def following(self, tenant_id: str, wanted: Wanted) -> AsyncIterator[Follower]:
        """A follower who misses nothing wanted that is written to the tenant's log from here on."""
        end = await self._store.last(tenant_id)
        follower = Follower(wanted)
        followed = self._followed.get(tenant_id)
        if followed is None:
            followed = self._followed[tenant_id] = _Followed(end)
            self._changed.set()
        followed.add(follower)
        try:
            yield follower
        finally:
            followed.remove(follower)
            if not followed.followers and self._followed.get(tenant_id) is followed:
                del self._followed[tenant_id]

    @property
    def job(self) -> Job:
        """Reads what is followed, whatever Redis does meanwhile."""
        return Job("log_feed", self._follow, longest_pause=RETRY_SECONDS)

    async def _follow(self) -> None:
        self._changed.clear()
        places = {tenant_id: followed.place for tenant_id, followed in self._followed.items()}
        if places:
            self._hand_out(await self._read(places))
        else:
            await self._changed.wait()

    async def _read(self, places: Mapping[str, Position]) -> dict[str, list[pb.LogEntry]]:
        """What is new; nothing as soon as another tenant is to be followed as well."""
        reading = asyncio.create_task(self._store.wait(places, BLOCK_MILLISECONDS))
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else {}
        finally:
            await tasks.end(reading, changed)

    def _hand_out(self, found: Mapping[str, list[pb.LogEntry]]) -> None:
        for tenant_id, entries in found.items():
            followed = self._followed.get(tenant_id)
            if followed is None or not entries:
                continue
            for entry in entries:
                place = position(entry.id)
                # A tenant may have been left and followed anew while its log was being read.
                if place <= followed.place:
                    continue
                followed.place = place
                followed.hand_out(entry)
