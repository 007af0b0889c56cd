"""What does not go together at Anthropic is refused or dropped before its server is asked."""

from collections.abc import AsyncIterator

import grpc
import pytest
from soma.model.v1.model_service_pb2 import GenerateResponse
from soma.model.v1.options_pb2 import ReasoningOptions

from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import AnthropicDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving, asking

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(AnthropicDialect(), models=("claude-sonnet-4-6",)) as fake:
        yield fake


@pytest.fixture
async def models(serving: Serving, fake: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([fake]) as models:
        yield models


async def generate(models: Models, *, drop: bool) -> list[GenerateResponse]:
    request = asking("Hello?", "claude-sonnet-4-6")
    request.options.whole = True
    request.options.drop_params = drop
    request.options.sampling.temperature = 0.5
    request.options.reasoning.CopyFrom(ReasoningOptions(effort="low"))
    request.options.provider_params = '{"service_tier": "auto", "min_p": 0.1}'
    with run_as(SOMEBODY):
        return [event async for event in models.model.Generate(request)]


async def test_a_temperature_beside_thinking_is_refused_by_name(models: Models, fake: FakeUpstream) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await generate(models, drop=False)
    error = from_rpc_error(raised.value)
    assert error.reason == "PARAMETER_NOT_SUPPORTED"
    assert [each.field for each in error.facts.violations] == ["provider_params.min_p", "sampling.temperature"]
    assert fake.requests == []


async def test_a_temperature_beside_thinking_is_dropped_on_request(models: Models, fake: FakeUpstream) -> None:
    (event,) = await generate(models, drop=True)
    assert list(event.answer.started.dropped_params) == ["provider_params.min_p", "sampling.temperature"]
    assert event.answer.delta.text == "Hello there!"
    (body,) = fake.requests
    assert body["thinking"]["type"] == "adaptive"
    assert body["service_tier"] == "auto"
    assert not {"temperature", "min_p", "stream"} & body.keys()
