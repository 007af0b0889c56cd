"""What Anthropic answers, streamed and whole, reaches the caller: thoughts, citations, counts, pauses and failures."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    ROLE_TOOL,
    ROLE_USER,
    Citation,
    Delta,
    Message,
    Reasoning,
    ToolCall,
    Usage,
)
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, Tool

from services.mesh.call.errors import InvalidArgument, MeshError
from services.messages.answer import Answer
from services.messages.message import thoughts_of
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.upstream import Upstream
from services.model.testing.dialects import AnthropicDialect, Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.model import vendors
from tests.model.adapters.answering import PATIENCE, events
from tests.model.adapters.anthropic_rules import Rules

MODEL = "claude-sonnet-4-6"
SEARCH = Tool(name="web_search", provider_params='{"type": "web_search_20250305"}')
# The member of a block that streams, with the type and the member of its deltas.
STREAMED = {
    "text": ("text", "text_delta", "text"),
    "thinking": ("thinking", "thinking_delta", "thinking"),
    "tool_use": ("input", "input_json_delta", "partial_json"),
    "server_tool_use": ("input", "input_json_delta", "partial_json"),
}


@dataclass
class Heard:
    """An answer: the message of it that is remembered, its pieces, and its last event."""

    answer: Answer = field(default_factory=Answer)
    pieces: list[Delta] = field(default_factory=list)
    finished: GenerationFinished = field(default_factory=GenerationFinished)

    @property
    def message(self) -> Message:
        """The message that is remembered."""
        message = self.answer.message("anthropic")
        assert message is not None
        return message


def request_of(*messages: Message, **options: Any) -> GenerateRequest:
    asked = messages or (Message(role=ROLE_USER, content="Hi"),)
    return GenerateRequest(messages=asked, options=GenerationOptions(**options))


async def hear(provider: Anthropic, request: GenerateRequest, heard: Heard | None = None) -> Heard:
    """The answer; `heard` holds its pieces, also when it fails."""
    heard = heard or Heard()
    async for event in provider.generate(request, MODEL):
        if isinstance(event, GenerationFinished):
            heard.finished = event
        else:
            heard.pieces.append(event)
            heard.answer.add(event)
    return heard


@asynccontextmanager
async def server(*script: Behaviour, rules: Rules | None = None) -> AsyncIterator[tuple[FakeUpstream, Anthropic]]:
    """A server that answers so, one request after the other, and refuses what the API would refuse; and its client."""
    fake = FakeUpstream(AnthropicDialect(), script=list(script))
    fake.check = (rules or Rules()).refusal
    async with fake, Upstream("anthropic", fake.url, {}, PATIENCE) as upstream:
        yield fake, Anthropic(upstream, vendors.ANTHROPIC)


def document(*content: dict[str, Any], stop_reason: str = "end_turn", **more: Any) -> Behaviour:
    """A whole message."""
    usage = more.pop("usage", {"input_tokens": 11, "output_tokens": 7})
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content}
    ended = {"stop_reason": stop_reason, "stop_sequence": None, **more}
    return Behaviour(sent=[json.dumps({**message, **ended, "usage": usage}).encode()])


def stream(*content: dict[str, Any], stop_reason: str = "end_turn", **more: Any) -> Behaviour:
    """The same message as the API streams it."""
    usage = more.pop("usage", {"input_tokens": 11, "output_tokens": 7})
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    said: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {**usage, "output_tokens": 1}}}
    ]
    for index, block in enumerate(content):
        said.append({"type": "content_block_start", "index": index, "content_block": opening(block)})
        said.append({"type": "ping"})
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas(block)]
        said.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": stop_reason, "stop_sequence": None, **more}
    said.append({"type": "message_delta", "delta": ended, "usage": usage})
    return Behaviour(sent=events(*said, {"type": "message_stop"}))


def opening(block: dict[str, Any]) -> dict[str, Any]:
    """The start of a block, before its deltas."""
    if block["type"] not in STREAMED:
        return block
    name = STREAMED[block["type"]][0]
    start = {**block, name: {} if name == "input" else ""}
    if block["type"] == "thinking":
        start["signature"] = ""
    if "citations" in block:
        start["citations"] = []
    return start


def deltas(block: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The deltas of a block: its content in two pieces, then its citations or its signature."""
    if block["type"] not in STREAMED:
        return []
    name, kind, member = STREAMED[block["type"]]
    whole = block[name] if isinstance(block[name], str) else json.dumps(block[name])
    found = [{"type": kind, member: piece} for piece in (whole[:4], whole[4:])]
    found += [{"type": "citations_delta", "citation": each} for each in block.get("citations", ())]
    if block["type"] == "thinking":
        found.append({"type": "signature_delta", "signature": block["signature"]})
    return found


