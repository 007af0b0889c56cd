"""Deltas of the upstream delivered per second: 16 connections, 64 deltas in each streamed answer."""

import json
import statistics
import sys

from bench.environment import Environment
from bench.programs import output
from bench.reader import Reading
from bench.stack import cost, serve_ms, serve_row
from bench.table import Row

ROUNDS = 3
CONNECTIONS = 16
SECONDS = 6


async def measure(environment: Environment) -> list[Row]:
    """Run rounds on this stack and on the peer in turn, and compare every answer with that of the upstream."""
    stack, peer = await environment.stack(), await environment.litellm()
    await read(peer.port, peer.key, 2)
    await read(stack.port, stack.key, 2)
    here: list[Reading] = []
    there: list[Reading] = []
    serve: list[float] = []
    for _ in range(ROUNDS):
        there.append(await read(peer.port, peer.key))
        before, used = await stack.usage(), stack.processor_seconds()
        here.append(await read(stack.port, stack.key))
        spent = stack.processor_seconds()
        print("processor ms an answer:", cost(used, spent, here[-1].answers))
        serve.append(serve_ms(used, spent, here[-1].answers))
        written = (await stack.usage()).since(before)
        if (written.finished, written.other) != (here[-1].answers, 0):
            raise RuntimeError(f"{here[-1].answers} answers, and in the ledger {written}")
    ours, theirs = (statistics.median(reading.rate for reading in readings) for readings in (here, there))
    first, merged = (statistics.median(reading.first_ms for reading in here), here[-1].events / here[-1].answers)
    print(f"an answer of 64 deltas came in {merged:.1f} pieces, the first after {first:.1f} ms")
    return [
        Row(
            "SSE deltas delivered, 16 connections × 64",
            f"{ours:,.0f} /s",
            f"{theirs:,.0f} /s LiteLLM",
            f"{ours / theirs:.1f}×",
            "≥ 15,000 /s",
            ours >= 15_000,
        ),
        serve_row("a streamed answer of 64 deltas", serve, 1.0),
    ]


async def read(port: int, key: str, seconds: int = SECONDS) -> Reading:
    """Read streamed answers of a server; every answer must be that of the upstream, and complete.

    Raises:
        RuntimeError: an answer was wrong or cut.
    """
    command = [sys.executable, "-m", "bench.reader", str(port), key, str(CONNECTIONS), str(seconds)]
    reading = Reading(**json.loads(await output(command, seconds + 60)))
    if reading.wrong:
        raise RuntimeError(f"{reading.wrong} answers of {reading.wrong + reading.answers} were wrong or cut")
    return reading
