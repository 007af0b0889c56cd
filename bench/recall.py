"""Recalls of one key: REST through the transcoder here, and FastAPI with asyncpg as the peer, on the same row."""

import asyncio
import statistics

from bench.environment import FOLDER, Environment
from bench.lookup import lookup
from bench.programs import free_port, processor_seconds_of
from bench.stack import Stack, cost, post
from bench.table import Row
from bench.wrk import Load, wrk

ROUNDS = 3
CONNECTIONS = 32
KEY = "bench/the answer"
# The value is stored as metadata too, so that the peer finds it as JSON in the row.
FACT = {"text": "The answer is forty-two.", "checked": True}
EXPECTED = FACT["text"]


async def measure(environment: Environment) -> list[Row]:
    """Run rounds on this stack and on the peer in turn; each answer must hold the stored value."""
    stack = await environment.stack()
    await remember(stack)
    async with lookup(FOLDER / "lookup.log", free_port(), stack.database) as peer:
        await load(peer.port, "none", seconds=2)
        await load(stack.port, stack.key, seconds=2)
        here: list[Load] = []
        there: list[Load] = []
        costs: list[str] = []
        for _ in range(ROUNDS):
            peer_used = processor_seconds_of(peer.pid)
            there.append(await load(peer.port, "none"))
            peer_cost = (processor_seconds_of(peer.pid) - peer_used) / there[-1].requests * 1000
            before = stack.processor_seconds()
            here.append(await load(stack.port, stack.key))
            costs.append(f"{cost(before, stack.processor_seconds(), here[-1].requests)}, FastAPI {peer_cost:.2f}")
    ours, theirs = (statistics.median(load.rate for load in loads) for loads in (here, there))
    print("processor ms a recall:", "; ".join(costs))
    return [
        Row(
            "recall of one key over REST, 32 connections",
            f"{ours:,.0f} req/s (p99 {statistics.median(load.p99_ms for load in here):.0f} ms)",
            f"{theirs:,.0f} req/s FastAPI and asyncpg, without authentication",
            f"{ours / theirs:.2f}×",
            "≥ 1,500 req/s",
            ours >= 1_500,
        )
    ]


async def remember(stack: Stack) -> None:
    """Store the value that is recalled."""
    fact = {"key": KEY, "value": FACT, "metadata": FACT}
    await asyncio.to_thread(post, stack.port, stack.key, "/v1/remember", fact)


async def load(port: int, key: str, seconds: int = 6) -> Load:
    """Recall it for some seconds."""
    url = f"http://127.0.0.1:{port}/v1/recall/{KEY.replace(' ', '%20')}"
    return await wrk(url, b"", str(EXPECTED), key=key, connections=CONNECTIONS, seconds=seconds)