FORMS = pytest.mark.parametrize("form", [stream, document])


def text(said: str, *citations: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": said, **({"citations": list(citations)} if citations else {})}


def thinking(said: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": said, "signature": signature}


def call(call_id: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": given}


@FORMS
async def test_thoughts_text_and_calls_are_read_with_signatures(form: Any) -> None:
    blocks = [
        thinking("Hm, 🤔 let me see.", "c2ln"),
        {"type": "redacted_thinking", "data": "c2VhbGVk"},
        thinking("", "b21pdHRlZA=="),
        text("Let me look."),
        call("a", city="Rome"),
        call("b"),
    ]
    async with server(form(*blocks, stop_reason="tool_use")) as (fake, provider):
        heard = await hear(provider, request_of(whole=form is document))
    assert ("stream" in fake.requests[0]) is (form is stream)
    message = heard.message
    assert thoughts_of(message) == [
        Reasoning(text="Hm, 🤔 let me see.", signature="c2ln", provider="anthropic"),
        Reasoning(redacted="c2VhbGVk", provider="anthropic"),
        Reasoning(signature="b21pdHRlZA==", provider="anthropic"),
    ]
    assert message.parts[3].text.text == "Let me look."
    assert list(message.tool_calls) == [
        ToolCall(call_id="a", name="weather", arguments=message.tool_calls[0].arguments),
        ToolCall(call_id="b", name="weather", arguments="{}"),
    ]
    assert json.loads(message.tool_calls[0].arguments) == {"city": "Rome"}
    assert heard.finished.finish_reason == FINISH_REASON_TOOL_CALLS


@FORMS
async def test_thoughts_between_texts_and_calls_go_back_to_their_places(form: Any) -> None:
    rules = Rules()
    rules.signed = {"s1": "Hm.", "s2": "So.", "s3": "Now."}
    blocks = [
        thinking("Hm.", "s1"),
        text("One 🌍."),
        thinking("So.", "s2"),
        text("Two."),
        call("a"),
        thinking("Now.", "s3"),
    ]
    blocks += [call("b")]
    async with server(form(*blocks, stop_reason="tool_use"), form(text("Done.")), rules=rules) as (fake, provider):
        request = request_of()
        request.messages.append((await hear(provider, request)).message)
        for call_id in ("a", "b"):
            request.messages.add(role=ROLE_TOOL, tool_call_id=call_id, content="sunny")
        await hear(provider, request)
    assert fake.requests[1]["messages"][1]["content"] == blocks


@FORMS
async def test_a_whole_answer_is_asked_for_whole_also_if_it_comes_as_a_stream(form: Any) -> None:
    async with server(form(text("Hello"))) as (fake, provider):
        heard = await hear(provider, request_of(whole=True))
    assert "stream" not in fake.requests[0]
    assert heard.answer.text == "Hello"


LOCATIONS: list[tuple[dict[str, Any], Citation]] = [
    (
        {
            "type": "char_location",
            "cited_text": "The sky is blue.",
            "document_index": 0,
            "document_title": "Sky",
            "start_char_index": 0,
            "end_char_index": 16,
        },
        Citation(title="Sky", quote="The sky is blue."),
    ),
    (
        {
            "type": "page_location",
            "cited_text": "Page.",
            "document_index": 1,
            "document_title": None,
            "start_page_number": 1,
            "end_page_number": 2,
        },
        Citation(quote="Page."),
    ),
    (
        {
            "type": "content_block_location",
            "cited_text": "Block.",
            "document_index": 1,
            "document_title": "Book",
            "start_block_index": 0,
            "end_block_index": 1,
        },
        Citation(title="Book", quote="Block."),
    ),
    (
        {
            "type": "search_result_location",
            "cited_text": "Found.",
            "search_result_index": 0,
            "source": "https://docs.example/a",
            "title": "Docs",
            "start_block_index": 0,
            "end_block_index": 1,
        },
        Citation(url="https://docs.example/a", title="Docs", quote="Found."),
    ),
    (
        {
            "type": "search_result_location",
            "cited_text": "Found.",
            "search_result_index": 0,
            "source": "shelf 4",
            "title": "Shelf",
            "start_block_index": 0,
            "end_block_index": 1,
        },
        Citation(title="Shelf", quote="Found."),
    ),
    (
        {
            "type": "web_search_result_location",
            "cited_text": "Web.",
            "url": "https://web.example",
            "title": "Web",
            "encrypted_index": "RW5j",
        },
        Citation(url="https://web.example", title="Web", quote="Web."),
    ),
]


@FORMS
@pytest.mark.parametrize(("location", "expected"), LOCATIONS)
async def test_a_citation_says_where_it_belongs_and_keeps_its_location(
    form: Any, location: dict[str, Any], expected: Citation
) -> None:
    blocks = [text("🌍 says "), text("it is blue", location), text("."), text("And wet", location, location)]
    async with server(form(*blocks)) as (_, provider):
        heard = await hear(provider, request_of())
    said = "🌍 says it is blue.And wet"
    (part,) = heard.message.parts
    assert part.text.text == said
    places = [said[each.start : each.end] for each in part.text.citations]
    assert places == ["it is blue", "And wet", "And wet"]
    for citation in part.text.citations:
        assert json.loads(citation.details) == location
        kept = Citation(url=citation.url, title=citation.title, quote=citation.quote)
        assert kept == expected


@FORMS
async def test_counts_have_what_was_read_from_and_written_to_the_cache_and_what_was_thought(form: Any) -> None:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 100,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
    }
    async with server(form(text("Hello"), usage=usage)) as (_, provider):
        heard = await hear(provider, request_of())
    assert heard.finished.usage == Usage(
        prompt_tokens=123,
        completion_tokens=50,
        total_tokens=173,
        cached_prompt_tokens=100,
        cache_write_prompt_tokens=20,
        reasoning_tokens=30,
    )


@FORMS
@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", FINISH_REASON_STOP),
        ("max_tokens", FINISH_REASON_LENGTH),
        ("model_context_window_exceeded", FINISH_REASON_LENGTH),
        ("refusal", FINISH_REASON_CONTENT_FILTER),
        ("pause_turn", FINISH_REASON_LENGTH),
    ],
)
async def test_the_reason_of_the_end_is_passed_on(form: Any, reason: str, finish: int) -> None:
    async with server(form(text("Hello"), stop_reason=reason)) as (_, provider):
        heard = await hear(provider, request_of())
    assert (heard.answer.text, heard.finished.finish_reason) == ("Hello", finish)


