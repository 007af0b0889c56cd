"""Each vendor is found by its variables, and the requests that its file leads to follow its documented dialect."""

from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Delta,
    Media,
    Message,
    Part,
    Reasoning,
    Source,
    Text,
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

from services.mesh.call.call import run_as
from services.mesh.call.errors import MeshError, NotFound
from services.mesh.testing.local import SOMEBODY
from services.messages.answer import Answer
from services.messages.message import text_of, thoughts_of
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.remote import remote
from services.model.adapters.upstream import Patience
from services.model.media.reader import MediaReader
from services.model.media.settings import MediaSettings
from services.model.parameters import supported_request
from services.model.settings import ModelSettings
from tests.model.dialects.documented import (
    CACHED,
    CALL,
    COMPLETION,
    DETAILED,
    MODEL,
    PROMPT,
    REASONING,
    TEXT,
    THOUGHT,
    Documented,
    Refusal,
)
from tests.model.dialects.server import DialectServer, speaking
from tests.model.dialects.vendors import DIALECTS
from tests.model.vendors import VARIABLES, VENDORS

# A picture of one pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
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


class NoBlobs:
    """A store of the mesh without any bytes."""

    async def read(self, tenant_id: str, hash: str) -> bytes:
        raise NotFound("there are no such bytes")

    def take_base64(self, tenant_id: str, hash: str) -> str:
        return ""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all variables that would configure a provider."""
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, "SOMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SOMA_MODEL_OLLAMA_URL", "")


@asynccontextmanager
async def found(
    name: str, monkeypatch: pytest.MonkeyPatch, **changed: Any
) -> AsyncIterator[tuple[DialectServer, Anthropic | OpenAICompatible]]:
    """The vendor's server, and the provider that its variables configure; checks at the end that it saw no fault."""
    documented, shipped = replace(DIALECTS[name], **changed), VENDORS[name].server
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
        yield (
            server,
            await remote(entry, vendors[entry.vendor], PATIENT, stack, media=MediaReader(NoBlobs(), MediaSettings())),
        )
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
    # The part llm is no vendor: its tests ask the real process.
    assert DIALECTS.keys() == VENDORS.keys() - {"llm"}


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


async def continued(
    server: DialectServer, provider: Anthropic | OpenAICompatible, request: GenerateRequest, *, calls: bool
) -> None:
    """Add the answer of the server to the conversation, and the result of its call."""
    documented = server.documented
    say = documented.whole if request.options.whole else documented.answer
    server.says = say(text=() if calls else TEXT, calls=calls, thinks=bool(documented.thinking))
    answer = Answer()
    async for event in provider.generate(request, documented.thinker or MODEL):
        if isinstance(event, Delta):
            answer.add(event)
    said = answer.message(provider.name)
    assert said is not None
    assert text_of(said) == ("" if calls else "".join(TEXT))
    assert [thought.text for thought in thoughts_of(said)] == ([THOUGHT] if documented.thinking else [])
    request.messages.append(said)
    if calls:
        (call,) = said.tool_calls
        assert call.signature == documented.signature
        request.messages.append(Message(role=ROLE_TOOL, tool_call_id=call.call_id, content="sunny"))


def thoughts_back(documented: Documented, message: dict[str, Any]) -> object:
    """The thoughts in an assistant's message of a request."""
    if documented.thoughts == "parts":
        return [part for part in message["content"] if part["type"] == "thinking"]
    if documented.thoughts == "both":
        assert message["reasoning"] == message["reasoning_content"]
        return message["reasoning"]
    return message[documented.thoughts]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"anthropic"}))
async def test_a_tool_loop_of_two_turns_keeps_its_thoughts(
    name: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = DIALECTS[name]
    # `expects` is about parameters that this request does not have.
    async with found(name, monkeypatch, expects={}) as (server, provider):
        request = GenerateRequest(messages=[Message(role=ROLE_USER, content="Weather?")])
        request.options.whole = whole
        await continued(server, provider, request, calls=documented.tools)
        await continued(server, provider, request, calls=False)
        request.messages.append(Message(role=ROLE_USER, content="And tomorrow?"))
        await continued(server, provider, request, calls=False)
        request.messages.append(Message(role=ROLE_USER, content="Why?"))
        await continued(server, provider, request, calls=documented.tools)
    first, *_, last = server.bodies
    assert ("stream" in first) is not whole
    said = [message for message in last["messages"] if message["role"] == "assistant"]
    assert len(said) == 3
    if documented.tools and documented.signature:
        assert said[0]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == documented.signature
    expected: dict[str, object] = {
        "parts": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}],
        "reasoning_details": [DETAILED],
    }
    if documented.thoughts:
        with_thoughts = said[:2] if documented.thoughts_of == "tool_turns" else said
        wanted = expected.get(documented.thoughts, THOUGHT)
        assert [thoughts_back(documented, message) for message in with_thoughts] == [wanted] * len(with_thoughts)


