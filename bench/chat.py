"""Chat completions: requests per second on 32 connections, and the latency added on one."""

import statistics

from bench.environment import Environment
from bench.stack import chat_body, cost, serve_ms, serve_row
from bench.table import Row
from bench.upstream import answer
from bench.wrk import Load, wrk

ROUNDS = 3
CONNECTIONS = 32
PEER_LIMIT = 15
BODY = chat_body("instant")
EXPECTED = answer("instant")


async def throughput(environment: Environment) -> list[Row]:
    """Run rounds on this stack and on the peer in turn, and compare their medians."""
    stack, peer = await environment.stack(), await environment.litellm()
    await load(peer.port, peer.key, seconds=2)
    await load(stack.port, stack.key, seconds=2)
    here: list[Load] = []
    there: list[Load] = []
    costs: list[str] = []
    serve: list[float] = []
    for _ in range(ROUNDS):
        there.append(await load(peer.port, peer.key))
        before, used = await stack.usage(), stack.processor_seconds()
        here.append(await load(stack.port, stack.key))
        spent = stack.processor_seconds()
        costs.append(cost(used, spent, here[-1].requests))
        serve.append(serve_ms(used, spent, here[-1].requests))
        written = (await stack.usage()).since(before)
        # Requests in progress when wrk stops are in the ledger too.
        if not here[-1].requests <= written.finished <= here[-1].requests + CONNECTIONS:
            raise RuntimeError(f"{here[-1].requests} answers, {written.finished} usage records")
    ours, theirs = (statistics.median(each.rate for each in loads) for loads in (here, there))
    print("processor ms a request:", "; ".join(costs))
    return [
        Row(
            "chat completions, 32 connections",
            f"{ours:,.0f} req/s (p99 {statistics.median(each.p99_ms for each in here):.0f} ms)",
            f"{theirs:,.0f} req/s LiteLLM",
            f"{ours / theirs:.1f}×",
            f"≥ {PEER_LIMIT}×",
            ours >= PEER_LIMIT * theirs,
        ),
        serve_row("a chat completion of one word", serve, 0.55),
    ]


async def added_latency(environment: Environment) -> list[Row]:
    """The median on one connection, minus the median of the upstream alone."""
    stack, peer, upstream = await environment.stack(), await environment.litellm(), await environment.upstream()
    alone: list[float] = []
    here: list[float] = []
    there: list[float] = []
    for _ in range(ROUNDS):
        alone.append((await load(upstream, "none", 1, 2)).median_ms)
        here.append((await load(stack.port, stack.key, 1, 3)).median_ms)
        there.append((await load(peer.port, peer.key, 1, 3)).median_ms)
    base, ours, theirs = (statistics.median(values) for values in (alone, here, there))
    return [
        Row(
            "latency added at one connection",
            f"{ours - base:.2f} ms",
            f"{theirs - base:.2f} ms LiteLLM",
            f"{(theirs - base) / (ours - base):.1f}× less",
            "≤ 2.5 ms",
            ours - base <= 2.5,
        )
    ]


async def load(port: int, key: str, connections: int = CONNECTIONS, seconds: int = 6, model: str = "instant") -> Load:
    """Load a server with chat completions; every answer must be that of the upstream."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    return await wrk(url, chat_body(model), answer(model), key=key, connections=connections, seconds=seconds)
