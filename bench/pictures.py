"""Messages with a picture of 1 MiB on eight connections: requests per second, and the memory that they need."""

import asyncio
import json
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench import pixels
from bench.environment import Environment
from bench.pixels import NUMBER
from bench.stack import Stack, cost, post
from bench.table import Row
from bench.upstream import DATA_URL, answer
from bench.wrk import Load, wrk

ROUNDS = 3
CONNECTIONS = 8
SECONDS = 5
MODEL = "instant-picture"
RATE = 150
# Memory of serve for each byte of the encoded pictures in progress.
COPIES = 3
SAMPLE_SECONDS = 0.1
PARTS = ("serve", "envoy")


async def measure(environment: Environment) -> list[Row]:
    """Load the stack in rounds. The upstream answers only if the picture arrived as it was sent."""
    stack = await environment.stack()
    body = _body()
    # So that what is not for pictures has its memory already.
    for _ in range(20):
        await asyncio.to_thread(post, stack.port, stack.key, "/v1/chat/completions", json.loads(_body(picture=False)))
    loads: list[Load] = []
    before = {part: stack.memory_of(part) for part in PARTS}
    async with _highest_memory(stack) as highest:
        for _ in range(ROUNDS):
            used = stack.processor_seconds()
            url = f"http://127.0.0.1:{stack.port}/v1/chat/completions"
            expected = answer(MODEL)
            loads.append(
                await wrk(url, body, expected, key=stack.key, connections=CONNECTIONS, seconds=SECONDS, counted=NUMBER)
            )
            print("processor ms a picture:", cost(used, stack.processor_seconds(), loads[-1].requests))
    rate = statistics.median(load.rate for load in loads)
    grown = {part: (highest[part] - before[part]) / 1e6 for part in PARTS}
    in_flight = CONNECTIONS * len(body) / 1e6
    return [
        Row(
            f"messages with a picture of 1 MiB, {CONNECTIONS} connections",
            f"{rate:,.0f} req/s (p99 {statistics.median(load.p99_ms for load in loads):.0f} ms)",
            "",
            "",
            f"≥ {RATE} req/s",
            rate >= RATE,
        ),
        Row(
            "memory that serve grew by meanwhile",
            f"{grown['serve']:.0f} MB, and Envoy {grown['envoy']:.0f} MB",
            f"{in_flight:.0f} MB of encoded pictures in progress",
            f"{grown['serve'] / in_flight:.1f}×",
            f"≤ {COPIES}×",
            grown["serve"] <= COPIES * in_flight,
        ),
    ]


def _body(*, picture: bool = True) -> bytes:
    """A chat completion request whose message has a text, and the picture after it, both with the picture's number."""
    content: list[dict[str, object]] = [{"type": "text", "text": f"What is {NUMBER}?"}]
    if picture:
        content.append({"type": "image_url", "image_url": {"url": f"{DATA_URL}{pixels.picture()}{NUMBER}"}})
    model = MODEL if picture else "instant"
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()


@asynccontextmanager
async def _highest_memory(stack: Stack) -> AsyncIterator[dict[str, int]]:
    """The highest memory that each part had during a block, in bytes."""
    highest = dict.fromkeys(PARTS, 0)

    async def sample() -> None:
        while True:
            for part in PARTS:
                highest[part] = max(highest[part], await asyncio.to_thread(stack.memory_of, part))
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample())
    try:
        yield highest
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