@FORMS
async def test_the_stop_sequence_that_ended_the_text_is_named(form: Any) -> None:
    async with server(form(text("Hello"), stop_reason="stop_sequence", stop_sequence="END")) as (_, provider):
        heard = await hear(provider, request_of())
    assert (heard.finished.finish_reason, heard.finished.stop_sequence) == (FINISH_REASON_STOP, "END")


@FORMS
async def test_a_refusal_without_text_says_why(form: Any) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "This could do harm."}
    async with server(form(stop_reason="refusal", stop_details=details)) as (_, provider):
        heard = await hear(provider, request_of())
    assert [(piece.text, piece.refusal) for piece in heard.pieces] == [("This could do harm.", True)]
    assert heard.finished.finish_reason == FINISH_REASON_CONTENT_FILTER
    async with server(form(text("I"), stop_reason="refusal", stop_details=details)) as (_, provider):
        heard = await hear(provider, request_of())
    assert heard.answer.text == "I"
    assert not any(piece.refusal for piece in heard.pieces)


def search(block_id: str) -> list[dict[str, Any]]:
    """A search on the server, and its result."""
    return [
        {"type": "server_tool_use", "id": block_id, "name": "web_search", "input": {"query": "sky"}},
        {"type": "web_search_tool_result", "tool_use_id": block_id, "content": [{"type": "web_search_result"}]},
    ]


