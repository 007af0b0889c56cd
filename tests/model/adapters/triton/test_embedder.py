"""The embedder in Triton gives what the embedder of the process gives, in batches, or a typed error."""

import asyncio
import time

import numpy as np
import pytest
from soma.errors.v1 import reasons
from tritonclient.grpc import InferInput

from services.mesh.call.call import run_as
from services.mesh.call.errors import InvalidArgument, MeshError, NotFound, ResourceExhausted, Unavailable
from services.mesh.testing.local import SOMEBODY
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.vectors import vectors
from services.model.embedding.minilm import MiniLm

SECONDS = 30.0
TEXTS = [
    *("hello world", "", " ", "Grüße 🐢", "漢字" * 400, "word " * 600, "The tortoise and the hare. " * 40),
    *("x " * length for length in range(1, 70)),
]


async def test_it_gives_the_vectors_of_the_process(server: Server, own: MiniLm) -> None:
    here = await own.embed(TEXTS)
    there = await vectors(server, "embedder", TEXTS, 64, SECONDS)
    assert float((here.vectors * there.vectors).sum(axis=1).min()) >= 0.9999
    assert np.allclose(here.norms, there.norms, rtol=1e-4)
    assert here.tokens.tolist() == there.tokens.tolist()
    assert here.windows is not None and there.windows is not None
    assert here.windows.tolist() == there.windows.tolist()
    assert max(there.windows.tolist()) > 1


async def test_texts_of_concurrent_callers_run_together(server: Server) -> None:
    async def counts() -> tuple[int, int]:
        (found,) = [each for each in (await server.statistics()).model_stats if each.name == "embedder"]
        return found.inference_count, found.execution_count

    texts, runs = await counts()
    calls = [vectors(server, "embedder", [f"text number {number}"], 64, SECONDS) for number in range(64)]
    found = await asyncio.gather(*calls)
    assert len({each.vectors.tobytes() for each in found}) == 64
    texts_now, runs_now = await counts()
    assert texts_now - texts == 64
    assert runs_now - runs <= 32


async def test_bytes_that_are_no_text_fail_alone(server: Server) -> None:
    async def ask(data: bytes) -> object:
        tensor = InferInput("TEXT", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[data]], np.object_))
        return await server.infer("embedder", [tensor], SECONDS)

    good, bad = await asyncio.gather(ask(b"text"), ask(b"\xff\xfe"), return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert isinstance(bad, InvalidArgument) and "UTF-8" in bad.message


@pytest.mark.parametrize("shape", [[2, 2], [1, 0], [65, 1]])
async def test_a_wrong_shape_is_refused(server: Server, shape: list[int]) -> None:
    tensor = InferInput("TEXT", shape, "BYTES")
    tensor.set_data_from_numpy(np.full(shape, b"text", np.object_))
    with pytest.raises(InvalidArgument) as refused:
        await server.infer("embedder", [tensor], SECONDS)
    assert refused.value.reason == reasons.PROVIDER_REFUSED_REQUEST


@pytest.mark.parametrize("word", ["nan", "fewer"])
async def test_vectors_that_are_none_are_no_vectors(server: Server, word: str) -> None:
    with pytest.raises(MeshError) as failed:
        await vectors(server, "odd", [word, word], 8, SECONDS)
    assert failed.value.reason in (reasons.PROVIDER_PROTOCOL_ERROR, reasons.PROVIDER_UNAVAILABLE)


async def test_vectors_of_different_lengths_are_no_answer(server: Server) -> None:
    with pytest.raises(Unavailable) as failed:
        await vectors(server, "odd", ["3", "12"], 1, SECONDS)
    assert failed.value.reason == reasons.PROVIDER_PROTOCOL_ERROR


async def test_an_unknown_model_is_not_found(server: Server) -> None:
    with pytest.raises(NotFound) as missing:
        await vectors(server, "nobody", ["text"], 1, SECONDS)
    assert missing.value.reason == reasons.MODEL_NOT_FOUND


async def test_the_deadline_of_the_caller_holds_in_the_queue_too(server: Server) -> None:
    first = asyncio.ensure_future(vectors(server, "slow", ["2.0"], 1, SECONDS))
    # The model has one instance. On a busy machine the first request takes a moment to get there.
    await asyncio.sleep(0.5)
    began = time.monotonic()
    with run_as(SOMEBODY, timeout=0.4), pytest.raises(Unavailable) as late:
        await vectors(server, "slow", ["0"], 1, SECONDS)
    assert late.value.reason == reasons.PROVIDER_TIMEOUT
    assert time.monotonic() - began < 1.4
    await first


async def test_a_full_queue_is_said_so(server: Server) -> None:
    # A request whose time passed leaves the queue a moment after its answer.
    await vectors(server, "slow", ["0"], 1, SECONDS)
    calls = [vectors(server, "slow", ["0.5"], 1, SECONDS) for _ in range(6)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each for each in found if isinstance(each, BaseException)]
    assert refused and len(refused) < 6
    assert all(isinstance(each, ResourceExhausted) and each.reason == reasons.PROVIDER_RATE_LIMITED for each in refused)
