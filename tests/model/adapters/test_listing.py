"""Lists of models are read from vendors."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import ROLE_USER, Delta, Message
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import MeshError
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Advice, Patience, Upstream
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from services.model.vendor import Vendor
from tests.model.vendors import ANTHROPIC, COMPATIBLE, OPENAI

PATIENT = Patience(connect=30.0, first_byte=30.0, idle=30.0)


@asynccontextmanager
async def serving(listings: Mapping[str, str]) -> AsyncIterator[str]:
    """The URL of a server that answers these paths, and all others with 404."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        if request.path not in listings:
            raise web.HTTPNotFound
        return web.Response(text=listings[request.path])

    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def text_of(provider: OpenAICompatible) -> str:
    """The text of the answer of a provider's model."""
    request = GenerateRequest(messages=[Message(role=ROLE_USER, content="Hi")])
    return "".join([event.text async for event in provider.generate(request, "m") if isinstance(event, Delta)])


async def openai(vendor: Vendor, *names: str) -> Sequence[Model]:
    async with FakeUpstream(models=names) as fake, Upstream("openai", f"{fake.url}/v1", {}, PATIENT) as upstream:
        return await OpenAICompatible(upstream, vendor).models()


async def test_openais_small_model_comes_first_and_models_without_chat_are_marked() -> None:
    listed = await openai(OPENAI, "whisper-1", "gpt-5-pro", "gpt-5-mini", "text-embedding-3-small", "dall-e-3")
    assert listed[0].name == "gpt-5-mini"
    chats = {model.name for model in listed if Model.CAPABILITY_CHAT in model.capabilities}
    assert chats == {"gpt-5-mini", "gpt-5-pro"}


async def test_other_servers_keep_their_order_and_their_instruct_models_chat() -> None:
    listed = await openai(COMPATIBLE, "meta/llama-3-8b-instruct", "nomic-embed-text", "gpt-5-mini")
    assert [model.name for model in listed] == ["meta/llama-3-8b-instruct", "nomic-embed-text", "gpt-5-mini"]
    assert [Model.CAPABILITY_CHAT in model.capabilities for model in listed] == [True, False, True]


async def test_a_base_url_without_a_version_is_completed_from_the_servers_answers() -> None:
    async with FakeUpstream(models=("m",)) as fake, Upstream("vllm", fake.url, {}, PATIENT) as upstream:
        provider = OpenAICompatible(upstream, COMPATIBLE)
        assert [model.name for model in await provider.models()] == ["m"]
        assert [model.name for model in await provider.models()] == ["m"]
        assert await text_of(provider) == "Hello there!"


async def test_a_model_that_is_used_before_it_was_listed_is_found() -> None:
    async with FakeUpstream() as fake, Upstream("vllm", fake.url, {}, PATIENT) as upstream:
        assert await text_of(OpenAICompatible(upstream, COMPATIBLE)) == "Hello there!"


@pytest.mark.parametrize("answer", ['{"error": "Unexpected endpoint"}', "<html>"])
async def test_a_server_that_answers_every_path_with_200_is_tried_under_its_version(answer: str) -> None:
    listings = {"/models": answer, "/v1/models": '{"data": [{"id": "m"}]}'}
    async with serving(listings) as url, Upstream("studio", url, {}, PATIENT) as upstream:
        assert [model.name for model in await OpenAICompatible(upstream, COMPATIBLE).models()] == ["m"]


async def test_a_list_at_the_given_url_is_used_without_trying_another() -> None:
    listings = {"/models": '{"data": [{"id": "here"}]}', "/v1/models": '{"data": [{"id": "there"}]}'}
    async with serving(listings) as url, Upstream("both", url, {}, PATIENT) as upstream:
        assert [model.name for model in await OpenAICompatible(upstream, COMPATIBLE).models()] == ["here"]


async def test_a_server_without_a_list_gets_chats_at_its_given_url() -> None:
    chunks = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path != "/chat/completions":
            raise web.HTTPNotFound
        return web.Response(body=chunks, content_type="text/event-stream")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, Upstream("none", str(server.make_url("")), {}, PATIENT) as upstream:
        provider = OpenAICompatible(upstream, COMPATIBLE)
        assert [await text_of(provider), await text_of(provider)] == ["Hi", "Hi"]
    assert asked == ["/models", "/v1/models", "/chat/completions", "/chat/completions"]


@pytest.mark.parametrize(("path", "said"), [("", "http://h; set HERE"), ("/v1", "answered 404")])
async def test_the_error_for_a_server_without_a_list_names_the_tried_paths(path: str, said: str) -> None:
    advice = Advice(url="http://h; set HERE")
    async with serving({}) as url, Upstream("none", f"{url}{path}", {}, PATIENT, advice) as upstream:
        with pytest.raises(MeshError) as raised:
            await OpenAICompatible(upstream, COMPATIBLE).models()
    assert said in raised.value.message


async def test_anthropics_newest_small_model_comes_first() -> None:
    names = ("claude-opus-5", "claude-haiku-4-5", "claude-haiku-4")
    async with (
        FakeUpstream(AnthropicDialect(), models=names) as fake,
        Upstream("anthropic", fake.url, {}, PATIENT) as upstream,
    ):
        listed = await Anthropic(upstream, ANTHROPIC).models()
    assert [model.name for model in listed] == ["claude-haiku-4-5", "claude-opus-5", "claude-haiku-4"]
    assert listed[0].create_time.seconds > 0


@pytest.mark.parametrize(
    ("fault", "patience", "reason"),
    [
        (Fault.HANG, Patience(first_byte=0.2), "PROVIDER_TIMEOUT"),
        (Fault.UNAUTHORIZED, PATIENT, "PROVIDER_CREDENTIAL_REFUSED"),
    ],
)
async def test_a_vendor_that_cannot_list_is_reported_with_the_reason(
    fault: Fault, patience: Patience, reason: str
) -> None:
    async with (
        FakeUpstream(behaviour=Behaviour(fault=fault)) as fake,
        Upstream("openai", f"{fake.url}/v1", {}, patience) as upstream,
    ):
        with pytest.raises(MeshError) as raised:
            await OpenAICompatible(upstream, COMPATIBLE).models()
    assert raised.value.reason == reason
