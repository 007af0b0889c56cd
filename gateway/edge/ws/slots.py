"""The limit of connections at the same time, for each user and in total, counted in Redis for all processes of a stack.

A slot is the right to one connection. It expires unless it is renewed, so the slots of a process that died become free.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from services.mesh.call.errors import ResourceExhausted, Unavailable
from services.mesh.call.principal import Principal
from services.mesh.stores.redis import typed_errors

# Each slot is in two sorted sets, the total one and that of its user; its score is the second in which it expires.
TAKE = """
local now = tonumber(redis.call('TIME')[1])
for _, key in ipairs(KEYS) do redis.call('ZREMRANGEBYSCORE', key, '-inf', now) end
for i, key in ipairs(KEYS) do
    if ARGV[i + 2] ~= '' and redis.call('ZCARD', key) >= tonumber(ARGV[i + 2]) then return i end
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + tonumber(ARGV[2]), ARGV[1])
    redis.call('EXPIRE', key, ARGV[2])
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """The slot of one connected client."""

    number: str
    keys: tuple[str, str]


class Slots:
    """Takes and renews slots of one kind; a slot expires after `seconds`."""

    def __init__(self, client: aioredis.Redis, kind: str, per_user: int, total: int, seconds: int) -> None:
        self._redis = client
        self._all = f"soma:{{{kind}}}"
        self._per_user = per_user
        self._total = total
        self._seconds = seconds
        self._take: Any = client.register_script(TAKE)

    async def take(self, who: Principal) -> Slot:
        """Take a slot for a client of this user.

        Raises:
            ResourceExhausted: the user, or the stack, has the maximum number of connections.
            Unavailable: Redis cannot be reached.
        """
        with typed_errors():
            user = f"{self._all}:{len(who.tenant_id)}:{who.tenant_id}:{who.subject}"
            slot = Slot(str(uuid.uuid4()), (user, self._all))
            full = await self._take(keys=slot.keys, args=(slot.number, self._seconds, self._per_user, self._total))
            if full == 1:
                raise ResourceExhausted(f"a user may have {self._per_user} connections at once")
            if full:
                raise ResourceExhausted(
                    f"there are {self._total} connections already, which is as many as there may be"
                )
            return slot

    async def renew(self, slot: Slot) -> None:
        """Renew a slot; while Redis is unavailable, this does nothing."""
        with suppress(Unavailable), typed_errors():
            await self._take(keys=slot.keys, args=(slot.number, self._seconds, "", ""))

    async def release(self, slot: Slot) -> None:
        """Release a slot; if Redis is unavailable, it expires by itself."""
        with suppress(Unavailable), typed_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in slot.keys:
                    pipeline.zrem(key, slot.number)
                await pipeline.execute()
