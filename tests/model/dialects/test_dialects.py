"""Each vendor is found by its variables, and the requests that its file leads to follow its documented dialect."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    ROLE_ASSISTANT,
    ROLE_TOOL,
    ROLE_USER,
    Delta,
    Message,
    ToolCall,
    ToolCallDelta,
)
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    GenerateRequest,
    GenerationFinished,
    TokenNumbers,
)
from soma.model.v1.options_pb2 import GenerationOptions, Sampling, Tool, ToolChoice

from services.mesh.call.errors import MeshError
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.remote import remote
from services.model.adapters.upstream import Patience
from services.model.parameters import supported_request
from services.model.settings import ModelSettings
from tests.model.dialects.documented import CACHED, CALL, COMPLETION, MODEL, PROMPT, REASONING, TEXT, THOUGHT, Refusal
from tests.model.dialects.server import DialectServer, speaking
from tests.model.dialects.vendors import DIALECTS
from tests.model.vendors import VARIABLES, VENDORS

EVERY = pytest.mark.parametrize("name", sorted(DIALECTS))
PATIENT = Patience(30.0, 30.0, 30.0)
KINDS = {
    "chat": Model.CAPABILITY_CHAT,
    "embedding": Model.CAPABILITY_EMBEDDING,
    "rerank": Model.CAPABILITY_RERANK,
    "image": Model.CAPABILITY_IMAGE,
    "transcription": Model.CAPABILITY_TRANSCRIPTION,
    "moderation": Model.CAPABILITY_MODERATION,
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables that would configure a provider."""
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")


@asynccontextmanager
async def found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DialectServer, Anthropic | OpenAICompatible]]:
    """The vendor's server, and the provider that its variables configure; checks at the end that it saw no fault."""
    documented, shipped = DIALECTS[name], VENDORS[name].server
    async with speaking(documented) as server, AsyncExitStack() as stack:
        vendors = VENDORS
        if name == "openai_compatible":
            monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        else:
            if name == "openai":
                # A server at another host than OpenAI's would get the requests of `openai_compatible`.
                here = replace(VENDORS["openai"], server=replace(shipped, url=server.url))
                vendors = {**VENDORS, "openai": here}
            monkeypatch.setenv(shipped.url_variables[0], server.url)
            if documented.key[0]:
                monkeypatch.setenv(shipped.key_variables[0], "sk-1")
            for variable in shipped.models_variables[:1]:
                monkeypatch.setenv(variable, ",".join(documented.lists))
        _, (entry,) = ModelSettings().providers(vendors)
        yield server, await remote(entry, vendors[entry.vendor], PATIENT, stack)
        assert server.wrong == []


def asking(provider: Anthropic | OpenAICompatible, tools: bool) -> GenerateRequest:
    """A request with every parameter that the vendor supports, after a turn with a tool."""
    request = GenerateRequest(
        model=MODEL,
        messages=[
            Message(role=ROLE_USER, content="Hello?", name="ada"),
            Message(role=ROLE_USER, content="And?"),
        ],
        options=GenerationOptions(
            sampling=Sampling(
                max_tokens=50,
                temperature=0.5,
                top_p=0.9,
                top_k=40,
                repetition_penalty=1.5,
                frequency_penalty=0.5,
                presence_penalty=0.5,
                seed=3,
                top_logprobs=2,
                stop_sequences=["END"],
            ),
            user="u1",
            drop_params=True,
        ),
    )
    if tools:
        call = ToolCall(call_id="call_" + "x" * 30, name="weather", arguments='{"city": "Rome"}')
        request.messages.insert(1, Message(role=ROLE_ASSISTANT, tool_calls=[call]))
        request.messages.insert(2, Message(role=ROLE_TOOL, tool_call_id=call.call_id, content="sunny"))
        request.options.tools.append(Tool(name="weather", description="The weather", parameters='{"type": "object"}'))
        request.options.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.options.parallel_tool_calls = True
    fitted, _ = supported_request(request, provider.lacks, provider.name)
    return fitted


async def heard(
    provider: Anthropic | OpenAICompatible, tools: bool
) -> tuple[str, list[ToolCallDelta], GenerationFinished]:
    text, calls, finished = "", list[ToolCallDelta](), GenerationFinished()
    async for event in provider.generate(asking(provider, tools), MODEL):
        if isinstance(event, Delta):
            text += event.text
            calls.extend(event.tool_calls)
        else:
            finished = event
    return text, calls, finished


def test_every_shipped_vendor_has_a_dialect() -> None:
    assert DIALECTS.keys() == VENDORS.keys()


