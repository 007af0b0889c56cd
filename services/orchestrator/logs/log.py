"""The logs of tenants: read backwards in pages, or followed as they grow."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from soma.mesh.v1 import stream_pb2
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.call import page_token
from services.mesh.stores.stream_position import BEGINNING, Position, entry_id, position
from services.mesh.watching.streams import StreamReader, StreamSequences
from services.mesh.watching.watch import follow
from services.orchestrator.logs.entry import EntryFilter
from services.orchestrator.logs.store import RedisLogStore, decoded, stream_key

PAGE_SIZE = 50
_READ = 500
# After this number of reads a page ends, even if it is not full; the next page continues.
_READS_A_PAGE = 10

Events = AsyncGenerator[pb.TailLogsResponse, None]


class Logs:
    """Reads the logs of tenants; `heartbeat_seconds` without an entry bring a heartbeat."""

    def __init__(self, store: RedisLogStore, reader: StreamReader, heartbeat_seconds: float) -> None:
        self._store = store
        self._streams = StreamSequences(reader, decoded, lambda entry: entry.task_id)
        self._heartbeat = heartbeat_seconds

    async def page(self, tenant_id: str, request: pb.QueryLogsRequest) -> pb.QueryLogsResponse:
        """A page, newest first.

        Raises:
            InvalidArgument: the page token does not belong to this query.
            Unavailable: Redis cannot be reached.
        """
        entry_filter = EntryFilter(request.task_id, request.agent_id, request.level, request.search)
        before = page_token.read(request, int, int)
        size = request.page_size or request.limit or PAGE_SIZE
        response = pb.QueryLogsResponse()
        for _ in range(_READS_A_PAGE):
            entries = await self._store.before(tenant_id, entry_filter.task_id, before, _READ)
            for entry in entries:
                if len(response.logs) == size:
                    response.next_page_token = page_token.write(request, *position(response.logs[-1].id))
                    return response
                if entry_filter.matches(entry):
                    response.logs.append(entry)
            if len(entries) < _READ:
                return response
            before = position(entries[-1].id)
        response.next_page_token = page_token.write(request, *position(entries[-1].id))
        return response

    async def tail(self, tenant_id: str, entry_filter: EntryFilter, after: str) -> Events:
        """The position where the tail begins, then entries and heartbeats without end.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        end = await self._store.last(tenant_id)
        start = position(after) if after else BEGINNING if entry_filter.task_id else end

        async def read(behind: Position) -> list[tuple[Position, pb.LogEntry]]:
            entries = await self._store.after(tenant_id, entry_filter.task_id, behind, _READ)
            return [(position(entry.id), entry) for entry in entries]

        key = stream_key(tenant_id)
        with self._streams.watch(key, start, read, section=entry_filter.task_id, wanted=entry_filter.matches) as watch:
            yield pb.TailLogsResponse(started=pb.TailStarted(after=entry_id(start)))
            async with aclosing(follow(watch, self._heartbeat)) as entries:
                async for entry in entries:
                    if entry is None:
                        yield pb.TailLogsResponse(heartbeat=stream_pb2.Heartbeat())
                    else:
                        yield pb.TailLogsResponse(entry=entry)
