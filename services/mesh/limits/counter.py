"""Counts requests in the last minute: in Redis for all processes, and in the same way in this process without it.

A counter has one number for each second, so it is exact to a second: a request counts for 60 to 61 seconds, and in no
minute are there more requests than the limit. Requests that come together are counted together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from services.mesh.stores.redis import typed_errors

WINDOW = 60

# KEYS are the counters; ARGV are how many requests there are, then the limit of each counter. Returned are how many of
# them may be made, how many more may be made after them, and after how many milliseconds at least one more may be.
_COUNT = """
local time = redis.call('TIME')
local second, wanted = tonumber(time[1]), tonumber(ARGV[1])
local allowed, left, wait = wanted, math.huge, 0
for i, key in ipairs(KEYS) do
    local limit, used, oldest = tonumber(ARGV[i + 1]), 0, second
    local stored = redis.call('HGETALL', key)
    for at = 1, #stored, 2 do
        local slot = tonumber(stored[at])
        if slot <= second - 61 then
            redis.call('HDEL', key, stored[at])
        else
            used = used + tonumber(stored[at + 1])
            if slot < oldest then oldest = slot end
        end
    end
    allowed = math.min(allowed, math.max(limit - used, 0))
    left = math.min(left, limit - used)
    if limit - used < wanted then
        wait = math.max(wait, (oldest + 61 - second) * 1000 - math.floor(tonumber(time[2]) / 1000))
    end
end
if allowed > 0 then
    for _, key in ipairs(KEYS) do
        redis.call('HINCRBY', key, second, allowed)
        redis.call('EXPIRE', key, 62)
    end
end
return {allowed, math.max(left - allowed, 0), wait}
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What counting came to.

    Attributes:
        allowed: how many of the requests may be made.
        left: how many more may be made now.
        wait: seconds until one more may be made; 0 if one may now.
    """

    allowed: int
    left: int
    wait: float


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter and its limit in a minute."""

    key: str
    limit: int


class SharedCounters:
    """Counters in Redis."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._count: Any = client.register_script(_COUNT)

    async def count(self, counters: Sequence[Counter], wanted: int) -> Counted:
        """Count requests by each of the counters, those that all of them allow.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with typed_errors():
            allowed, left, wait = await self._count(
                keys=[counter.key for counter in counters], args=[wanted, *(counter.limit for counter in counters)]
            )
        return Counted(int(allowed), int(left), int(wait) / 1000)


class LocalCounters:
    """Counters of this process alone."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._swept = 0

    def count(self, counters: Sequence[Counter], wanted: int, now: float) -> Counted:
        """Count requests by each of the counters, those that all of them allow; `now` is in seconds."""
        second = int(now)
        self._sweep(second)
        allowed, left, wait = wanted, min(counter.limit for counter in counters), 0.0
        for counter in counters:
            slots = self._counts.setdefault(counter.key, {})
            for slot in [slot for slot in slots if slot <= second - WINDOW - 1]:
                del slots[slot]
            free = counter.limit - sum(slots.values())
            allowed, left = min(allowed, max(free, 0)), min(left, free)
            if free < wanted:
                wait = max(wait, min(slots, default=second) + WINDOW + 1 - now)
        if allowed:
            for counter in counters:
                slots = self._counts[counter.key]
                slots[second] = slots.get(second, 0) + allowed
        return Counted(allowed, max(left - allowed, 0), wait)

    def _sweep(self, second: int) -> None:
        """Forget counters that count nothing any more, once a minute."""
        if second - self._swept > WINDOW:
            self._swept = second
            self._counts = {
                key: slots for key, slots in self._counts.items() if any(slot > second - WINDOW - 1 for slot in slots)
            }
