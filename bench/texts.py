"""Embeddings of short texts per second, through the contract: over the local channel, and over REST and Envoy."""

import asyncio
import json
import random
import statistics
import time

from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.model_service_pb2 import EmbedRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub, add_ModelServiceServicer_to_server

from bench.embeddings import sentence
from bench.environment import FOLDER, Environment
from bench.stack import cost
from bench.table import Row
from bench.wrk import Load, wrk
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.call import run_as
from services.mesh.call.errors import Unavailable
from services.mesh.call.trace import new_trace
from services.mesh.testing.local import LocalMesh
from services.model.catalogue import Catalogue
from services.model.embedding.embedder import Embedder
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
from services.model.generation import Generations
from services.model.judging import Judging
from services.model.ledger import Ledger
from services.model.service import ModelService
from services.model.vectors import Vectors

ROUNDS = 3
TEXTS, CALLERS, SECONDS = 32, 8, 4


async def measure(environment: Environment) -> list[Row]:
    """Measure with 32 texts per call and eight callers at the same time."""
    stack = await environment.stack()
    local: list[float] = []
    unhindered: list[float] = []
    rest: list[float] = []
    embedder = MiniLm(EmbeddingSettings(directory=FOLDER / "stack" / "models"))
    await embedder.load()
    try:
        for _ in range(ROUNDS):
            used = time.process_time()
            rate, done = await _local(embedder)
            local.append(rate)
            unhindered.append(2 * done / (time.process_time() - used))
            before = stack.processor_seconds()
            found = await load(stack.port, stack.key)
            rest.append(found.rate * TEXTS)
            print("processor ms a text:", cost(before, stack.processor_seconds(), found.requests * TEXTS))
    finally:
        await embedder.close()
    # The rate of two free cores, calculated from the processor time.
    free = statistics.median(unhindered)
    return [
        _row("embeddings through the contract, local channel", local, f", {free:,.0f} a two-core second"),
        _row("embeddings through the contract, REST and Envoy", rest, ""),
    ]


async def load(port: int, key: str, seconds: int = SECONDS) -> Load:
    """Load a server with embeddings over REST; each call has the same texts."""
    body = json.dumps({"input": texts(random.Random(2))}).encode()
    url = f"http://127.0.0.1:{port}/slm/v1/embeddings"
    return await wrk(url, body, '"embedding"', key=key, connections=CALLERS, seconds=seconds)


def _row(figure: str, rates: list[float], more: str) -> Row:
    rate = statistics.median(rates)
    here = f"{rate:,.0f} texts/s{more}"
    return Row(figure, here, "2,000 texts/s", f"{rate / 2000:.1f}×", "≥ 2,000 /s", rate >= 2000)


def contract(embedder: Embedder) -> LocalMesh:
    """The model service with an embedder, behind all that a call in the process passes through."""
    ledger = Ledger(_no_generation)
    service = ModelService(
        Catalogue((), "", ""), Generations(ledger, 1.0), Vectors(embedder, ledger), Judging(ledger), ""
    )
    return LocalMesh([(add_ModelServiceServicer_to_server, service)])


async def _local(embedder: MiniLm) -> tuple[float, int]:
    """The texts per second, and the number of texts."""
    mesh = contract(embedder)
    stub = ModelServiceStub(mesh.channel)
    random_ = random.Random(1)
    done = 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            response = await stub.Embed(EmbedRequest(input=texts(random_)), timeout=30)
            done += len(response.vectors)

    began = time.perf_counter()
    end = began + SECONDS
    with run_as(DEV_PRINCIPAL, trace=new_trace(0.0)):
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    rate = done / (time.perf_counter() - began)
    await mesh.channel.close()
    return rate, done


def texts(random_: random.Random) -> list[str]:
    """The texts of one call."""
    return [sentence(random_) for _ in range(TEXTS)]


async def _no_generation(record: UsageRecord) -> None:
    raise Unavailable("nothing is generated here")
