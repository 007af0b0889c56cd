"""SmolLM2 through the mesh, beside its process directly: tokens a second at one and at eight requests at once."""

import asyncio
import json
import statistics
import time

import httpx

from bench.environment import Environment
from bench.stack import Stack
from bench.table import Row
from services.mesh.process.keys import read_key

MODEL = "smollm2-135m-instruct"
TOKENS = 96
ROUNDS = 3
AT_ONCE = (1, 8)
LEAST_SHARE = 0.95
# Every answer has as many tokens, so that both sides have the same work.
BODY = {
    "messages": [{"role": "user", "content": "Tell a story about a lighthouse."}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "seed": 1,
    "stream": True,
    "stream_options": {"include_usage": True},
}


async def measure(environment: Environment) -> list[Row]:
    """Ask both in turn, and compare the medians."""
    stack = await environment.stack()
    await environment.end_litellm()
    rows = []
    direct = f"http://127.0.0.1:{stack.port_of('llm')}"
    key = read_key(stack.folder / "llm" / "key")
    # The first request starts the process and loads the model.
    await rate(direct, key, 1)
    await stack.look()
    for at_once in AT_ONCE:
        here: list[float] = []
        there: list[float] = []
        for _ in range(ROUNDS):
            there.append(await rate(direct, key, at_once))
            here.append(await rate(f"http://127.0.0.1:{stack.port}", stack.key, at_once))
        ours, theirs = statistics.median(here), statistics.median(there)
        rows.append(
            Row(
                f"SmolLM2, {at_once} at once",
                f"{ours:.0f} tokens/s",
                f"{theirs:.0f} tokens/s its process directly",
                f"{ours / theirs:.2f}×",
                f"≥ {LEAST_SHARE}×",
                ours >= LEAST_SHARE * theirs,
            )
        )
    return rows


async def rate(url: str, key: str, at_once: int, model: str = MODEL) -> float:
    """Tokens a second of so many streams of a model at once.

    Raises:
        RuntimeError: an answer has fewer tokens.
    """
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=600.0) as http:
        began = time.perf_counter()
        counts = await asyncio.gather(*(tokens(http, model) for _ in range(at_once)))
        took = time.perf_counter() - began
    if set(counts) != {TOKENS}:
        raise RuntimeError(f"answers of {sorted(set(counts))} tokens instead of {TOKENS}")
    return sum(counts) / took


async def tokens(http: httpx.AsyncClient, model: str = MODEL) -> int:
    """The tokens of one streamed answer."""
    found = 0
    async with http.stream("POST", "/v1/chat/completions", json={**BODY, "model": model}) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and (usage := json.loads(line.removeprefix("data: ")).get("usage")):
                found = usage["completion_tokens"]
    return found


async def memory_used(stack: Stack) -> tuple[int, int]:
    """The memory of all parts before and after the part `llm` was used, in bytes."""
    before = stack.memory()["all"]
    await rate(f"http://127.0.0.1:{stack.port}", stack.key, 1)
    await stack.look()
    return before, stack.memory()["all"]
