"""Parameters in the protocol of the caller: they go to a provider that speaks it, and to no other."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, NativeParams, ReasoningOptions, Tool

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import AnthropicDialect
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving

pytestmark = pytest.mark.usefixtures("nothing_left")

CLAUDE, LARGE, THINKER = "claude-haiku-4-5", "gpt-4o-mini", "gpt-5-mini"
NATIVE = NativeParams(
    protocol="anthropic",
    params='{"thinking":{"type":"enabled","budget_tokens":1024},"betas":["context-1m"],"metadata":{"user_id":"u"},'
    '"newest_parameter":{"x":1}}',
)
SEARCH = Tool(name="web_search", provider_params='{"type":"web_search_20250305","max_uses":3}')


@pytest.fixture
async def openai() -> AsyncIterator[FakeUpstream]:
    entries = [{"id": LARGE}, {"id": THINKER, "capabilities": {"reasoning": True}}]
    async with FakeUpstream(listing={"object": "list", "data": entries}) as upstream:
        yield upstream


@pytest.fixture
async def anthropic() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(AnthropicDialect(), models=(CLAUDE,)) as upstream:
        yield upstream


@pytest.fixture
async def models(serving: Serving, openai: FakeUpstream, anthropic: FakeUpstream) -> AsyncIterator[Models]:
    async with serving([openai, anthropic]) as models:
        yield models


def asking(model: str, **options: Any) -> GenerateRequest:
    messages = [Message(role=ROLE_USER, content="Hello?")]
    return GenerateRequest(model=model, messages=messages, options=GenerationOptions(**options))


async def generated(models: Models, request: GenerateRequest) -> None:
    with run_as(SOMEBODY):
        events = [event async for event in models.model.Generate(request)]
    assert events[-1].HasField("finished")


async def refused(models: Models, request: GenerateRequest) -> MeshError:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in models.model.Generate(request):
            pass
    return from_rpc_error(raised.value)


async def test_a_provider_of_the_protocol_gets_them_as_they_are(models: Models, anthropic: FakeUpstream) -> None:
    reasoning = ReasoningOptions(effort="high")
    await generated(models, asking(CLAUDE, native=NATIVE, reasoning=reasoning, provider_params='{"mandatory":1}'))
    (body,) = anthropic.requests
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert (body["metadata"], body["newest_parameter"]) == ({"user_id": "u"}, {"x": 1})
    # The request says it in its own protocol.
    assert "output_config" not in body
    assert "mandatory" not in body
    assert anthropic.headers["anthropic-beta"] == "context-1m"


async def test_another_provider_does_not_get_them(models: Models, openai: FakeUpstream) -> None:
    await generated(models, asking(LARGE, native=NATIVE))
    (body,) = openai.requests
    assert body.keys() == {"model", "messages", "stream", "stream_options"}


async def test_what_must_be_obeyed_is_refused_by_name(models: Models, openai: FakeUpstream) -> None:
    error = await refused(models, asking(CLAUDE, provider_params='{"newest_parameter":1}'))
    assert [each.field for each in error.facts.violations] == ["provider_params.newest_parameter"]
    assert openai.requests == []


async def test_an_effort_beside_them_is_for_models_that_think(models: Models, openai: FakeUpstream) -> None:
    for model in (LARGE, THINKER):
        await generated(models, asking(model, native=NATIVE, reasoning=ReasoningOptions(effort="high")))
    plain, thinking = openai.requests
    assert "reasoning_effort" not in plain
    assert thinking["reasoning_effort"] == "high"


async def test_a_tool_of_anthropics_own_types_goes_to_its_models_alone(
    models: Models, anthropic: FakeUpstream, openai: FakeUpstream
) -> None:
    await generated(models, asking(CLAUDE, tools=[SEARCH]))
    assert anthropic.requests[0]["tools"] == [{"type": "web_search_20250305", "max_uses": 3, "name": "web_search"}]
    for model in (LARGE, "soma-extract-v1"):
        error = await refused(models, asking(model, tools=[SEARCH]))
        assert error.reason == "PARAMETER_NOT_SUPPORTED"
        assert [each.field for each in error.facts.violations] == ["tools"]
    plain = Tool(name="look", provider_params='{"type":"custom"}')
    await generated(models, asking(LARGE, tools=[SEARCH, plain], drop_params=True))
    (body,) = openai.requests
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look"]
