"""Chat at half of what the stack can do, for a long time: memory stays where it is, and nothing fails."""

import asyncio
import statistics
import time

from bench.chat import BODY, CONNECTIONS, EXPECTED
from bench.stack import Stack
from bench.table import Row
from bench.workplace import Workplace
from bench.wrk import Load, wrk
from services.mesh.outbox import MAX_LENGTH

SAMPLE_SECONDS = 15
SAMPLES_A_MINUTE = 60 // SAMPLE_SECONDS
# Events of usage are kept up to a number, and so are logs, which fill sooner, and Postgres's buffers.
FILL_SECONDS = 900
# Before the second minute pools fill.
FIRST = slice(SAMPLES_A_MINUTE, 3 * SAMPLES_A_MINUTE)
LAST = slice(-SAMPLES_A_MINUTE, None)
LEAST_MINUTES = 4
MOST_GROWTH = 0.05
ALL = "all"


async def measure(place: Workplace) -> list[Row]:
    """A sample of memory every 15 seconds; the mean of the second and third minute beside that of the last."""
    stack = await place.stack()
    most = await _fill(stack)
    wanted = most / 2
    pause = CONNECTIONS / wanted - CONNECTIONS / most
    before, answers = await stack.usage(), 0
    samples: list[dict[str, int]] = []
    rates: list[float] = []
    began = time.monotonic()
    for _ in range(place.soak_minutes * SAMPLES_A_MINUTE):
        load = await _load(stack, SAMPLE_SECONDS, pause)
        # A connection's turn is a rest and an answer; half of what it is too short or too long, as answers vary.
        pause = max(0.0, pause + (CONNECTIONS / wanted - CONNECTIONS / load.rate) / 2)
        answers += load.requests
        rates.append(load.rate)
        samples.append(stack.memory())
        told = " ".join(f"{part} {size / 1e6:.1f}" for part, size in sorted(samples[-1].items()))
        print(
            f"  {time.monotonic() - began:4.0f} s: {load.rate:,.0f} req/s, p99 {load.p99_ms:.0f} ms, MB: {told}",
            flush=True,
        )
    written = (await stack.usage()).since(before)
    # A request in flight when wrk stops is written as well, by how it ended.
    if not answers <= written.finished + written.other <= answers + CONNECTIONS * len(samples):
        raise RuntimeError(f"{answers} answers, and in the ledger {written}")
    first, last = _mean(samples[FIRST]), _mean(samples[LAST])
    growth = {part: last[part] / first[part] - 1 for part in first}
    print(
        "growth:", " ".join(f"{part} {share:+.1%}" for part, share in sorted(growth.items(), key=lambda item: -item[1]))
    )
    rate = statistics.mean(rates)
    return [
        Row(
            f"memory of all processes after {place.soak_minutes} min of chat",
            f"{last[ALL] / 1e6:.0f} MB, {growth[ALL]:+.1%}",
            f"{first[ALL] / 1e6:.0f} MB in its third minute",
            f"{rate:,.0f} req/s of {most:,.0f}, none failed",
            f"≤ +{MOST_GROWTH:.0%}",
            growth[ALL] <= MOST_GROWTH,
        )
    ]


async def _fill(stack: Stack) -> float:
    """Chat as fast as can be until what is kept up to a bound has reached it; answers a second."""
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


def _mean(samples: list[dict[str, int]]) -> dict[str, float]:
    return {part: statistics.mean(sample[part] for sample in samples) for part in samples[0]}
