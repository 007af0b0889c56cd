"""A long chat load at half of the stack's maximum rate: memory must not grow, and no request may fail."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from bench.chat import BODY, CONNECTIONS, EXPECTED
from bench.environment import Environment
from bench.stack import Stack
from bench.table import Row
from bench.wrk import Load, wrk
from services.mesh.events.stream import MAX_LENGTH

SAMPLE_SECONDS = 15
SAMPLES_A_MINUTE = 60 // SAMPLE_SECONDS
# The streams of usage events and of logs have a maximum length. The logs reach it first.
FILL_SECONDS = 900
# Postgres has a fixed number of buffers. A buffer counts as memory after an open connection has used it, so this uses
# all of them: each row takes one buffer.
TOUCH_BUFFERS = """
    CREATE UNLOGGED TABLE touched (page text);
    ALTER TABLE touched ALTER COLUMN page SET STORAGE PLAIN;
    INSERT INTO touched SELECT repeat('x', 7900)
    FROM generate_series(1, 1000 + pg_size_bytes(current_setting('shared_buffers')) / 8192);
    DROP TABLE touched;
"""
# The first minute is left out, because connection pools fill then.
FIRST = slice(SAMPLES_A_MINUTE, 3 * SAMPLES_A_MINUTE)
LAST = slice(-SAMPLES_A_MINUTE, None)
LEAST_MINUTES = 4
MOST_GROWTH = 0.05
ALL = "all"


@dataclass(frozen=True)
class Sample:
    """A sample of fifteen seconds: the answers per second, and the memory of each part at the end, in bytes."""

    rate: float
    memory: Mapping[str, int]


async def measure(environment: Environment) -> list[Row]:
    """Sample the memory every 15 seconds, and compare the mean of minutes 2 and 3 with that of the last minute."""
    stack = await environment.stack()
    database = await asyncpg.connect(stack.database)
    try:
        await database.execute(TOUCH_BUFFERS)
        most = await _fill(stack)
        samples = await _soak(stack, most / 2, environment.soak_minutes * SAMPLES_A_MINUTE)
    finally:
        await database.close()
    first, last = _mean(samples[FIRST]), _mean(samples[LAST])
    growth = {part: last[part] / first[part] - 1 for part in first}
    ranked = sorted(growth.items(), key=lambda grown: -grown[1])
    print("growth:", " ".join(f"{part} {share:+.1%}" for part, share in ranked))
    return [
        Row(
            f"memory of all processes after {environment.soak_minutes} min of chat",
            f"{last[ALL] / 1e6:.0f} MB, {growth[ALL]:+.1%}",
            f"{first[ALL] / 1e6:.0f} MB after two",
            f"{statistics.mean(sample.rate for sample in samples):,.0f} of {most:,.0f} req/s, none failed",
            f"≤ +{MOST_GROWTH:.0%}",
            growth[ALL] <= MOST_GROWTH,
        )
    ]


async def _soak(stack: Stack, wanted: float, count: int) -> list[Sample]:
    """Take `count` samples at `wanted` answers per second."""
    before, answers = await stack.usage(), 0
    samples: list[Sample] = []
    pause = CONNECTIONS / wanted / 2
    began = time.monotonic()
    for _ in range(count):
        load = await _load(stack, SAMPLE_SECONDS, pause)
        # A connection's cycle is a pause and an answer. The pause is corrected by half of the error, because answers
        # vary.
        pause = max(0.0, pause + (CONNECTIONS / wanted - CONNECTIONS / load.rate) / 2)
        answers += load.requests
        samples.append(Sample(load.rate, stack.memory()))
        sizes = " ".join(f"{part} {size / 1e6:.1f}" for part, size in sorted(samples[-1].memory.items()))
        passed = time.monotonic() - began
        print(f"  {passed:4.0f} s: {load.rate:,.0f} req/s, p99 {load.p99_ms:.0f} ms, MB: {sizes}", flush=True)
    written = (await stack.usage()).since(before)
    # Requests in progress when wrk stops are in the ledger too.
    if not answers <= written.finished + written.other <= answers + CONNECTIONS * (count + 1):
        raise RuntimeError(f"{answers} answers, and in the ledger {written}")
    return samples


async def _fill(stack: Stack) -> float:
    """Chat at full rate until the streams have their maximum length; return the answers per second."""
    rates: list[float] = []
    async with asyncio.timeout(FILL_SECONDS):
        while not rates or await stack.events() < MAX_LENGTH:
            rates.append((await _load(stack, SAMPLE_SECONDS)).rate)
            print(f"  filling: {rates[-1]:,.0f} req/s, {await stack.events():,} of {MAX_LENGTH:,} events", flush=True)
    return statistics.median(rates)


async def _load(stack: Stack, seconds: int, pause: float = 0.0) -> Load:
    url = f"http://127.0.0.1:{stack.port}/v1/chat/completions"
    rest = round(pause * 1000)
    return await wrk(url, BODY, EXPECTED, key=stack.key, connections=CONNECTIONS, seconds=seconds, pause_ms=rest)


def _mean(samples: Sequence[Sample]) -> dict[str, float]:
    return {part: statistics.mean(sample.memory[part] for sample in samples) for part in samples[0].memory}
