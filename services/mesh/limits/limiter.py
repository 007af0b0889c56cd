"""Spends the rate limits of callers from outside; calls that come together share a round trip to Redis."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from math import ceil

import structlog
from prometheus_client import Counter as Metric
from prometheus_client import Gauge
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.authenticator import Spent
from services.mesh.call.principal import Principal
from services.mesh.limits.counter import Counted, Counter, LocalCounters, SharedCounters
from services.mesh.limits.settings import Tier

log = structlog.get_logger("mesh")

_LOCAL = Gauge("soma_rate_limits_local", "1 while requests are counted in each process alone, because Redis is away")
_REFUSED = Metric("soma_rate_limited_total", "Requests that were refused by a rate limit", ["tier", "kind"])
# A request waits no longer for the shared count, and after a failure the shared count is left alone for a while.
SHARED_SECONDS = 0.25
AWAY_SECONDS = 1.0


class _Batch:
    """Requests by the same counters that wait for the next round trip."""

    __slots__ = ("counters", "waiting")

    def __init__(self, counters: tuple[Counter, ...]) -> None:
        self.counters = counters
        self.waiting: list[asyncio.Future[Spent | float]] = []


class RateLimiter:
    """Counts requests by the tiers of the settings.

    Args:
        tiers: the limits by name.
        shared: the counters of all processes; None for a process without Redis.
    """

    def __init__(
        self,
        tiers: Mapping[str, Tier],
        shared: SharedCounters | None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tiers = tiers
        self._shared = shared
        self._now = now
        self._local = LocalCounters()
        self._away_until = 0.0
        self._batches: dict[str, _Batch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def spend(self, who: Principal, kind: str) -> Spent | None:
        """Count one request of a kind, such as `read` or `execute`; None for a caller without a limit.

        Raises:
            ResourceExhausted: the key or the tenant has made as many as it may; says when to try again.
        """
        if not who.tier:
            return None
        counters = self._counters(who, kind)
        if not counters:
            return None
        spent = await self._counted(counters)
        if isinstance(spent, float):
            _REFUSED.labels(who.tier, kind).inc()
            limit = min(counter.limit for counter in counters)
            raise errors.ResourceExhausted(
                f"this key may make {limit} requests of this kind in a minute, or its tenant has made too many; "
                f"try again in {ceil(spent)} seconds",
                reason=reasons.RATE_LIMITED,
                metadata={"limit": str(limit), "remaining": "0", "kind": kind},
                retry_after=max(spent, 1.0),
            )
        return spent

    async def close(self) -> None:
        """End what is being counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _counters(self, who: Principal, kind: str) -> tuple[Counter, ...]:
        # A tier that the settings no longer have counts as the strictest one, and not as none.
        tier = self._tiers.get(who.tier) or min(self._tiers.values(), key=lambda each: each.key or 10**9)
        # The braces keep the counters of a tenant together in a cluster.
        prefix = f"soma:limit:{{{who.tenant_id}}}:{kind}"
        counters = ((f"{prefix}:key:{who.credential_id}", tier.key), (f"{prefix}:all", tier.tenant))
        return tuple(Counter(key, limit) for key, limit in counters if limit)

    def _counted(self, counters: tuple[Counter, ...]) -> "asyncio.Future[Spent | float]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Spent | float] = loop.create_future()
        batch = self._batches.get(counters[0].key)
        if batch is None:
            batch = self._batches[counters[0].key] = _Batch(counters)
            task = Context().run(asyncio.create_task, self._count_all(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        batch.waiting.append(future)
        return future

    async def _count_all(self, batch: _Batch) -> None:
        """Count what waits, again and again until nothing waits."""
        try:
            while batch.waiting:
                waiting, batch.waiting = batch.waiting, []
                counted = await self._count(batch.counters, len(waiting))
                limit = min(counter.limit for counter in batch.counters)
                for place, future in enumerate(waiting):
                    if future.done():
                        continue
                    if place < counted.allowed:
                        left = counted.left + counted.allowed - place - 1
                        future.set_result(Spent(limit, left, counted.wait or 60.0))
                    else:
                        future.set_result(counted.wait)
        finally:
            del self._batches[batch.counters[0].key]
            for future in batch.waiting:
                future.cancel()

    async def _count(self, counters: tuple[Counter, ...], wanted: int) -> Counted:
        now = self._now()
        if self._shared is not None and now >= self._away_until:
            try:
                async with asyncio.timeout(SHARED_SECONDS):
                    counted = await self._shared.count(counters, wanted)
                _LOCAL.set(0)
                return counted
            except (errors.Unavailable, TimeoutError) as error:
                if self._away_until == 0.0 or now - self._away_until > AWAY_SECONDS:
                    log.warning("rate limits are counted in each process alone", error=str(error))
                self._away_until = now + AWAY_SECONDS
        _LOCAL.set(1)
        return self._local.count(counters, wanted, now)
