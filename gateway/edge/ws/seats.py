"""How many clients may be connected at once, each user's and all: counted in Redis for every process of a stack.

A seat is taken for a while and taken anew with each sign of life, so that those of a process that died become free.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from services.mesh.call.errors import ResourceExhausted, Unavailable
from services.mesh.call.principal import Principal
from services.mesh.stores.redis import typed_errors

# Every seat is in the set of all and in its user's, with the second it becomes free as its score.
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
_ALL = "soma:{sockets}"


@dataclass(frozen=True, slots=True)
class Seat:
    """A connected client."""

    number: str
    keys: tuple[str, str]


class Seats:
    """`seconds` is how long a seat is held without a sign of life."""

    def __init__(self, client: aioredis.Redis, per_user: int, total: int, seconds: int) -> None:
        self._redis = client
        self._per_user = per_user
        self._total = total
        self._seconds = seconds
        self._take: Any = client.register_script(TAKE)

    async def take(self, who: Principal) -> Seat:
        """A seat for a client of this user.

        Raises:
            ResourceExhausted: the user has as many as one may, or there are as many as there may be.
            Unavailable: Redis cannot be reached.
        """
        with typed_errors():
            user = f"{_ALL}:{len(who.tenant_id)}:{who.tenant_id}:{who.subject}"
            seat = Seat(str(uuid.uuid4()), (user, _ALL))
            full = await self._take(keys=seat.keys, args=(seat.number, self._seconds, self._per_user, self._total))
            if full == 1:
                raise ResourceExhausted(f"a user may have {self._per_user} connections at once")
            if full:
                raise ResourceExhausted(
                    f"there are {self._total} connections already, which is as many as there may be"
                )
            return seat

    async def keep(self, seat: Seat) -> None:
        """Hold a seat on; while Redis is away nobody is counted, and nobody sent away."""
        with suppress(Unavailable), typed_errors():
            await self._take(keys=seat.keys, args=(seat.number, self._seconds, "", ""))

    async def leave(self, seat: Seat) -> None:
        """Give a seat up; while Redis is away it becomes free by itself."""
        with suppress(Unavailable), typed_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in seat.keys:
                    pipeline.zrem(key, seat.number)
                await pipeline.execute()