@FORMS
async def test_a_turn_that_pauses_is_continued_and_is_one_answer(form: Any) -> None:
    rules = Rules()
    rules.signed = {"s1": "Hm.", "s2": "So."}
    location = LOCATIONS[-1][0]
    first = [thinking("Hm.", "s1"), text("I look. "), *search("srvtoolu_1")]
    second = [thinking("So.", "s2"), text("It is blue", location), call("a", city="Rome")]
    usage = {"input_tokens": 11, "output_tokens": 7, "cache_read_input_tokens": 5}
    script = [
        form(*first, stop_reason="pause_turn", usage=usage),
        form(text(" "), *search("srvtoolu_2"), stop_reason="pause_turn"),
        form(*second, stop_reason="tool_use"),
    ]
    async with server(*script, rules=rules) as (fake, provider):
        heard = await hear(provider, request_of(tools=[SEARCH], whole=form is document))
    assert [len(body["messages"]) for body in fake.requests] == [1, 2, 2]
    assert fake.requests[1]["messages"][1] == {"role": "assistant", "content": first}
    assert fake.requests[2]["messages"][1] == {"role": "assistant", "content": [*first, *search("srvtoolu_2")]}
    assert fake.requests[2]["tools"] == fake.requests[0]["tools"]
    message = heard.message
    assert [thought.signature for thought in thoughts_of(message)] == ["s1", "s2"]
    assert message.parts[2].text.text == "I look.  It is blue"
    (citation,) = message.parts[2].text.citations
    assert (citation.start, citation.end) == (9, 19)
    assert [call.call_id for call in message.tool_calls] == ["a"]
    assert heard.finished.finish_reason == FINISH_REASON_TOOL_CALLS
    assert (heard.finished.usage.prompt_tokens, heard.finished.usage.completion_tokens) == (38, 21)
    assert heard.finished.usage.cached_prompt_tokens == 5


async def test_a_character_in_two_pieces_is_whole_in_its_block_and_in_what_is_sent_back() -> None:
    start = list(stream().sent[:1])
    ended = [json.loads(frame.split(b"data: ")[1]) for frame in stream(stop_reason="pause_turn").sent[1:]]
    frames = list(start)
    for index, (kind, name) in enumerate((("text", "text"), ("text", "text"), ("server_tool_use", "input"))):
        block = {"type": kind, name: "" if name == "text" else {}, "id": "srvtoolu_1", "name": "web_search"}
        block = {
            each: block[each] for each in (("type", "text") if kind == "text" else ("type", "id", "name", "input"))
        }
        frames += events({"type": "content_block_start", "index": index, "content_block": block})
        member = {"text": ("text_delta", "text"), "input": ("input_json_delta", "partial_json")}[name]
        for half in ("\\ud83c", "\\udf0d", "\\ud83c") if index == 0 else ("a",) if index == 1 else ("{}",):
            data = b'{"type": "content_block_delta", "index": %d, "delta": {"type": "%s", "%s": "%s"}}'
            frames.append(b"data: " + data % (index, member[0].encode(), member[1].encode(), half.encode()) + b"\n\n")
        frames += events({"type": "content_block_stop", "index": index})
    async with server(Behaviour(sent=[*frames, *events(*ended)]), stream(text("."))) as (fake, provider):
        heard = await hear(provider, request_of(tools=[SEARCH]))
    assert heard.answer.text == "🌍\ufffda."
    sent = fake.requests[1]["messages"][1]["content"]
    assert [block.get("text") for block in sent] == ["🌍\ufffd", "a", None]


