"""Texts per second of the embedder, by precision, batch size and number of callers.

    python -m bench.embeddings [--directory DIR] [--seconds S]

It prints the rate by the clock, and the rate of two free cores, calculated from the processor time: the two differ if
other programs run on the machine. The longest pause is the largest delay of a 5 ms timer in the same event loop.
"""

import argparse
import asyncio
import random
import time
from itertools import count
from pathlib import Path
from typing import Literal

import psutil
import uvloop

from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings

WORDS = [
    *("order", "return", "policy", "deploy", "service", "memory", "agent", "tool", "chat", "model", "rate", "limit"),
    *("user", "request", "data", "invoice", "shipping", "refund", "password", "account", "cluster", "database"),
]
# Texts in a call, and callers at the same time.
LOADS = ((1, 1), (1, 64), (8, 8), (32, 4), (100, 2), (1000, 1))


def sentence(random_: random.Random) -> str:
    """A text of 8 to 12 tokens, with the start and end tokens."""
    return " ".join(random_.choices(WORDS, k=random_.randint(6, 10)))


async def longest_pause(stop: asyncio.Event) -> float:
    """The largest delay of a 5 ms timer until `stop`, in seconds."""
    worst = 0.0
    while not stop.is_set():
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        worst = max(worst, time.perf_counter() - before - 0.005)
    return worst


async def measure(embedder: MiniLm, texts: int, callers: int, seconds: float) -> str:
    """One line of the table."""
    random_ = random.Random(1)
    corpus = [sentence(random_) for _ in range(4000)]
    done = tokens = 0
    latencies: list[float] = []
    starts = count()

    async def caller() -> None:
        nonlocal done, tokens
        while time.perf_counter() < end:
            start = next(starts) * texts % (len(corpus) - texts + 1)
            before = time.perf_counter()
            found = await embedder.embed(corpus[start : start + texts])
            latencies.append(time.perf_counter() - before)
            done += texts
            tokens += int(found.tokens.sum())

    stop = asyncio.Event()
    pause = asyncio.create_task(longest_pause(stop))
    began, used = time.perf_counter(), time.process_time()
    end = began + seconds
    await asyncio.gather(*(caller() for _ in range(callers)))
    wall, used = time.perf_counter() - began, time.process_time() - used
    stop.set()
    latencies.sort()
    return (
        f"{texts:>5} {callers:>8} {done / wall:>10,.0f} {2 * done / used:>12,.0f} {tokens / done:>8.1f}"
        f" {latencies[len(latencies) // 2] * 1000:>8.1f} {await pause * 1000:>8.1f}"
    )


async def main(directory: Path, seconds: float) -> None:
    """Print the table."""
    process = psutil.Process()
    precisions: tuple[Literal["int8", "fp32"], ...] = ("int8", "fp32")
    for precision in precisions:
        embedder = MiniLm(EmbeddingSettings(directory=directory, precision=precision))
        resident = process.memory_info().rss
        before = time.perf_counter()
        await embedder.load()
        loaded = time.perf_counter() - before
        await embedder.embed(["warm"])
        print(f"{precision}: loaded in {loaded:.2f} s, +{(process.memory_info().rss - resident) / 1e6:.0f} MB resident")
        print("texts  callers    texts/s  two cores/s  tokens   p50 ms  pause ms")
        for texts, callers in LOADS:
            print(await measure(embedder, texts, callers, seconds))
        print(f"after all of it +{(process.memory_info().rss - resident) / 1e6:.0f} MB resident")
        await embedder.close()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--directory", type=Path, default=Path(".somamesh/models"))
    arguments.add_argument("--seconds", type=float, default=3.0)
    given = arguments.parse_args()
    uvloop.run(main(given.directory, given.seconds))
