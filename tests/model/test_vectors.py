"""Embed through the contract: calls of providers are recorded like generations; the local model has limits."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.model.v1.model_service_pb2 import EmbedRequest, TokenNumbers

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.upstream import Patience, Upstream
from services.model.catalogue import Route
from services.model.embedding.minilm import MiniLm
from services.model.embedding.settings import EmbeddingSettings
from services.model.ledger import Ledger
from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from services.model.vectors import Vectors
from tests.model.conftest import Models, Serving, asking
from tests.model.vendors import ANTHROPIC

pytestmark = pytest.mark.usefixtures("nothing_left")

NUMBERS = [TokenNumbers(numbers=[5, 6, 7])]


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(models=("fake-embed", "fake-chat")) as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([fake]) as models:
        yield models


async def refused(models: Models, request: EmbedRequest) -> MeshError:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        await models.model.Embed(request)
    return from_rpc_error(raised.value)


async def test_a_providers_model_makes_vectors_and_the_call_is_recorded(models: Models, fake: FakeUpstream) -> None:
    with run_as(SOMEBODY):
        response = await models.model.Embed(EmbedRequest(model="fake-embed", input=["a", "bbb"], dimensions=2))
    assert [list(vector.embedding) for vector in response.vectors] == [[1.0, 0.0], [3.0, 1.0]]
    assert [vector.windows for vector in response.vectors] == [0, 0]
    assert (response.model, response.usage.total_tokens) == ("fake-embed", 4)
    assert fake.requests == [{"model": "fake-embed", "input": ["a", "bbb"], "dimensions": 2}]
    (record,) = await models.usage()
    assert (record.model, record.provider, record.outcome) == ("fake-embed", "openai", UsageRecord.OUTCOME_FINISHED)
    assert (record.usage.prompt_tokens, record.usage.completion_tokens) == (4, 0)


async def test_tokens_a_provider_does_not_count_are_estimated(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(usage=False)
    with run_as(SOMEBODY):
        response = await models.model.Embed(EmbedRequest(model="fake-embed", input=["x" * 40]))
    assert response.usage.total_tokens == 10
    (record,) = await models.usage()
    assert record.usage.total_tokens == 10


async def test_token_numbers_reach_a_provider_that_takes_them(models: Models, fake: FakeUpstream) -> None:
    with run_as(SOMEBODY):
        await models.model.Embed(EmbedRequest(model="fake-embed", tokens=NUMBERS))
    assert fake.requests[0]["input"] == [[5, 6, 7]]


async def test_a_failure_is_typed_and_recorded(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.RATE_LIMITED)
    error = await refused(models, EmbedRequest(model="fake-embed", input=["a"]))
    assert (error.reason, error.facts.retry_after) == ("PROVIDER_RATE_LIMITED", 7.0)
    (record,) = await models.usage()
    assert (record.outcome, record.error_reason) == (UsageRecord.OUTCOME_FAILED, "PROVIDER_RATE_LIMITED")


async def test_a_cancelled_call_is_recorded(models: Models, fake: FakeUpstream) -> None:
    fake.behaviour = Behaviour(fault=Fault.HANG)
    with run_as(SOMEBODY):
        call = asyncio.ensure_future(models.model.Embed(EmbedRequest(model="fake-embed", input=["a"])))
        await fake.until(open=1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    (record,) = await models.usage()
    assert record.outcome == UsageRecord.OUTCOME_CANCELLED


async def test_a_model_for_another_purpose_is_refused(models: Models, fake: FakeUpstream) -> None:
    error = await refused(models, EmbedRequest(model="fake-chat", input=["a"]))
    assert error.reason == "MODEL_CAPABILITY_MISSING"
    assert error.message == "the model `fake-chat` cannot embed texts; it holds conversations"
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in models.model.Generate(asking(model="fake-embed")):
            pass
    refusal = from_rpc_error(raised.value)
    assert refusal.reason == "MODEL_CAPABILITY_MISSING"
    assert "it makes vectors of texts" in refusal.message
    assert fake.requests == []
    await models.usage(0)


@pytest.mark.parametrize("model", ["", "somasuite-embed-v1", "local/somasuite-embed-v1"])
async def test_the_local_model_takes_text_only_and_has_one_length(models: Models, model: str) -> None:
    error = await refused(models, EmbedRequest(model=model, tokens=NUMBERS))
    assert error.reason == "PARAMETER_NOT_SUPPORTED"
    assert [violation.field for violation in error.facts.violations] == ["tokens"]
    error = await refused(models, EmbedRequest(model=model, input=["a"], dimensions=383))
    assert (error.reason, error.facts.violations[0].field) == ("UNSUPPORTED_VALUE", "dimensions")
    with run_as(SOMEBODY):
        response = await models.model.Embed(EmbedRequest(model=model, input=["a"], dimensions=384))
    assert (len(response.vectors[0].embedding), response.vectors[0].windows) == (384, 1)
    await models.usage(0)


async def test_a_protocol_without_a_method_for_vectors_is_not_asked() -> None:
    async with Upstream("lab", "http://127.0.0.1:9", {}, Patience()) as upstream:
        provider = Anthropic(upstream, ANTHROPIC)
        model = Model(name="m", provider="lab", capabilities=[Model.CAPABILITY_EMBEDDING])
        vectors = Vectors(MiniLm(EmbeddingSettings()), Ledger(_no_record))
        with pytest.raises(MeshError, match="lab cannot be asked for vectors") as raised:
            await vectors.remote(SOMEBODY, Route(provider, model), EmbedRequest(input=["a"]))
    assert raised.value.reason == "MODEL_CAPABILITY_MISSING"


async def _no_record(record: UsageRecord) -> None:
    raise AssertionError("nothing was asked, and nothing is recorded")


@pytest.mark.parametrize(
    "request_",
    [
        EmbedRequest(),
        EmbedRequest(input=["a"], tokens=NUMBERS),
        EmbedRequest(input=[""]),
        EmbedRequest(tokens=[TokenNumbers()]),
        EmbedRequest(tokens=[TokenNumbers(numbers=[-1])]),
        EmbedRequest(input=["x" * 131_073]),
        EmbedRequest(input=["a"], dimensions=0),
    ],
)
async def test_invalid_texts_token_numbers_or_dimensions_are_refused(models: Models, request_: EmbedRequest) -> None:
    error = await refused(models, request_)
    assert error.code.name == "INVALID_ARGUMENT"
    assert error.facts.violations[0].field.startswith(("input", "tokens", "dimensions"))