@pytest.mark.parametrize("name", sorted(name for name, each in DIALECTS.items() if each.thinker))
async def test_a_model_that_is_not_known_to_think_gets_no_thoughts_where_it_would_refuse_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thought = Message(role=ROLE_ASSISTANT, parts=[Part(reasoning=Reasoning(text="Hm.", provider=name))])
    thought.parts.add().text.text = "Yes."
    messages = [Message(role=ROLE_USER, content="Is it?"), thought, Message(role=ROLE_USER, content="Sure?")]
    async with found(name, monkeypatch, expects={}) as (server, provider):
        server.says = server.documented.answer()
        async for _ in provider.generate(GenerateRequest(messages=messages), MODEL):
            pass
    assert server.bodies[0]["messages"][1] == {"role": "assistant", "content": "Yes."}


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"anthropic"}))
async def test_any_history_has_one_system_message_and_one_result_for_each_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def result(call_id: str) -> Message:
        return Message(role=ROLE_TOOL, tool_call_id=call_id, content="42")

    calls = [ToolCall(call_id=call_id, name="f", arguments="{}") for call_id in ("aaaaaaaaa", "bbbbbbbbb")]
    messages = [
        result("lost"),
        Message(role=ROLE_USER, content="Hi"),
        Message(role=ROLE_SYSTEM, content="Be brief."),
        Message(role=ROLE_ASSISTANT, tool_calls=calls),
        Message(role=ROLE_USER, content="Wait."),
        result("aaaaaaaaa"),
        result("aaaaaaaaa"),
        Message(role=ROLE_SYSTEM, content="Be kind."),
        Message(role=ROLE_USER, content="Well?"),
    ]
    request = GenerateRequest(messages=messages, sources=[Source(key="k", text="Biscuit")])
    # The server checks the order, the results and, for some vendors, members of each message.
    async with found(name, monkeypatch, expects={}) as (server, provider):
        server.says = server.documented.answer()
        async for _ in provider.generate(request, MODEL):
            pass
    sent = server.bodies[0]["messages"]
    assert [message["role"] for message in sent].count("system") == 1
    assert sent[0]["content"].startswith("Be brief.\n\nBe kind.\n\n")
    assert "Biscuit" in sent[0]["content"]
    assert [message["role"] for message in sent].count("tool") == 2


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"anthropic"}))
async def test_thoughts_of_another_provider_are_not_sent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Message(role=ROLE_ASSISTANT, parts=[Part(reasoning=Reasoning(text="Hm.", signature="x", provider="b"))])
    foreign.parts.add().text.text = "Yes."
    asked, again = Message(role=ROLE_USER, content="Is it?"), Message(role=ROLE_USER, content="Sure?")
    async with found(name, monkeypatch, expects={}) as (server, provider):
        server.says = server.documented.answer()
        async for _ in provider.generate(GenerateRequest(messages=[asked, foreign, again]), MODEL):
            pass
    assert server.bodies[0]["messages"][1] == {"role": "assistant", "content": "Yes."}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"anthropic"}))
async def test_a_picture_is_sent_in_the_message_and_for_a_tool_result_after_it(
    name: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Part(image=Media(data=b64decode(PNG), media_type="image/png", detail="low"))
    shown = Message(role=ROLE_USER, content="What is it?", parts=[picture, Part(text=Text(text="Look."))])
    call = ToolCall(call_id="123456789", name="camera", arguments="{}")
    request = GenerateRequest(messages=[shown])
    if DIALECTS[name].tools:
        request.messages.add(role=ROLE_ASSISTANT, tool_calls=[call])
        result = Message(role=ROLE_TOOL, tool_call_id="123456789", content="Taken.", parts=[picture])
        request.messages.append(result)
    request.options.whole = whole
    async with found(name, monkeypatch, expects={}) as (server, provider):
        server.says = server.documented.whole() if whole else server.documented.answer()
        with run_as(SOMEBODY):
            async for _ in provider.generate(request, MODEL):
                pass
    sent = server.bodies[0]["messages"]
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}
    assert sent[0]["content"] == [{"type": "text", "text": "What is it?"}, image, {"type": "text", "text": "Look."}]
    if DIALECTS[name].results == "parts":
        assert sent[2]["content"] == [{"type": "text", "text": "Taken."}, image]
    elif DIALECTS[name].tools:
        assert sent[2]["content"] == "Taken."
        assert sent[3] == {
            "role": "user",
            "content": [{"type": "text", "text": "The result of the tool call 123456789 has:"}, image],
        }


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
