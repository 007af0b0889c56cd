"""Models on Triton beside the same models without it, on the same machine: vectors, the cost of a call, and memory."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import psutil
from tritonclient.grpc import InferInput

from bench.embeddings import sentence
from bench.environment import FOLDER, Environment
from bench.table import Row
from cli.parts.triton import Triton
from cli.status import State
from cli.supervisor import Supervisor
from services.mesh.testing.waiting import until
from services.model.adapters.triton.embedder import TritonEmbedder
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.stream import Stream
from services.model.adapters.triton.vectors import vectors
from services.model.adapters.upstream import Patience
from services.model.embedding.embedder import Embedder
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings

ROUNDS = 5
SECONDS = 4.0
# Texts in a call, and callers at the same time.
TEXTS, CALLERS = 32, 4
CALLS = 400
STREAMS, FIRST, BESIDE = 10_000, 1_000, 16
START_SECONDS = 120.0


async def measure(_environment: Environment) -> list[Row]:
    """Start a Triton, and measure with it and without it in turn."""
    embedding = EmbeddingSettings(directory=FOLDER / "models")
    own = MiniLm(embedding)
    await own.load()
    try:
        async with _triton(embedding) as (server, settings, pid):
            there = TritonEmbedder(server, own, settings)
            await there.look()
            await there.check()
            return [await _rates(own, there), await _added(server), await _memory(server, pid)]
    finally:
        await own.close()


@asynccontextmanager
async def _triton(embedding: EmbeddingSettings) -> AsyncIterator[tuple[Server, TritonSettings, int]]:
    folder = FOLDER / "triton"
    folder.mkdir(parents=True, exist_ok=True)
    part = Triton(folder, TritonSettings(), embedding)
    supervisor = Supervisor([part], FOLDER / "logs")
    server = Server(settings := TritonSettings(url=part.url))
    try:
        await supervisor.start()
        await until(lambda: supervisor.statuses[0].state is State.READY, seconds=START_SECONDS)
        pid = supervisor.statuses[0].pid
        assert pid is not None
        yield server, settings, pid
    finally:
        await server.close()
        await supervisor.stop()


async def _rates(own: Embedder, there: Embedder) -> Row:
    rates: dict[str, list[float]] = {"own": [], "triton": []}
    for _ in range(ROUNDS):
        rates["own"].append(await _rate(own))
        rates["triton"].append(await _rate(there))
    here, peer = (statistics.median(rates[name]) for name in ("triton", "own"))
    return Row(
        f"vectors through Triton, {CALLERS} callers with {TEXTS} texts",
        f"{here:,.0f} texts/s",
        f"{peer:,.0f} texts/s in the process",
        f"{here / peer:.2f}×",
        "≥ 0.8×",
        here / peer >= 0.8,
    )


async def _rate(embedder: Embedder) -> float:
    random_ = random.Random(1)
    corpus = [sentence(random_) for _ in range(2000)]
    done, begin = 0, 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal done, begin
        while time.perf_counter() < began + SECONDS:
            begin = (begin + TEXTS) % (len(corpus) - TEXTS)
            await embedder.embed(corpus[begin : begin + TEXTS])
            done += TEXTS

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.perf_counter() - began)


async def _added(server: Server) -> Row:
    """What the provider adds to a call of Triton's client: both are made in turn."""
    plain, ours = [], []
    for _ in range(CALLS):
        began = time.perf_counter()
        tensor = InferInput("TEXT", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[b"a text"]], np.object_))
        (await server.client.infer("embedder", [tensor])).as_numpy("VECTOR")
        middle = time.perf_counter()
        await vectors(server, "embedder", ["a text"], 64, 10.0)
        plain.append(middle - began)
        ours.append(time.perf_counter() - middle)
    client, provider = (statistics.median(times) * 1000 for times in (plain, ours))
    return Row(
        "a call of the provider, one text, median",
        f"{provider:.2f} ms",
        f"{client:.2f} ms by Triton's client",
        f"+{provider - client:.2f} ms",
        "≤ +1 ms",
        provider - client <= 1.0,
    )


async def _memory(server: Server, pid: int) -> Row:
    stream = Stream(server, Patience())
    body = {"stream": True, "max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}
    numbers = iter(range(STREAMS))
    done, first = 0, 0.0

    async def callers() -> None:
        nonlocal done, first
        for number in numbers:
            answer = stream.stream("slm", body, {})
            async for _ in answer:
                if number % 2:
                    break
            await answer.aclose()
            done += 1
            if done == FIRST:
                first = _mebibytes(pid)

    await asyncio.gather(*(callers() for _ in range(BESIDE)))
    last = _mebibytes(pid)
    return Row(
        f"memory of Triton over {STREAMS:,} streams, half cancelled",
        f"{last:.0f} MiB",
        f"{first:.0f} MiB after {FIRST:,}",
        f"{last - first:+.1f} MiB",
        "≤ +20 MiB",
        last - first <= 20,
    )


def _mebibytes(pid: int) -> float:
    process = psutil.Process(pid)
    return float(sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True))) / 2**20)
