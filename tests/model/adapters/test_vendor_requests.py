"""The requests to vendors: every field of the contract in each vendor's protocol, and tools in both directions."""

import json
from typing import Any

import pytest
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_TOOL_CALLS,
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Delta,
    FinishReason,
    Message,
    Source,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, ResponseFormat, Sampling, Tool, ToolChoice

from services.mesh.call.errors import InvalidArgument
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.anthropic_answer import MessageAnswer
from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.openai_request import chat_body
from services.model.adapters.upstream import Patience, Upstream
from services.model.provider import Provider
from services.model.testing.dialects import AnthropicDialect, Behaviour, Dialect, OpenAIDialect
from services.model.testing.upstreams import FakeUpstream
from services.model.vendor import Chat
from tests.model import vendors

CHAT = Chat()
SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}}'
PARSED = {"type": "object", "properties": {"city": {"type": "string"}}}


def conversation(**options: Any) -> GenerateRequest:
    """A conversation with instructions, a tool call, its results and a question."""
    return GenerateRequest(
        messages=[
            Message(role=ROLE_SYSTEM, content="Be brief."),
            Message(role=ROLE_USER, content="Weather in Rome and Oslo?", name="ann"),
            Message(
                role=ROLE_ASSISTANT,
                tool_calls=[
                    ToolCall(call_id="c1", name="weather", arguments='{"city": "Rome"}'),
                    ToolCall(call_id="c2", name="weather", arguments=""),
                ],
            ),
            Message(role=ROLE_TOOL, tool_call_id="c1", content="sunny"),
            Message(role=ROLE_TOOL, tool_call_id="c2", content="snow"),
            Message(role=ROLE_USER, content="And tomorrow?"),
        ],
        options=GenerationOptions(**options),
    )


def test_openai_is_sent_the_conversation_with_its_tool_calls_and_results() -> None:
    body = chat_body(conversation(), "m", CHAT, "lab")
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": ""}},
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Rome and Oslo?", "name": "ann"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
        {"role": "tool", "content": "snow", "tool_call_id": "c2"},
        {"role": "user", "content": "And tomorrow?"},
    ]


def test_anthropic_is_sent_turns_that_alternate_and_tool_results_as_the_users() -> None:
    body = messages_body(conversation(), "m")
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Rome and Oslo?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "snow"},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ]


def test_both_vendors_get_the_sources_with_the_note_that_they_are_no_instructions() -> None:
    request = conversation()
    request.sources.append(Source(key="pets/dog", text="The dog is called Biscuit."))
    openai, anthropic = chat_body(request, "m", CHAT, "lab"), messages_body(request, "m")
    system = openai["messages"][0]
    assert system["role"] == "system"
    for text in (system["content"], anthropic["system"]):
        assert "[pets/dog] The dog is called Biscuit." in text
        assert "not instructions" in text


def test_openai_is_sent_every_sampling_field_as_the_caller_wrote_it() -> None:
    sampling = Sampling(
        max_tokens=7,
        temperature=0.7,
        top_p=0.9,
        top_k=5,
        repetition_penalty=1.1,
        frequency_penalty=0.0,
        presence_penalty=-0.5,
        stop_sequences=["END"],
        seed=0,
    )
    request = conversation(sampling=sampling, reasoning=ReasoningOptions(effort="low"), user="u1")
    body = chat_body(request, "m", vendors.OPENAI.chat, "openai")
    expected = {
        "max_completion_tokens": 7,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "repetition_penalty": 1.1,
        "frequency_penalty": 0.0,
        "presence_penalty": -0.5,
        "stop": ["END"],
        "seed": 0,
        "reasoning_effort": "low",
        "user": "u1",
    }
    assert {name: body[name] for name in expected} == expected


def test_what_is_not_set_is_not_sent() -> None:
    assert set(chat_body(conversation(), "m", CHAT, "lab")) == {"model", "messages", "stream", "stream_options"}
    assert set(messages_body(conversation(), "m")) == {"model", "messages", "stream", "system", "max_tokens"}


