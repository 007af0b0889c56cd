"""Counting the tokens of a conversation: by the provider where it counts, else by an estimate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from soma.model.v1.message_pb2 import ROLE_USER, Media, Message, Part
from soma.model.v1.model_service_pb2 import CountTokensRequest, CountTokensResponse
from soma.model.v1.options_pb2 import GenerationOptions, Sampling, Tool

from services.mesh.call.call import run_as
from services.mesh.call.errors import Code, MeshError
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.local import SOMEBODY
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.model.conftest import Models, Serving
from tests.model.media.samples import PNG

pytestmark = pytest.mark.usefixtures("nothing_left")

TOOLS = [Tool(name="look", description="Looks.", parameters='{"type":"object"}')]


def asking(model: str, text: str = "Hello?", **options: Any) -> CountTokensRequest:
    messages = [Message(role=ROLE_USER, content=text)]
    return CountTokensRequest(model=model, messages=messages, options=GenerationOptions(**options))


async def counted(models: Models, request: CountTokensRequest) -> CountTokensResponse:
    with run_as(SOMEBODY):
        return await models.model.CountTokens(request)


async def refused(models: Models, request: CountTokensRequest) -> MeshError:
    with run_as(SOMEBODY), pytest.raises(grpc.aio.AioRpcError) as raised:
        await models.model.CountTokens(request)
    return from_rpc_error(raised.value)


@pytest.fixture
async def anthropic() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(AnthropicDialect(), models=("claude-haiku-4-5",), counts=42) as upstream:
        yield upstream


async def test_anthropic_counts_what_it_would_read_and_nothing_is_recorded(
    serving: Serving, anthropic: FakeUpstream
) -> None:
    options: dict[str, Any] = {
        "sampling": Sampling(max_tokens=9),
        "tools": TOOLS,
        "provider_params": '{"betas":["context-1m"]}',
    }
    async with serving([anthropic]) as models:
        found = await counted(models, asking("claude-haiku-4-5", **options))
        await models.usage(0)
    assert found == CountTokensResponse(model="claude-haiku-4-5", provider="anthropic", input_tokens=42)
    (body,) = anthropic.requests
    assert body.keys() == {"model", "messages", "tools"}
    assert [tool["name"] for tool in body["tools"]] == ["look"]
    assert anthropic.headers["anthropic-beta"] == "context-1m"


async def test_a_server_without_the_method_is_estimated(serving: Serving, anthropic: FakeUpstream) -> None:
    anthropic.counts = 0
    async with serving([anthropic]) as models:
        found = await counted(models, asking("claude-haiku-4-5", "x" * 400))
    assert (found.input_tokens, found.estimated) == (100, True)


async def test_a_limit_of_the_provider_is_the_callers(serving: Serving, anthropic: FakeUpstream) -> None:
    async with serving([anthropic]) as models:
        anthropic.behaviour = Behaviour(fault=Fault.RATE_LIMITED)
        error = await refused(models, asking("claude-haiku-4-5"))
    assert (error.code, error.reason) == (Code.RESOURCE_EXHAUSTED, "PROVIDER_RATE_LIMITED")


async def test_other_providers_are_estimated_with_their_tools(serving: Serving) -> None:
    async with FakeUpstream() as openai, serving([openai]) as models:
        bare = await counted(models, asking("fake-large", "x" * 400))
        tooled = await counted(models, asking("fake-large", "x" * 400, tools=TOOLS))
        local = await counted(models, asking("soma-extract-v1", "x" * 40))
    assert (bare.provider, bare.input_tokens, bare.estimated) == ("openai", 100, True)
    assert tooled.input_tokens > bare.input_tokens
    assert (local.provider, local.input_tokens, local.estimated) == ("local", 10, True)
    assert openai.requests == []


async def test_an_unknown_model_is_refused(serving: Serving) -> None:
    async with serving() as models:
        error = await refused(models, asking("nothing-large"))
    assert (error.code, error.reason) == (Code.NOT_FOUND, "MODEL_NOT_FOUND")


@asynccontextmanager
async def llamacpp(asked: list[tuple[str, Any]]) -> AsyncIterator[str]:
    """llama.cpp's server, which has each word as a token; gives its URL."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    async def template(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append((request.path, body))
        said = " ".join(f"<|{message['role']}|> {message['content']}" for message in body["messages"])
        return web.json_response({"prompt": f"{said} <|assistant|>"})

    async def tokenize(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append((request.path, body))
        return web.json_response({"tokens": list(range(len(body["content"].split())))})

    app = web.Application()
    app.router.add_get("/models", models)
    app.router.add_post("/apply-template", template)
    app.router.add_post("/tokenize", tokenize)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.mark.parametrize("path", ["", "/v1"])
async def test_llamacpp_writes_the_conversation_and_counts_its_tokens(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    asked: list[tuple[str, Any]] = []
    async with llamacpp(asked) as url:
        monkeypatch.setenv("LLAMACPP_BASE_URL", f"{url}{path}")
        async with serving() as models:
            found = await counted(models, asking("tiny", "How are you?"))
            picture = Part(image=Media(data=PNG, media_type="image/png"))
            seen = asking("tiny", "x" * 40)
            seen.messages[0].parts.append(picture)
            estimated = await counted(models, seen)
    assert found == CountTokensResponse(model="tiny", provider="llamacpp", input_tokens=5)
    assert [path for path, _ in asked] == ["/apply-template", "/tokenize"]
    assert asked[1][1] == {
        "content": "<|user|> How are you? <|assistant|>",
        "add_special": True,
        "parse_special": True,
    }
    # The text has no place for a picture, so its tokens would be missing.
    assert (estimated.input_tokens, estimated.estimated) == (10, True)
