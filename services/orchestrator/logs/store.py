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
APPEND = """
local stream, sources = KEYS[1], {}
for i = 5, #ARGV, 3 do
    local id = redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', 'entry', ARGV[i + 2])
    local task = stream .. ':task:' .. ARGV[i]
    redis.call('XADD', task, 'MAXLEN', '~', ARGV[2], id, 'entry', ARGV[i + 2])
    redis.call('EXPIRE', task, ARGV[4])
    local tasks = stream .. ':tasks:' .. ARGV[i + 1]
    redis.call('ZADD', tasks, string.match(id, '^%d+'), ARGV[i])
    sources[tasks] = true
end
redis.call('EXPIRE', stream, ARGV[4])
for tasks in pairs(sources) do
    redis.call('EXPIRE', tasks, ARGV[4])
    local excess = redis.call('ZCARD', tasks) - tonumber(ARGV[3])
    if excess > 0 then
        local oldest = redis.call('ZPOPMIN', tasks, excess)
        for i = 1, #oldest, 2 do redis.call('DEL', stream .. ':task:' .. oldest[i]) end
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
