"""Callers who wait are answered before work in the background, in the queue of Triton and in that of a chat model."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import EmbedRequest
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND, URGENCY_INTERACTIVE, Urgency

from services.mesh.call.call import run_as
from services.mesh.call.errors import ResourceExhausted
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.model.adapters.triton.discovery import served
from services.model.adapters.triton.embedder import TritonEmbedder
from services.model.adapters.triton.provider import TritonProvider
from services.model.adapters.triton.refusal import refusal
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.stream import Requests
from services.model.adapters.upstream import Patience
from services.model.embedding.minilm import MiniLm
from services.model.vendor_files import load
from tests.model.conftest import asking

SLM, SLOTS = "smollm2-135m-instruct", 4


@pytest.fixture
async def provider(server: Server) -> TritonProvider:
    made = TritonProvider(server, load()["llamacpp"].chat, Patience(), TritonSettings(), "nothing")
    await made.models()
    return made


async def test_vectors_that_somebody_waits_for_come_first(server: Server, provider: TritonProvider) -> None:
    order: list[str] = []

    async def embed(name: str, urgency: "Urgency.ValueType") -> None:
        await provider.embed(EmbedRequest(input=["0.3"], urgency=urgency), "slow")
        order.append(name)

    calls = [asyncio.ensure_future(embed("first", URGENCY_INTERACTIVE))]
    await asyncio.sleep(0.2)
    for name, urgency in (("index", URGENCY_BACKGROUND), ("batch", URGENCY_BACKGROUND), ("user", URGENCY_INTERACTIVE)):
        calls.append(asyncio.ensure_future(embed(name, urgency)))
        await asyncio.sleep(0.05)
    await asyncio.gather(*calls)
    assert order.index("user") < order.index("batch")


async def test_work_in_the_background_fills_its_own_queue_only(server: Server, provider: TritonProvider) -> None:
    await provider.embed(EmbedRequest(input=["0"]), "slow")

    async def embed(urgency: "Urgency.ValueType") -> str:
        try:
            await provider.embed(EmbedRequest(input=["0.3"], urgency=urgency), "slow")
        except ResourceExhausted as error:
            return error.reason
        return ""

    background = [asyncio.ensure_future(embed(URGENCY_BACKGROUND)) for _ in range(8)]
    await asyncio.sleep(0.05)
    assert await embed(URGENCY_INTERACTIVE) == ""
    assert set(await asyncio.gather(*background)) == {"", reasons.PROVIDER_RATE_LIMITED}


async def test_the_embedder_has_a_queue_for_the_background(server: Server, own: MiniLm) -> None:
    (model,) = [each for each in await served(server) if each.name == "embedder"]
    assert model.background == 2
    embedder = TritonEmbedder(server, own, TritonSettings())
    await embedder.look()
    here, there = await embedder.embed(["text"]), await embedder.embed(["text"], background=True)
    assert here.vectors.tolist() == there.vectors.tolist()
    await embedder.check()


async def said(provider: TritonProvider, words: int, urgency: "Urgency.ValueType", order: list[str], name: str) -> None:
    request = asking("Count.", SLM)
    request.options.urgency = urgency
    request.options.sampling.max_tokens = words
    request.options.provider_params = '{"ignore_eos": true}'
    async with aclosing(provider.generate(request, SLM)) as events:
        async for _ in events:
            order.append(name)


@asynccontextmanager
async def busy(provider: TritonProvider, order: list[str], *words: int) -> AsyncGenerator[None]:
    """Every slot of the model is taken, by answers of so many words, which come in the block."""
    names = [f"busy {number}" for number in range(SLOTS)]
    calls = [
        asyncio.ensure_future(said(provider, count, URGENCY_INTERACTIVE, order, name))
        for name, count in zip(names, words, strict=True)
    ]
    await until(lambda: set(names) <= set(order), seconds=30.0)
    yield
    await asyncio.gather(*calls)


async def test_an_answer_that_somebody_waits_for_begins_first(provider: TritonProvider) -> None:
    order: list[str] = []
    async with busy(provider, order, 30, 120, 120, 120):
        batch = [asyncio.ensure_future(said(provider, 4, URGENCY_BACKGROUND, order, "batch")) for _ in range(SLOTS)]
        await asyncio.sleep(0.05)
        await said(provider, 4, URGENCY_INTERACTIVE, order, "user")
    await asyncio.gather(*batch)
    assert order.index("user") < order.index("batch")


async def test_an_answer_that_waits_is_ended_at_once_when_its_caller_leaves(provider: TritonProvider) -> None:
    order: list[str] = []
    async with busy(provider, order, 80, 80, 80, 80):
        leavers = [asyncio.ensure_future(said(provider, 4, URGENCY_BACKGROUND, order, "leaver")) for _ in range(8)]
        await asyncio.sleep(0.05)
        for each in leavers:
            each.cancel()
        await asyncio.gather(*leavers, return_exceptions=True)
    # Whoever comes now finds a slot, and none of them has one.
    await said(provider, 2, URGENCY_INTERACTIVE, order, "last")
    assert "leaver" not in order


async def test_an_answer_that_waits_for_longer_than_its_caller_is_not_begun(
    server: Server, provider: TritonProvider
) -> None:
    order: list[str] = []
    # Asked for by hand, because the mesh's own calls end their requests when their time is over.
    async with busy(provider, order, 80, 80, 80, 80):
        requests = _Late("slm", 0)
        requests.ask({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2})
        requests.close()
        found = [error async for _, error in server.client.stream_infer(requests)]
    assert len(found) == 1
    assert refusal(found[0]).reason == reasons.PROVIDER_TIMEOUT


async def test_the_time_of_its_caller_goes_with_a_request_and_not_with_its_end() -> None:
    with run_as(SOMEBODY, timeout=3.0):
        requests = Requests("slm", 2)
    requests.ask({})
    requests.cancel()
    asked, ended = [await anext(requests) for _ in range(2)]
    assert 2e6 < asked["timeout"] <= 3e6 and asked["priority"] == 2
    assert ended["timeout"] > 3e6 and ended["priority"] == 1
    assert ended["request_id"] == asked["request_id"]


class _Late(Requests):
    """A request whose caller waits a millisecond."""

    async def __anext__(self) -> dict[str, Any]:
        return {**await super().__anext__(), "timeout": 1000}