@EVERY
async def test_the_list_of_a_vendor_gives_the_purpose_of_each_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = DIALECTS[name]
    async with found(name, monkeypatch) as (_, provider):
        listed = {model.name: list(model.capabilities) for model in await provider.models()}
    assert listed.keys() == documented.lists.keys()
    for model, kind in documented.lists.items():
        first = listed[model][:1]
        assert first == ([KINDS[kind]] if kind in KINDS else []), model
    chatting = next(model for model, kind in documented.lists.items() if kind == "chat")
    assert (Model.CAPABILITY_TOOLS in listed[chatting]) is documented.tools


@EVERY
async def test_an_answer_in_events_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with found(name, monkeypatch) as (server, provider):
        server.says = server.documented.answer()
        text, calls, finished = await heard(provider, server.documented.tools)
    assert (text, calls) == ("".join(TEXT), [])
    assert finished.finish_reason == FINISH_REASON_STOP
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (PROMPT, COMPLETION)
    assert finished.usage.cached_prompt_tokens == (CACHED if DIALECTS[name].cached else 0)


@EVERY
async def test_an_answer_in_one_piece_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with found(name, monkeypatch) as (server, provider):
        server.says = server.documented.whole()
        text, _, finished = await heard(provider, server.documented.tools)
    assert text == "".join(TEXT)
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (PROMPT, COMPLETION)


@pytest.mark.parametrize("name", sorted(name for name, each in DIALECTS.items() if each.tools))
async def test_tool_calls_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with found(name, monkeypatch) as (server, provider):
        server.says = server.documented.answer(text=(), calls=True)
        text, calls, finished = await heard(provider, tools=True)
    call_id, called, pieces = CALL
    assert (text, calls[0].call_id, calls[0].name) == ("", call_id, called)
    assert "".join(each.arguments for each in calls) == "".join(pieces)
    assert finished.finish_reason == FINISH_REASON_TOOL_CALLS


@pytest.mark.parametrize("name", sorted(name for name, each in DIALECTS.items() if each.thinking))
async def test_thinking_is_not_part_of_the_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = DIALECTS[name]
    async with found(name, monkeypatch) as (server, provider):
        server.says = documented.answer(thinks=True)
        assert THOUGHT.encode() in server.says
        text, _, finished = await heard(provider, documented.tools)
    assert text == "".join(TEXT)
    assert finished.usage.reasoning_tokens == (REASONING if documented.reasoned else 0)


@pytest.mark.parametrize("name", sorted(name for name, each in DIALECTS.items() if each.broken))
async def test_an_error_inside_a_stream_ends_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = DIALECTS[name]
    async with found(name, monkeypatch) as (server, provider):
        begun = documented.answer().split(b'" there"')[0].rpartition(b"\n\n")[0] + b"\n\n"
        server.says = begun + documented.broken
        with pytest.raises(MeshError) as raised:
            await heard(provider, documented.tools)
    assert raised.value.reason == "PROVIDER_UNAVAILABLE"


@EVERY
@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("bad", "PROVIDER_REFUSED_REQUEST"),
        ("unauthorized", "PROVIDER_CREDENTIAL_REFUSED"),
        ("limited", "PROVIDER_RATE_LIMITED"),
    ],
)
async def test_a_refusal_is_passed_on_with_its_message_and_retry_time(
    name: str, which: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal: Refusal = getattr(DIALECTS[name], which)
    async with found(name, monkeypatch) as (server, provider):
        server.refusal = refusal
        with pytest.raises(MeshError) as raised:
            await heard(provider, server.documented.tools)
    assert raised.value.reason == reason
    assert refusal.message in raised.value.message
    # The vendor's message about a credential may contain the credential.
    assert "sk-1" not in raised.value.message
    delay = raised.value.facts.retry_after
    assert delay == (None if refusal.seconds is None else pytest.approx(refusal.seconds, abs=2))


@EVERY
async def test_vectors_are_made_where_the_vendor_makes_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = DIALECTS[name]
    model = next((model for model, kind in documented.lists.items() if kind == "embedding"), "any")
    async with found(name, monkeypatch) as (server, provider):
        if not documented.embeddings:
            if isinstance(provider, OpenAICompatible):
                with pytest.raises(MeshError, match="has no method for vectors"):
                    await provider.embed(EmbedRequest(input=["a"]), model)
            assert server.bodies == []
            return
        assert isinstance(provider, OpenAICompatible)
        request = EmbedRequest(input=["a", "bbb"], dimensions=2 if documented.dimensions else None)
        response = await provider.embed(request, model)
        assert [list(each.embedding) for each in response.vectors] == [[1.0, 1.0], [3.0, 1.0]]
        assert response.usage.total_tokens == 2
        if documented.dimensions:
            assert server.bodies[0][documented.dimensions] == 2
        numbers = EmbedRequest(tokens=[TokenNumbers(numbers=[1, 2, 3])])
        if documented.tokens:
            assert (await provider.embed(numbers, model)).vectors[0].embedding[0] == 3.0
        else:
            with pytest.raises(MeshError, match="token numbers"):
                await provider.embed(numbers, model)