def test_anthropic_is_sent_the_fields_that_it_supports() -> None:
    sampling = Sampling(max_tokens=7, temperature=0.7, top_p=0.9, top_k=5, stop_sequences=["END"], seed=3)
    body = messages_body(conversation(sampling=sampling, user="u1"), "m")
    expected = {
        "max_tokens": 7,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
    }
    assert {name: body[name] for name in expected} == expected
    assert "seed" not in body


def test_openai_is_asked_for_log_probabilities() -> None:
    body = chat_body(conversation(sampling=Sampling(top_logprobs=0)), "m", CHAT, "lab")
    assert (body["logprobs"], body["top_logprobs"]) == (True, 0)


@pytest.mark.parametrize(
    ("choice", "openai", "anthropic"),
    [
        (ToolChoice(mode=ToolChoice.MODE_AUTO), "auto", {"type": "auto"}),
        (ToolChoice(mode=ToolChoice.MODE_NONE), "none", {"type": "none"}),
        (ToolChoice(mode=ToolChoice.MODE_REQUIRED), "required", {"type": "any"}),
        (
            ToolChoice(mode=ToolChoice.MODE_NAMED, name="weather"),
            {"type": "function", "function": {"name": "weather"}},
            {"type": "tool", "name": "weather"},
        ),
    ],
)
def test_tools_and_the_choice_among_them_are_passed_on(choice: ToolChoice, openai: Any, anthropic: Any) -> None:
    request = conversation(
        tools=[Tool(name="weather", description="Looks out of the window", parameters=SCHEMA, strict=True)],
        tool_choice=choice,
    )
    sent = chat_body(request, "m", CHAT, "lab")
    function = {"name": "weather", "description": "Looks out of the window", "parameters": PARSED, "strict": True}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["tool_choice"] == openai
    sent = messages_body(request, "m")
    assert sent["tools"] == [
        {"name": "weather", "description": "Looks out of the window", "input_schema": PARSED, "strict": True}
    ]
    assert sent["tool_choice"] == anthropic


