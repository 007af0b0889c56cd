"""Models on Triton beside the same models without it, on the same machine: vectors, tokens, a call, and memory."""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import psutil
from soma.model.v1.model_service_pb2 import EmbedRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from tritonclient.grpc import InferInput

from bench import llm
from bench.embeddings import sentence
from bench.environment import FOLDER, Environment
from bench.programs import free_port
from bench.stack import Stack
from bench.table import Row
from bench.texts import contract
from cli.parts.triton import Triton
from cli.status import State
from cli.supervisor import Supervisor
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.call import run_as
from services.mesh.call.trace import new_trace
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
# Answers at a time of `slm`; the part `llm` has fewer by default.
SLOTS = "4"


async def measure(environment: Environment) -> list[Row]:
    """Start a Triton, and measure with it and without it in turn."""
    embedding = EmbeddingSettings(directory=FOLDER / "models")
    own = MiniLm(embedding)
    await own.load()
    try:
        async with running(embedding) as (server, settings, pid):
            there = TritonEmbedder(server, own, settings)
            await there.look()
            await there.check()
            return [
                await _rates(own, there),
                await _added(server),
                *await _answers(environment, settings),
                await _memory(server, pid),
            ]
    finally:
        await own.close()


@asynccontextmanager
async def running(embedding: EmbeddingSettings) -> AsyncIterator[tuple[Server, TritonSettings, int]]:
    """A Triton with its models loaded: a connection to it, the settings of others, and its process id."""
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
    mesh = contract(there)
    stub = ModelServiceStub(mesh.channel)

    async def through(texts: Sequence[str]) -> None:
        with run_as(DEV_PRINCIPAL, trace=new_trace(0.0)):
            await stub.Embed(EmbedRequest(input=texts), timeout=30)

    async def inside(texts: Sequence[str]) -> None:
        await own.embed(texts)

    rates: dict[str, list[float]] = {"own": [], "triton": []}
    for _ in range(ROUNDS):
        rates["own"].append(await _rate(inside))
        rates["triton"].append(await _rate(through))
    await mesh.channel.close()
    here, peer = (statistics.median(rates[name]) for name in ("triton", "own"))
    return Row(
        f"vectors through the contract and Triton, {CALLERS} callers with {TEXTS} texts",
        f"{here:,.0f} texts/s",
        f"{peer:,.0f} texts/s in the process",
        f"{here / peer:.2f}×",
        "≥ 0.8×",
        here / peer >= 0.8,
    )


async def _rate(embed: Callable[[Sequence[str]], Awaitable[None]]) -> float:
    random_ = random.Random(1)
    corpus = [sentence(random_) for _ in range(2000)]
    done, begin = 0, 0
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal done, begin
        while time.perf_counter() < began + SECONDS:
            begin = (begin + TEXTS) % (len(corpus) - TEXTS)
            await embed(corpus[begin : begin + TEXTS])
            done += TEXTS

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return done / (time.perf_counter() - began)


async def _answers(environment: Environment, settings: TritonSettings) -> list[Row]:
    """Tokens a second of a stack that has the same model in Triton and in its part `llm`."""
    stack = Stack(FOLDER / "triton-stack", free_port(), await environment.upstream())
    await stack.down()
    try:
        await stack.up(SOMA_TRITON_URL=settings.url, SOMA_LLM_SLOTS=SLOTS)
        url = f"http://127.0.0.1:{stack.port}"
        for part in ("llm", "triton"):
            # The part starts at its first request; Triton is found a moment after the stack is ready.
            await until(partial(_answers_once, url, stack.key, part), seconds=START_SECONDS)
        rows = []
        for at_once in llm.AT_ONCE:
            rates: dict[str, list[float]] = {"llm": [], "triton": []}
            for _ in range(llm.ROUNDS):
                for part, found in rates.items():
                    found.append(await llm.rate(url, stack.key, at_once, f"{part}/{llm.MODEL}"))
            here, peer = (statistics.median(rates[part]) for part in ("triton", "llm"))
            rows.append(
                Row(
                    f"SmolLM2 on Triton, {at_once} at once",
                    f"{here:.0f} tokens/s",
                    f"{peer:.0f} tokens/s by the part llm",
                    f"{here / peer:.2f}×",
                    "≥ 0.9×",
                    here / peer >= 0.9,
                )
            )
        return rows
    finally:
        await stack.down()


async def _answers_once(url: str, key: str, part: str) -> bool:
    try:
        await llm.rate(url, key, 1, f"{part}/{llm.MODEL}")
    except RuntimeError:
        return False
    return True


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
        f"memory of Triton and this client, {STREAMS:,} streams, half cancelled",
        f"{last:.0f} MiB",
        f"{first:.0f} MiB after {FIRST:,}",
        f"{last - first:+.1f} MiB",
        "≤ +20 MiB",
        last - first <= 20,
    )


def _mebibytes(pid: int) -> float:
    """Without files and shared memory, of which other programs change how much counts for whom."""
    server = psutil.Process(pid)
    family = (psutil.Process(), server, *server.children(recursive=True))
    return float(sum(each.rss - each.shared for each in (process.memory_info() for process in family)) / 2**20)
