"""Reads logs: page by page backwards, or forwards without end."""

import asyncio
from collections.abc import AsyncGenerator

from soma.mesh.v1 import stream_pb2
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh import page_token
from services.orchestrator.logs.entry import BEGINNING, Position, Wanted, entry_id, position
from services.orchestrator.logs.feed import LogFeed
from services.orchestrator.logs.store import LogStore

PAGE_SIZE = 50
_READ = 500
# A search that finds little comes back with what it has after so many reads; the next page goes on.
_READS_A_PAGE = 10

Events = AsyncGenerator[pb.TailLogsResponse, None]


class Logs:
    """The logs of tenants, for their readers."""

    def __init__(self, store: LogStore, feed: LogFeed, heartbeat_seconds: float) -> None:
        self._store = store
        self._feed = feed
        self._heartbeat = heartbeat_seconds

    async def page(self, tenant_id: str, request: pb.QueryLogsRequest) -> pb.QueryLogsResponse:
        """A page, newest first.

        Raises:
            InvalidArgument: the page token is none of this log.
            Unavailable: Redis cannot be reached.
        """
        wanted = Wanted(request.task_id, request.agent_id, request.level, request.search)
        place = page_token.read(request, int, int)
        size = request.page_size or request.limit or PAGE_SIZE
        response = pb.QueryLogsResponse()
        for _ in range(_READS_A_PAGE):
            entries = await self._store.before(tenant_id, wanted.task_id, place, _READ)
            for entry in entries:
                if len(response.logs) == size:
                    response.next_page_token = page_token.write(request, *position(response.logs[-1].id))
                    return response
                if wanted.has(entry):
                    response.logs.append(entry)
            if len(entries) < _READ:
                return response
            place = position(entries[-1].id)
        response.next_page_token = page_token.write(request, *position(entries[-1].id))
        return response

    async def tail(self, tenant_id: str, wanted: Wanted, after: str) -> Events:
        """Where the tail begins, then entries and heartbeats, without end.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        async with self._feed.following(tenant_id, wanted) as follower:
            place = position(after) if after else await self._start(tenant_id, wanted)
            yield pb.TailLogsResponse(started=pb.TailStarted(after=entry_id(place)))
            now = asyncio.get_running_loop().time
            sent = now()
            while True:
                follower.catch_up()
                while entries := await self._store.after(tenant_id, wanted.task_id, place, _READ):
                    place = position(entries[-1].id)
                    for entry in filter(wanted.has, entries):
                        yield pb.TailLogsResponse(entry=entry)
                        sent = now()
                while not follower.behind:
                    if now() - sent >= self._heartbeat:
                        yield pb.TailLogsResponse(heartbeat=stream_pb2.Heartbeat())
                        sent = now()
                    next_entry = await follower.next(sent + self._heartbeat - now())
                    # What was written while the log was being read comes a second time.
                    if next_entry is not None and position(next_entry.id) > place:
                        place = position(next_entry.id)
                        yield pb.TailLogsResponse(entry=next_entry)
                        sent = now()

    async def _start(self, tenant_id: str, wanted: Wanted) -> Position:
        return BEGINNING if wanted.task_id else await self._store.last(tenant_id)
