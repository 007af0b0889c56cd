"""Chat at half of what the stack can do, for a long time: memory stays where it is, and nothing fails."""

import statistics
import time

from bench.chat import BODY, CONNECTIONS, EXPECTED
from bench.stack import Stack
from bench.table import Row
from bench.workplace import Workplace
from bench.wrk import Load, wrk

SAMPLE_SECONDS = 15
SAMPLES_A_MINUTE = 60 // SAMPLE_SECONDS
# Before the second minute caches and pools fill.
FIRST = slice(SAMPLES_A_MINUTE, 3 * SAMPLES_A_MINUTE)
LAST = slice(-SAMPLES_A_MINUTE, None)
LEAST_MINUTES = 4
MOST_GROWTH = 0.05
ALL = "all"


async def measure(place: Workplace) -> list[Row]:
    """A sample of memory every 15 seconds; the mean of the second and third minute beside that of the last."""
    stack = await place.stack()
    await _load(stack, seconds=5)
    most = (await _load(stack, seconds=10)).rate
    wanted = most / 2
    pause = CONNECTIONS / wanted - CONNECTIONS / most
    before, answers = await stack.usage(), 0
    samples: list[dict[str, int]] = []
    rates: list[float] = []
    began = time.monotonic()
    for _ in range(place.soak_minutes * SAMPLES_A_MINUTE):
        load = await _load(stack, SAMPLE_SECONDS, pause)
        # What is left of a connection's turn when it has rested: how long an answer takes at this rate.
        pause = max(0.0, CONNECTIONS / wanted - (CONNECTIONS / load.rate - pause))
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


async def _load(stack: Stack, seconds: int, pause: float = 0.0) -> Load:
    url = f"http://127.0.0.1:{stack.port}/v1/chat/completions"
    rest = round(pause * 1000)
    return await wrk(url, BODY, EXPECTED, key=stack.key, connections=CONNECTIONS, seconds=seconds, pause_ms=rest)


def _mean(samples: list[dict[str, int]]) -> dict[str, float]:
    return {part: statistics.mean(sample[part] for sample in samples) for part in samples[0]}
