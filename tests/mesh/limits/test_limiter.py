"""Rate limits: exact over processes and over time, shared round trips, and local counts while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.mesh.limits import limiter as limiter_module
from services.mesh.limits.counter import Counter, LocalCounters, SharedCounters
from services.mesh.limits.limiter import RateLimiter
from services.mesh.limits.settings import Tier
from services.mesh.stores.redis import open_client

if TYPE_CHECKING:
    import redis.asyncio as aioredis

TIERS = {"small": Tier(key=50, tenant=80), "free": Tier(key=0, tenant=0)}
ANN = Principal("acme", "ann", credential_id="k1", tier="small")
BEN = Principal("acme", "ben", credential_id="k2", tier="small")
GIL = Principal("globex", "gil", credential_id="k3", tier="small")


@pytest.fixture
async def limiters(redis: "aioredis.Redis", monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[RateLimiter]]:
    """The limiters of three processes, patient enough for a busy machine."""
    monkeypatch.setattr(limiter_module, "SHARED_SECONDS", 10.0)
    made = [RateLimiter(TIERS, SharedCounters(redis)) for _ in range(3)]
    yield made
    for limiter in made:
        await limiter.close()


async def allowed(limiter: RateLimiter, who: Principal, calls: int, kind: str = "execute") -> int:
    """How many of so many calls at once are allowed."""
    outcomes = await asyncio.gather(*(limiter.spend(who, kind) for _ in range(calls)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(error, errors.ResourceExhausted) and error.reason == "RATE_LIMITED" for error in refused)
    return calls - len(refused)


async def test_three_processes_allow_as_much_as_one(limiters: list[RateLimiter]) -> None:
    counts = await asyncio.gather(*(allowed(limiter, ANN, 40) for limiter in limiters))
    assert sum(counts) == 50


async def test_keys_share_the_limit_of_their_tenant_and_of_no_other(limiters: list[RateLimiter]) -> None:
    first, second, third = limiters
    assert await allowed(first, ANN, 60) == 50
    assert await allowed(second, BEN, 60) == 30
    assert await allowed(third, GIL, 60) == 50


async def test_kinds_of_requests_are_counted_apart(limiters: list[RateLimiter]) -> None:
    assert await allowed(limiters[0], ANN, 60, "read") == 50
    assert await allowed(limiters[0], ANN, 60, "execute") == 50


async def test_a_caller_learns_what_is_left_and_when_to_come_back(limiters: list[RateLimiter]) -> None:
    spent = await limiters[0].spend(ANN, "read")
    assert spent is not None
    assert (spent.limit, spent.left) == (50, 49)
    await allowed(limiters[0], ANN, 49, "read")
    with pytest.raises(errors.ResourceExhausted) as refused:
        await limiters[0].spend(ANN, "read")
    assert 55 <= (refused.value.facts.retry_after or 0) <= 61


async def test_nobody_without_a_limit_is_counted(limiters: list[RateLimiter], redis: "aioredis.Redis") -> None:
    for who in (Principal("acme", "dev"), Principal("acme", "free", credential_id="k9", tier="free")):
        assert await limiters[0].spend(who, "read") is None
    assert await redis.keys("soma:limit:*") == []


async def test_a_tier_that_the_settings_lost_is_the_strictest(limiters: list[RateLimiter]) -> None:
    lost = Principal("acme", "ann", credential_id="k1", tier="gone")
    assert await allowed(limiters[0], lost, 60) == 50


async def test_calls_that_come_together_share_a_round_trip(redis: "aioredis.Redis") -> None:
    limiter = RateLimiter(TIERS, SharedCounters(redis))
    await limiter.spend(ANN, "read")
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert await allowed(limiter, ANN, 40, "read") == 40
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert after - before <= 2
    await limiter.close()


async def test_without_redis_a_process_counts_alone() -> None:
    async with open_client("redis://127.0.0.1:1") as away:
        limiter = RateLimiter(TIERS, SharedCounters(away))
        assert await allowed(limiter, ANN, 60) == 50
        await limiter.close()


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 30)), min_size=1, max_size=60), st.integers(1, 40))
def test_no_minute_has_more_requests_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    counters, now, made = LocalCounters(), 1_000.0, list[tuple[float, int]]()
    for pause, wanted in steps:
        now += pause
        counted = counters.count([Counter("k", limit)], wanted, now)
        assert 0 <= counted.allowed <= wanted
        made.append((now, counted.allowed))
        assert sum(count for time, count in made if time > now - 60) <= limit
        if counted.allowed < wanted:
            assert 0 < counted.wait <= 61


async def test_the_shared_count_and_the_local_one_agree(redis: "aioredis.Redis") -> None:
    shared, local = SharedCounters(redis), LocalCounters()
    counters = [Counter("a", 30), Counter("b", 20)]
    for wanted in (5, 10, 8, 1, 3):
        seconds, _ = await redis.time()
        ours = local.count(counters, wanted, float(seconds))
        theirs = await shared.count(counters, wanted)
        assert (theirs.allowed, theirs.left) == (ours.allowed, ours.left)
