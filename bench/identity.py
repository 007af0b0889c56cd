"""What it costs to know who calls: the checks of a known key, a key's first sight, and a chat with a counted key."""

import asyncio
import http.client
import json
import statistics
import time
from typing import Any, cast

import redis.asyncio as aioredis
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1.principal_pb2 import Principal as PrincipalMessage

from bench.chat import load
from bench.environment import COUNTED, TIERS, Environment
from bench.stack import Stack, cost, serve_ms
from bench.table import Row
from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import PrincipalCache
from services.mesh.call import api_key
from services.mesh.limits.counter import SharedCounters
from services.mesh.limits.limiter import RateLimiter

ROUNDS = 5
CALLS, AT_ONCE = 20_000, 32
KEYS = 60
SECONDS = 5
CHECKS_US, FIRST_SIGHT_MS, CHAT = 60, 3.0, 1.15
SCOPE = "execute:chat"


async def measure(environment: Environment) -> list[Row]:
    """Measure the checks in this process, and the rest on the stack."""
    stack = await environment.stack()
    return [*await _checks(stack), await _first_sight(stack), await _chat(stack)]


async def _checks(stack: Stack) -> list[Row]:
    """The processor time of authentication, limit and scope with a known key, with and without Redis."""
    alone: list[float] = []
    shared: list[float] = []
    async with aioredis.Redis.from_url(stack.redis) as client:
        for _ in range(ROUNDS):
            alone.append(await _round(None))
            shared.append(await _round(SharedCounters(client)))
    here, with_redis = (statistics.median(found) for found in (alone, shared))
    return [
        Row(
            "authentication, limit and scope with a known key",
            f"{here:.1f} µs",
            f"{with_redis:.1f} µs with Redis's shared round trips",
            f"{with_redis / here:.1f}×",
            f"≤ {CHECKS_US} µs",
            here <= CHECKS_US,
        )
    ]


class _Identity:
    """Answers as identity does, for one key."""

    async def Authenticate(self, request: pb.AuthenticateRequest, timeout: float) -> pb.AuthenticateResponse:
        principal = PrincipalMessage(
            tenant_id="bench", subject="bench", scopes=["execute:*"], credential_id="bench", tier=COUNTED
        )
        return pb.AuthenticateResponse(principal=principal)


async def _round(shared: SharedCounters | None) -> float:
    """Processor µs of the checks of one call, of many on several tasks at once."""
    cache = PrincipalCache(time.monotonic)
    authenticator = CachedAuthenticator(cast(Any, _Identity()), cache, None)
    limiter = RateLimiter(TIERS, shared)
    header = f"Bearer {api_key.make().text}"

    async def calls(number: int) -> None:
        for _ in range(number):
            who = await authenticator.authenticate(header, None)
            await limiter.spend(who, "execute")
            assert who.allows(SCOPE)

    await calls(100)
    began = time.process_time()
    await asyncio.gather(*(calls(CALLS // AT_ONCE) for _ in range(AT_ONCE)))
    spent = time.process_time() - began
    await limiter.close()
    await authenticator.close()
    return spent / CALLS * 1e6


async def _first_sight(stack: Stack) -> Row:
    """By how much the first request with a key takes longer than the next one, over one connection."""
    firsts, seconds = await asyncio.to_thread(_with_new_keys, stack)
    first, second = statistics.median(firsts), statistics.median(seconds)
    return Row(
        "first sight of a key",
        f"{first - second:.2f} ms",
        f"{second:.2f} ms a request with a known key",
        "",
        f"≤ {FIRST_SIGHT_MS:g} ms",
        first - second <= FIRST_SIGHT_MS,
    )


def _with_new_keys(stack: Stack) -> tuple[list[float], list[float]]:
    """The ms of the first and the second request with each of several keys."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    firsts: list[float] = []
    seconds: list[float] = []
    try:
        for _ in range(KEYS):
            key = _new_key(connection, stack, COUNTED)
            for found in (firsts, seconds):
                began = time.perf_counter()
                _send(connection, "GET", "/v1/models", key)
                found.append((time.perf_counter() - began) * 1000)
    finally:
        connection.close()
    return firsts, seconds


def _new_key(connection: http.client.HTTPConnection, stack: Stack, tier: str) -> str:
    """The key of a new service account with all scopes."""
    asked = {"name": f"bench-{time.time_ns()}", "scopes": ["*"], "tier": tier}
    key: str = _send(connection, "POST", "/v1/service-accounts", stack.key, asked)["api_key"]
    return key


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, key: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    with connection.getresponse() as reply:
        answer: dict[str, Any] = json.load(reply)
        if reply.status != 200:
            raise RuntimeError(f"{method} {path} answered {reply.status}: {answer}")
    return answer


async def _chat(stack: Stack) -> Row:
    """Chat completions with a key that is looked up and counted beside those with the development key, which is not."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    try:
        counted = await asyncio.to_thread(_new_key, connection, stack, COUNTED)
    finally:
        connection.close()
    spent: dict[str, list[float]] = {stack.key: [], counted: []}
    for round_ in range(-1, ROUNDS):
        for key, found in spent.items():
            before = stack.processor_seconds()
            answers = (await load(stack.port, key, seconds=SECONDS)).requests
            after = stack.processor_seconds()
            print(f"processor ms {'counted' if key == counted else 'uncounted'}: {cost(before, after, answers)}")
            # The first round warms up.
            if round_ >= 0:
                found.append(serve_ms(before, after, answers))
    free, paid = (statistics.median(spent[key]) for key in (stack.key, counted))
    return Row(
        "processor time of serve, a chat with a key that is counted, 32 connections",
        f"{paid:.3f} ms",
        f"{free:.3f} ms with the development key",
        f"{paid / free:.2f}×",
        f"≤ {CHAT}×",
        paid <= CHAT * free,
    )