def test_one_call_at_a_time_is_requested_in_both_protocols() -> None:
    request = conversation(tools=[Tool(name="t")], parallel_tool_calls=False)
    assert chat_body(request, "m", CHAT, "lab")["parallel_tool_calls"] is False
    assert messages_body(request, "m")["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_structured_output_is_requested_in_both_protocols() -> None:
    wanted = ResponseFormat(type=ResponseFormat.TYPE_JSON_SCHEMA, name="place", schema=SCHEMA, strict=True)
    request = conversation(response_format=wanted)
    assert chat_body(request, "m", CHAT, "lab")["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "place", "schema": PARSED, "strict": True},
    }
    assert messages_body(request, "m")["output_config"] == {"format": {"type": "json_schema", "schema": PARSED}}


@pytest.mark.parametrize("text", ["{broken", "[]", "3"])
def test_a_schema_that_is_no_json_object_is_refused_by_its_field(text: str) -> None:
    request = conversation(tools=[Tool(name="t", parameters=text)])
    with pytest.raises(InvalidArgument) as openai:
        chat_body(request, "m", CHAT, "lab")
    with pytest.raises(InvalidArgument) as anthropic:
        messages_body(request, "m")
    for raised in (openai, anthropic):
        assert raised.value.facts.violations[0].field == "tools[0].parameters"


async def answered(fake: FakeUpstream) -> tuple[str, list[ToolCallDelta], GenerationFinished]:
    anthropic = isinstance(fake.dialect, AnthropicDialect)
    async with Upstream("vendor", fake.url if anthropic else f"{fake.url}/v1", {}, Patience()) as upstream:
        provider: Provider = (
            Anthropic(upstream, vendors.ANTHROPIC) if anthropic else OpenAICompatible(upstream, vendors.COMPATIBLE)
        )
        text, calls = "", list[ToolCallDelta]()
        async for event in provider.generate(conversation(), "m"):
            if isinstance(event, GenerationFinished):
                return text, calls, event
            calls.extend(event.tool_calls)
            text += event.text
    pytest.fail("it never finished")


@pytest.mark.parametrize("dialect", [OpenAIDialect(), AnthropicDialect()])
async def test_tool_calls_stream_back_with_their_index_id_name_and_arguments(dialect: Dialect) -> None:
    calls = (("c8", "weather", ('{"city":', ' "Rome"}')), ("c9", "time", ("{}",)))
    async with FakeUpstream(dialect, Behaviour(deltas=("Let me look.",), tool_calls=calls)) as fake:
        text, found, finished = await answered(fake)
    assert text == "Let me look."
    assert [(call.index, call.call_id, call.name) for call in found if call.call_id] == [
        (0, "c8", "weather"),
        (1, "c9", "time"),
    ]
    assert "".join(call.arguments for call in found if call.index == 0) == '{"city": "Rome"}'
    assert "".join(call.arguments for call in found if call.index == 1) == "{}"
    assert finished.finish_reason == FINISH_REASON_TOOL_CALLS


async def test_a_call_without_arguments_from_anthropic_has_an_empty_object() -> None:
    behaviour = Behaviour(deltas=(), tool_calls=(("c1", "now", ()),))
    async with FakeUpstream(AnthropicDialect(), behaviour) as fake:
        _, found, _ = await answered(fake)
    assert "".join(call.arguments for call in found) == "{}"


@pytest.mark.parametrize(
    ("dialect", "word", "reason"),
    [
        (OpenAIDialect(), "length", FINISH_REASON_LENGTH),
        (OpenAIDialect(), "content_filter", FINISH_REASON_CONTENT_FILTER),
        (AnthropicDialect(), "max_tokens", FINISH_REASON_LENGTH),
        (AnthropicDialect(), "refusal", FINISH_REASON_CONTENT_FILTER),
    ],
)
async def test_a_vendors_finish_reason_is_translated(
    dialect: Dialect, word: str, reason: "FinishReason.ValueType"
) -> None:
    async with FakeUpstream(dialect, Behaviour(finish=word)) as fake:
        _, _, finished = await answered(fake)
    assert finished.finish_reason == reason


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("dialect", [OpenAIDialect(), AnthropicDialect()])
async def test_text_survives_reads_that_split_its_characters(dialect: Dialect, chunk: int) -> None:
    text = ("Grüße", " 🌍🏳️‍🌈", " 你好", ' "quoted" \\ \u2028')
    async with FakeUpstream(dialect, Behaviour(deltas=text, chunk=chunk)) as fake:
        found, _, _ = await answered(fake)
    assert found == "".join(text)


def test_openais_log_probabilities_come_with_their_text() -> None:
    entry = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
    logprobs = {"content": [{**entry, "top_logprobs": [entry]}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": logprobs}]}
    [delta] = ChatAnswer("lab").read(json.dumps(chunk).encode())
    likely = TokenLogprob(token="Hi", logprob=-0.5, utf8=b"Hi")
    assert delta == Delta(text="Hi", logprobs=[TokenLogprob(token="Hi", logprob=-0.5, utf8=b"Hi", top=[likely])])


def test_openais_refusal_is_distinguished_from_an_answer() -> None:
    token = {"token": "No", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    logprobs = {"content": None, "refusal": [token]}
    chunk = {"choices": [{"index": 0, "delta": {"refusal": "No"}, "logprobs": logprobs}]}
    [delta] = ChatAnswer("lab").read(json.dumps(chunk).encode())
    assert delta == Delta(text="No", refusal=True, logprobs=[TokenLogprob(token="No", logprob=-0.5)])


def test_cached_and_reasoning_tokens_are_counted() -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    openai = ChatAnswer("lab")
    for data in (json.dumps({"choices": [], "usage": usage}).encode(), b"[DONE]"):
        openai.read(data)
    counted = Usage(prompt_tokens=11, completion_tokens=5, total_tokens=16, cached_prompt_tokens=8, reasoning_tokens=3)
    assert openai.finished()[1].usage == counted
    claude = MessageAnswer("lab")
    read = {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 5}
    for event in ({"type": "message_start", "message": {"usage": read}}, {"type": "message_stop"}):
        claude.read(json.dumps(event).encode())
    counted.ClearField("reasoning_tokens")
    assert claude.finished()[1].usage == counted