async def test_an_answer_that_pauses_without_end_is_not_complete() -> None:
    paused = stream(text("more "), *search("srvtoolu_1"), stop_reason="pause_turn")
    async with server(*[paused] * 20) as (fake, provider):
        heard = await hear(provider, request_of(tools=[SEARCH]))
    assert len(fake.requests) == 11
    assert heard.answer.text == "more " * 11
    assert heard.finished.finish_reason == FINISH_REASON_LENGTH
    assert heard.finished.usage.completion_tokens == 77


async def test_an_error_in_a_continued_turn_ends_it_as_an_error() -> None:
    paused = stream(text("I look."), *search("srvtoolu_1"), stop_reason="pause_turn")
    heard = Heard()
    async with server(paused, Behaviour(fault=Fault.OVERLOADED)) as (_, provider):
        with pytest.raises(MeshError) as raised:
            await hear(provider, request_of(tools=[SEARCH]), heard)
    assert raised.value.reason == "PROVIDER_UNAVAILABLE"
    assert heard.answer.text == "I look."


@pytest.mark.parametrize("form", [stream, document])
@pytest.mark.parametrize(
    "options",
    [{"reasoning": ReasoningOptions(budget_tokens=2000)}, {"reasoning": ReasoningOptions(effort="high")}],
    ids=["budget", "effort"],
)
async def test_a_loop_of_five_turns_keeps_its_thoughts_and_signatures(form: Any, options: dict[str, Any]) -> None:
    rules = Rules()
    request = request_of(**options, tools=[Tool(name="weather")], whole=form is document)
    script = []
    for turn in range(5):
        said, signature = f"Thought {turn} ✓", f"sig-{turn}=="
        rules.signed |= {signature: said, f"sealed-{turn}": ""}
        sealed = {"type": "redacted_thinking", "data": f"sealed-{turn}"}
        calls = [call(f"toolu_{turn}a", city="Rome"), call(f"toolu_{turn}b")]
        script.append(form(thinking(said, signature), sealed, text(f"Turn {turn}"), *calls, stop_reason="tool_use"))
    script.append(form(text("Done.")))
    async with server(*script, rules=rules) as (fake, provider):
        for _ in range(5):
            message = (await hear(provider, request)).message
            assert len(message.tool_calls) == 2
            request.messages.append(message)
            for each in reversed(message.tool_calls):
                request.messages.add(role=ROLE_TOOL, tool_call_id=each.call_id, content="sunny")
        assert (await hear(provider, request)).answer.text == "Done."
        assert "thinking" in fake.requests[-1]
        turns = [turn["content"] for turn in fake.requests[-1]["messages"] if turn["role"] == "assistant"]
        assert [content[0]["signature"] for content in turns] == [f"sig-{turn}==" for turn in range(5)]
        request.messages[1].parts[0].reasoning.text = "Another thought"
        with pytest.raises(InvalidArgument, match="Invalid `signature` in `thinking` block") as raised:
            await hear(provider, request)
    assert raised.value.reason == "PROVIDER_REFUSED_REQUEST"


