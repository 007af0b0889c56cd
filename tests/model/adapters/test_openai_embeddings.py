"""Vectors of a provider: the requests to its server, and the handling of its answers."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from soma.model.v1.model_service_pb2 import EmbedRequest, TokenNumbers

from services.mesh.call.errors import MeshError
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Patience, Upstream
from services.model.vendor import Embeddings, Vendor
from tests.model.vendors import COMPATIBLE, VENDORS


@dataclass
class Server:
    """Answers with the vector (length, position) for each input, or with the answer that a test sets."""

    url: str = ""
    answer: Any = None
    status: int = 200
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if self.answer is not None:
            return web.json_response(self.answer, status=self.status)
        inputs = body["input"]
        data = [{"index": at, "embedding": [float(len(each)), float(at)]} for at, each in enumerate(inputs)]
        return web.json_response({"data": data[::-1], "usage": {"prompt_tokens": 3, "total_tokens": 3}})


@asynccontextmanager
async def embedding(vendor: Vendor = COMPATIBLE) -> AsyncIterator[tuple[Server, OpenAICompatible]]:
    server, app = Server(), web.Application()
    app.router.add_post("/v1/embeddings", server.embed)
    async with TestServer(app) as running:
        server.url = str(running.make_url("/v1"))
        async with Upstream("lab", server.url, {}, Patience()) as upstream:
            yield server, OpenAICompatible(upstream, vendor)


async def test_vectors_come_in_the_order_of_the_texts_with_the_providers_count() -> None:
    async with embedding() as (server, provider):
        response = await provider.embed(EmbedRequest(input=["a", "bbb"], model="m"), "m")
    assert [list(vector.embedding) for vector in response.vectors] == [[1.0, 0.0], [3.0, 1.0]]
    assert [vector.index for vector in response.vectors] == [0, 1]
    assert (response.model, response.vector_length, response.usage.total_tokens) == ("m", 2, 3)
    assert server.asked == [{"model": "m", "input": ["a", "bbb"]}]


async def test_vectors_are_made_of_length_1_only_when_asked_for() -> None:
    async with embedding() as (_, provider):
        as_they_are = await provider.embed(EmbedRequest(input=["aaa"], normalize=False), "m")
        of_length_1 = await provider.embed(EmbedRequest(input=["aaa"], normalize=True), "m")
    assert list(as_they_are.vectors[0].embedding) == [3.0, 0.0]
    assert list(of_length_1.vectors[0].embedding) == [1.0, 0.0]


async def test_more_texts_than_a_vendor_accepts_are_sent_in_several_requests() -> None:
    few = replace(COMPATIBLE, embeddings=Embeddings(most_texts=40))
    async with embedding(few) as (server, provider):
        response = await provider.embed(EmbedRequest(input=["x" * (1 + index) for index in range(100)]), "m")
    assert [len(body["input"]) for body in server.asked] == [40, 40, 20]
    assert [vector.embedding[0] for vector in response.vectors] == [1.0 + index for index in range(100)]
    assert [vector.index for vector in response.vectors] == list(range(100))
    assert response.usage.total_tokens == 9


async def test_dimensions_are_passed_on_by_the_vendors_own_name() -> None:
    for vendor, name in ((COMPATIBLE, "dimensions"), (VENDORS["mistral"], "output_dimension")):
        async with embedding(vendor) as (server, provider):
            await provider.embed(EmbedRequest(input=["a"], dimensions=256), "m")
        assert server.asked[0][name] == 256


async def test_token_numbers_are_sent_only_to_a_vendor_that_accepts_them() -> None:
    request = EmbedRequest(tokens=[TokenNumbers(numbers=[5, 6, 7]), TokenNumbers(numbers=[8])])
    async with embedding() as (server, provider):
        response = await provider.embed(request, "m")
        assert [vector.embedding[0] for vector in response.vectors] == [3.0, 1.0]
        assert server.asked[0]["input"] == [[5, 6, 7], [8]]
    async with embedding(VENDORS["mistral"]) as (server, provider):
        with pytest.raises(MeshError) as raised:
            await provider.embed(request, "m")
    assert raised.value.reason == "PARAMETER_NOT_SUPPORTED"
    assert [violation.field for violation in raised.value.facts.violations] == ["tokens"]
    assert server.asked == []


async def test_dimensions_are_refused_if_the_vendor_makes_vectors_of_one_length() -> None:
    async with embedding(VENDORS["together"]) as (server, provider):
        with pytest.raises(MeshError) as raised:
            await provider.embed(EmbedRequest(input=["a"], dimensions=8), "m")
    assert [violation.field for violation in raised.value.facts.violations] == ["dimensions"]
    assert server.asked == []


async def test_vectors_in_base64_are_read() -> None:
    numbers = np.array([0.5, -2.0], "<f4").tobytes()
    async with embedding() as (server, provider):
        server.answer = {"data": [{"embedding": base64.b64encode(numbers).decode()}]}
        response = await provider.embed(EmbedRequest(input=["a"]), "m")
    assert list(response.vectors[0].embedding) == [0.5, -2.0]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "no",
        {"data": None},
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]},
        {"data": [{"embedding": ["x"]}]},
        {"data": [{"embedding": "!!"}]},
        {"data": [{"embedding": {"float": [1.0]}}]},
        {"data": [{"embedding": [1e400]}]},
    ],
)
async def test_an_answer_without_a_vector_for_each_text_is_a_protocol_error(answer: Any) -> None:
    async with embedding() as (server, provider):
        server.answer = answer
        with pytest.raises(MeshError) as raised:
            await provider.embed(EmbedRequest(input=["a"]), "m")
    assert raised.value.reason == "PROVIDER_PROTOCOL_ERROR"


async def test_a_refusal_becomes_a_typed_error() -> None:
    async with embedding() as (server, provider):
        server.answer, server.status = {"error": {"message": "too long"}}, 400
        with pytest.raises(MeshError, match="too long") as raised:
            await provider.embed(EmbedRequest(input=["a"]), "m")
    assert raised.value.reason == "PROVIDER_REFUSED_REQUEST"


async def test_a_vendor_without_a_method_for_vectors_says_so() -> None:
    async with embedding(VENDORS["groq"]) as (server, provider):
        with pytest.raises(MeshError, match="Groq has no method for vectors") as raised:
            await provider.embed(EmbedRequest(input=["a"]), "m")
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"
    assert server.asked == []
