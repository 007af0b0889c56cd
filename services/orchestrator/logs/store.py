"""Logs in Redis: a stream for each tenant, and one for each of its newest tasks, where entries have the same ids.

The keys of a tenant share a hash tag, so that one script may write them in a Redis cluster too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis
from soma.orchestrator.v1 import log_service_pb2 as pb

from services.mesh.stores.redis import typed_errors
from services.mesh.stores.stream_position import BEGINNING, Position, entry_id, position
from services.mesh.watching.streams import Fields

FIELD = b"entry"

# Tasks are counted by source, so that many turns outside of sessions never remove the entries of a session.
# Only what needs a call for each entry has one, because a call from a script takes longer than most commands.
APPEND = """
local stream = KEYS[1]
local function in_pieces(command, words)
    -- A call takes fewer than 8000 words.
    for first = 1, #words, 1000 do
        local call = {unpack(command)}
        for i = first, math.min(first + 999, #words) do call[#call + 1] = words[i] end
        redis.call(unpack(call))
    end
end
local sources, newest = {}, {}
for i = 5, #ARGV, 3 do
    local id, source = ARGV[i], ARGV[i + 1]
    local place = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', 'entry', ARGV[i + 2])
    redis.call('XADD', stream .. ':task:' .. id, 'MAXLEN', '~', ARGV[2], place, 'entry', ARGV[i + 2])
    if not sources[source] then sources[source] = {} end
    sources[source][id] = place
    newest[id] = true
end
for id in pairs(newest) do redis.call('EXPIRE', stream .. ':task:' .. id, ARGV[4]) end
redis.call('EXPIRE', stream, ARGV[4])
for source, tasks in pairs(sources) do
    local key, words = stream .. ':tasks:' .. source, {}
    for id, place in pairs(tasks) do
        words[#words + 1] = string.match(place, '^%d+')
        words[#words + 1] = id
    end
    in_pieces({'ZADD', key}, words)
    redis.call('EXPIRE', key, ARGV[4])
    local excess = redis.call('ZCARD', key) - tonumber(ARGV[3])
    if excess > 0 then
        local oldest, keys = redis.call('ZPOPMIN', key, excess), {}
        for i = 1, #oldest, 2 do keys[#keys + 1] = stream .. ':task:' .. oldest[i] end
        in_pieces({'DEL'}, keys)
    end
end
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a tenant's log is kept, and for how many seconds after its last entry."""

    entries: int
    entries_per_task: int
    tasks: int
    seconds: int


class RedisLogStore:
    """Stores the entries of tenants in an order that never changes."""

    def __init__(self, client: aioredis.Redis, bounds: Bounds) -> None:
        self._redis = client
        self._bounds = (bounds.entries, bounds.entries_per_task, bounds.tasks, bounds.seconds)
        self._append: Any = client.register_script(APPEND)

    async def append(self, tenant_id: str, entries: Sequence[pb.LogEntry]) -> None:
        """Add entries."""
        with typed_errors():
            arguments = [part for each in entries for part in (each.task_id, each.source, each.SerializeToString())]
            await self._append(keys=(stream_key(tenant_id),), args=(*self._bounds, *arguments))

    async def last(self, tenant_id: str) -> Position:
        """The position of a tenant's newest entry."""
        with typed_errors():
            newest: Any = await self._redis.xrevrange(stream_key(tenant_id), count=1)
            return position(newest[0][0].decode()) if newest else BEGINNING

    async def before(self, tenant_id: str, task_id: str, bound: Position | None, count: int) -> list[pb.LogEntry]:
        """The newest entries before a position, newest first; of all tasks if `task_id` is empty."""
        with typed_errors():
            upper = f"({entry_id(bound)}" if bound else "+"
            return _entries(await self._redis.xrevrange(stream_key(tenant_id, task_id), max=upper, count=count))

    async def after(self, tenant_id: str, task_id: str, bound: Position, count: int) -> list[pb.LogEntry]:
        """The oldest entries after a position, oldest first; of all tasks if `task_id` is empty."""
        with typed_errors():
            return _entries(
                await self._redis.xrange(stream_key(tenant_id, task_id), min=f"({entry_id(bound)}", count=count)
            )


def decoded(at: Position, fields: Fields) -> pb.LogEntry:
    """An entry of a stream, with its position as its id."""
    entry = pb.LogEntry.FromString(fields[FIELD])
    entry.id = entry_id(at)
    return entry


def stream_key(tenant_id: str, task_id: str = "") -> str:
    """The key of a tenant's log, or of one task in it."""
    key = f"soma:logs:{{{tenant_id}}}"
    return f"{key}:task:{task_id}" if task_id else key


def _entries(found: Any) -> list[pb.LogEntry]:
    return [decoded(position(found_id.decode()), fields) for found_id, fields in found]