async def test_the_header_of_trial_features_is_sent() -> None:
    async with server(stream(text("Hello")), stream(text("Hello"))) as (fake, provider):
        await hear(provider, request_of(provider_params='{"betas": ["a-1", "b-2"], "mcp_servers": []}'))
        assert fake.headers["anthropic-beta"] == "a-1,b-2"
        await hear(provider, request_of())
        assert "anthropic-beta" not in fake.headers


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("overloaded_error", "PROVIDER_UNAVAILABLE"),
        ("api_error", "PROVIDER_UNAVAILABLE"),
        ("rate_limit_error", "PROVIDER_RATE_LIMITED"),
        ("timeout_error", "PROVIDER_TIMEOUT"),
        ("invalid_request_error", "PROVIDER_REFUSED_REQUEST"),
    ],
)
@pytest.mark.parametrize("block", [text("Hello there"), thinking("Hmmm, so", "s"), call("a", city="Rome")])
async def test_an_error_after_the_answer_began_ends_it_as_an_error(
    block: dict[str, Any], error: str, reason: str
) -> None:
    frames = list(stream(block).sent)[:-3]
    frames += events({"type": "error", "error": {"type": error, "message": "Oh no"}})
    heard = Heard()
    async with server(Behaviour(sent=frames)) as (_, provider):
        with pytest.raises(MeshError, match="Oh no") as raised:
            await hear(provider, request_of(), heard)
    assert raised.value.reason == reason
    assert heard.pieces
    assert not heard.finished.finish_reason


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason", "seconds"),
    [
        (529, json.dumps(OVERLOADED), {}, "PROVIDER_UNAVAILABLE", None),
        (529, json.dumps(OVERLOADED), {"retry-after": "12"}, "PROVIDER_UNAVAILABLE", 12.0),
        (529, "<html>busy</html>", {"retry-after": "3"}, "PROVIDER_UNAVAILABLE", 3.0),
        (429, "slow down", {"retry-after": "7"}, "PROVIDER_RATE_LIMITED", 7.0),
        (
            413,
            '{"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}',
            {},
            "PROVIDER_REFUSED_REQUEST",
            None,
        ),
        (413, "<html>413 Request Entity Too Large</html>", {}, "PROVIDER_REFUSED_REQUEST", None),
        (500, "\xff\xfe", {}, "PROVIDER_UNAVAILABLE", None),
        (504, "", {}, "PROVIDER_TIMEOUT", None),
    ],
)
async def test_a_refusal_is_typed_whatever_its_body(
    status: int, body: str, headers: dict[str, str], reason: str, seconds: float | None
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body.encode("latin-1"), headers=headers)

    app = web.Application()
    app.router.add_post("/v1/messages", refuse)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(TestServer(app))
        url = str(running.make_url("/")).rstrip("/")
        upstream = await stack.enter_async_context(Upstream("anthropic", url, {}, PATIENCE))
        with pytest.raises(MeshError) as raised:
            await hear(Anthropic(upstream, vendors.ANTHROPIC), request_of())
    assert raised.value.reason == reason
    assert raised.value.facts.retry_after == seconds
    if "{" in body:
        assert json.loads(body)["error"]["message"] in raised.value.message


async def test_the_list_of_models_says_what_they_read_and_how_they_think() -> None:
    def supported(value: bool) -> dict[str, bool]:
        return {"supported": value}

    def entry(name: str, sees: bool, adaptive: bool) -> dict[str, Any]:
        types = {"adaptive": supported(adaptive), "enabled": supported(not adaptive)}
        said = {"image_input": supported(sees), "pdf_input": supported(sees)}
        return {
            "id": name,
            "capabilities": {**said, "thinking": {**supported(True), "types": types}},
            "max_tokens": 9000,
        }

    async with server(stream(text("Hello"))) as (fake, provider):
        fake.listing = {"data": [entry("blind", False, False), entry(MODEL, True, True)], "has_more": False}
        blind, seeing = await provider.models()
        await hear(provider, request_of(reasoning=ReasoningOptions(effort="low")))
    assert list(blind.input_modalities) == [Model.MODALITY_TEXT]
    assert list(seeing.input_modalities) == [Model.MODALITY_TEXT, Model.MODALITY_IMAGE, Model.MODALITY_FILE]
    assert Model.CAPABILITY_REASONING in blind.capabilities
    assert fake.requests[0]["thinking"]["type"] == "adaptive"
    assert fake.requests[0]["max_tokens"] == 9000
    assert set(provider.excluded(request_of(), MODEL)) >= {"temperature", "reasoning_budget"}
    assert "reasoning_budget" not in provider.excluded(request_of(), "blind")
