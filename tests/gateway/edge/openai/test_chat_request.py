"""Which requests are accepted, how they become messages of the contract, and how the others are refused."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import protovalidate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soma.model.v1 import message_pb2 as model
from soma.model.v1.options_pb2 import (
    GenerationOptions,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest

from gateway.edge.openai.chat_request import ChatAsk, ChatCompletionRequest, read_chat_request
from gateway.edge.openai.extension import Extension
from gateway.edge.openai.response_request import read_response_request
from services.mesh.call.errors import InvalidArgument

HI = [{"role": "user", "content": "Hi"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks up.",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
        "strict": True,
    },
}
CALL = {"id": "call_a", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}}
SCHEMA = {"name": "answer", "schema": {"type": "object"}, "strict": True}


def text(said: str) -> model.Part:
    return model.Part(text=model.Text(text=said))


def read(**members: Any) -> ChatAsk:
    return read_chat_request(json.dumps({"messages": HI} | members).encode())


def test_every_supported_member_reaches_the_contract() -> None:
    ask = read(
        model="plain",
        temperature=0.5,
        top_p=1,
        max_completion_tokens=10,
        stop=["a", "b"],
        seed=-7,
        frequency_penalty=-2,
        presence_penalty=2.0,
        reasoning_effort="low",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": SCHEMA},
        user="u",
        metadata={"a": "b"},
        conversation="c",
        n=1,
        stream=True,
        stream_options={"include_usage": True},
        soma={"sources": True},
    )
    assert ask == ChatAsk(
        request=ChatRequest(
            model="plain",
            messages=[model.Message(role=model.ROLE_USER, content="Hi")],
            conversation_id="c",
            options=GenerationOptions(
                sampling=Sampling(
                    temperature=0.5,
                    top_p=1,
                    max_tokens=10,
                    stop_sequences=["a", "b"],
                    seed=-7,
                    frequency_penalty=-2,
                    presence_penalty=2,
                ),
                reasoning=ReasoningOptions(effort="low"),
                tools=[
                    Tool(
                        name="look_up",
                        description="Looks up.",
                        parameters='{"type":"object","properties":{"q":{"type":"string"}}}',
                        strict=True,
                    )
                ],
                tool_choice=ToolChoice(mode=ToolChoice.MODE_NAMED, name="look_up"),
                parallel_tool_calls=False,
                response_format=ResponseFormat(
                    type=ResponseFormat.TYPE_JSON_SCHEMA, name="answer", schema='{"type":"object"}', strict=True
                ),
                user="u",
            ),
        ),
        stream=True,
        include_usage=True,
        extension=Extension(sources=True),
    )


def test_a_missing_parameter_is_left_to_the_provider() -> None:
    asked = ChatRequest(
        messages=[model.Message(role=model.ROLE_USER, content="Hi")], options=GenerationOptions(whole=True)
    )
    assert read().request == asked


def test_null_means_the_same_as_a_missing_member() -> None:
    assert read(**dict.fromkeys(ChatCompletionRequest.__annotations__.keys() - {"messages"})) == read()


def test_every_role_has_its_place_in_the_contract() -> None:
    ask = read(
        messages=[
            {"role": "system", "content": "s"},
            {"role": "developer", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "eve"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "annotations": []},
            {"role": "tool", "content": "42", "tool_call_id": "call_a"},
            {"role": "assistant", "content": None, "refusal": "No.", "audio": None, "function_call": None},
            {"role": "assistant", "content": ""},
        ]
    )
    assert list(ask.request.messages) == [
        model.Message(role=model.ROLE_SYSTEM, content="s"),
        model.Message(role=model.ROLE_SYSTEM, content="d"),
        model.Message(role=model.ROLE_USER, parts=[text("a"), text("b")], name="eve"),
        model.Message(
            role=model.ROLE_ASSISTANT,
            tool_calls=[model.ToolCall(call_id="call_a", name="look_up", arguments='{"q":1}')],
        ),
        model.Message(role=model.ROLE_TOOL, content="42", tool_call_id="call_a"),
        model.Message(role=model.ROLE_ASSISTANT, content="No."),
        model.Message(role=model.ROLE_ASSISTANT),
    ]


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("none", ToolChoice.MODE_NONE),
        ("auto", ToolChoice.MODE_AUTO),
        ("required", ToolChoice.MODE_REQUIRED),
    ],
)
def test_a_tool_choice_may_be_a_string(said: str, mode: ToolChoice.Mode.ValueType) -> None:
    assert read(tools=[TOOL], tool_choice=said).request.options.tool_choice.mode == mode


def test_a_conversation_may_be_an_object() -> None:
    assert read(conversation={"id": "c"}).request.conversation_id == "c"


def test_a_seed_too_large_for_the_contract_always_becomes_the_same_smaller_seed() -> None:
    seeds = [read(seed=seed).request.options.sampling.seed for seed in (2**40 + 3, 2**40 + 3, -(2**63), 2**31)]
    assert seeds[0] == seeds[1]
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    "members",
    [
        {"logprobs": False},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"verbosity": "medium"},
        {"functions": []},
        {"store": False},
        {"service_tier": "auto"},
        {"prompt_cache_key": "k"},
        {"tool_choice": "none"},
        {"tools": []},
    ],
)
def test_members_whose_value_changes_nothing_are_accepted(members: dict[str, Any]) -> None:
    assert read(**members).request.messages == read().request.messages


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"messages": None}, "messages", "Missing required parameter: 'messages'."),
    ({"messages": []}, "messages", "empty array"),
    ({"messages": HI * 10_000}, "messages", "Expected an array with maximum length 4096"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 1025}]},
        "messages[0].content",
        "Expected an array with maximum length 1024",
    ),
    ({"messages": "Hi"}, "messages", "expected an array, but got a string instead"),
    ({"messages": ["Hi"]}, "messages[0]", "expected an object, but got a string instead"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "Missing required parameter"),
    ({"messages": [{"role": "god", "content": ""}]}, "messages[0].role", "Invalid value: 'god'. Supported values"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "expected a string, but got null instead"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "expected one of a string or array"),
    ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0].tool_call_id", "Missing required parameter"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]},
        "messages[0].content[0].image_url.url",
        "expected an http or https URL, or a data URL",
    ),
    ({"messages": [{"role": "user", "content": "", "tool_calls": [CALL]}]}, "messages[0].tool_calls", "only an assist"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [CALL | {"type": "custom"}]}]},
        "messages[0].tool_calls[0].type",
        "Invalid value: 'custom'",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": "f"}}]}]},
        "messages[0].tool_calls[0].function.arguments",
        "Missing required parameter",
    ),
    ({"temperature": "hot"}, "temperature", "expected a decimal, but got a string instead"),
    ({"temperature": True}, "temperature", "expected a decimal, but got a boolean instead"),
    ({"temperature": 3}, "temperature", "Expected a value <= 2, but got 3 instead."),
    ({"top_p": -0.1}, "top_p", "Expected a value >= 0, but got -0.1 instead."),
    ({"max_tokens": 1.5}, "max_tokens", "expected an integer, but got a decimal instead"),
    ({"max_tokens": 0}, "max_tokens", "integer below minimum value"),
    ({"max_completion_tokens": 10**30}, "max_completion_tokens", "expected an integer"),
    ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", "at the same time is not supported"),
    ({"n": 0}, "n", "integer below minimum value"),
    ({"n": 2, "conversation": "c"}, "n", "'n' has to be 1 with 'conversation'"),
    ({"stop": ["a"] * 17}, "stop", "maximum length 16"),
    ({"stop": ["a", ""]}, "stop[1]", "1 to 256 characters"),
    ({"stop": 1}, "stop", "expected an array, but got an integer instead"),
    ({"seed": "1"}, "seed", "expected an integer"),
    ({"stream": "yes"}, "stream", "expected a boolean, but got a string instead"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream' is enabled"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "Unknown parameter"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "Supported values are: 'function'."),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "Missing required parameter"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "does not match"),
    ({"tools": [TOOL] * 129}, "tools", "maximum length 128"),
    ({"tool_choice": "auto"}, "tool_choice", "only allowed when 'tools' are specified"),
    ({"parallel_tool_calls": True}, "parallel_tool_calls", "only allowed when 'tools' are specified"),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice", "Invalid value: 'any'"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "Invalid value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "Invalid value: 'xml'"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "Missing required parameter"),
    ({"metadata": {"a": 1}}, "metadata.a", "expected a string"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16"),
    ({"conversation": {"name": "c"}}, "conversation.name", "Unknown parameter"),
    ({"conversation": {}}, "conversation.id", "Missing required parameter"),
    ({"soma": {"secrets": True}}, "soma.secrets", "Unknown parameter"),
    ({"top_logprobs": 3}, "top_logprobs", "only allowed when 'logprobs' is enabled"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "Expected a value <= 20"),
    ({"soma": {"strategy": "all"}}, "soma.strategy", "Supported values are: 'short_only', 'long_only', 'hybrid'."),
    ({"soma": {"drop_params": 1}}, "soma.drop_params", "expected a boolean"),
    ({"reasoning_effort": "some"}, "reasoning_effort", "Supported values are: 'none', 'minimal'"),
    ({"service_tier": 1}, "service_tier", "expected a string"),
    ({"functions": [{"name": "f"}]}, "functions", "Unsupported parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "Unsupported parameter"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "Unsupported parameter"),
]


@pytest.mark.parametrize(("members", "param", "words"), REFUSED)
def test_a_request_is_refused_in_openais_words_naming_the_parameter(
    members: dict[str, Any], param: str | None, words: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(**members)
    violations = caught.value.facts.violations
    assert (violations[0].field if violations else None) == param
    assert words in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"hi"', b"NaN", b'{"temperature": NaN}', b"\xff", b'"\\ud800"'])
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="could not parse the JSON body"):
        read_chat_request(body)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        (lambda deep: {"tools": [{"type": "function", "function": {"name": "a", "parameters": deep}}]}, "tools"),
        (
            lambda deep: {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": deep}}},
            "response_format",
        ),
    ],
)
def test_a_schema_that_is_nested_too_deeply_is_refused(
    members: Callable[[dict[str, Any]], dict[str, Any]], param: str
) -> None:
    deep: dict[str, Any] = {}
    for _ in range(400):
        deep = {"properties": deep}
    with pytest.raises(InvalidArgument, match="nested too deeply") as caught:
        read(**members(deep))
    assert caught.value.facts.violations[0].field == param


def test_a_request_with_very_many_faults_is_refused_without_naming_them() -> None:
    with pytest.raises(InvalidArgument, match="Too many values of your request are wrong or unknown") as caught:
        part = {"type": "text", "text": "Hi"} | {f"a{number}": 1 for number in range(1000)}
        read(messages=[{"role": "user", "content": [part]}])
    assert not caught.value.facts.violations


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [
        *("role", "content", "type", "function", "name", "arguments", "id", "text", "tool_calls", "json_schema"),
        *("schema", "image_url", "url", "input_audio", "data", "format", "file", "file_data", "file_id", "filename"),
        *("reasoning_content", "reasoning_details", "thinking_blocks", "thinking", "signature", "summary", "index"),
        *("extra_content", "google", "thought_signature", "provider_specific_fields", "cache_control", "output"),
        *("call_id", "encrypted_content", "image", "detail"),
    ]
)
TYPES = st.sampled_from(
    [
        *("text", "image_url", "input_audio", "file", "refusal", "thinking", "redacted_thinking", "function"),
        *("reasoning.text", "message", "reasoning", "function_call", "function_call_output", "item_reference"),
        *("input_text", "input_image", "input_file", "output_text"),
    ]
)
STRINGS = st.sampled_from(
    ["data:image/png;base64,AA==", "data:image/png;base64,A", "data:", "https://a", "wav", "soma1.A"]
)
NEAR_JSON = st.recursive(
    st.sampled_from(["user", "assistant", "tool", "function", "text", "auto", "json_schema", "", 1, True, None])
    | TYPES
    | STRINGS
    | JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


def answers_or_refuses(body: bytes) -> None:
    """Read a body: the result is a valid message or an InvalidArgument; any other exception would be a 500."""
    try:
        ask = read_chat_request(body)
    except InvalidArgument:
        return
    ChatRequest.FromString(ask.request.SerializeToString())
    protovalidate.collect_violations(ask.request)


def answers_or_refuses_response(body: bytes) -> None:
    """The same for a response."""
    try:
        ask = read_response_request(body)
    except InvalidArgument:
        return
    CreateResponseRequest.FromString(ask.request.SerializeToString())
    protovalidate.collect_violations(ask.request)


# On a slow machine, examples are made slowly; that is not an error of the reader.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(st.binary(max_size=64))
def test_no_bytes_cause_a_server_error(body: bytes) -> None:
    answers_or_refuses(body)


@unhurried
@given(st.dictionaries(st.sampled_from(sorted(ChatCompletionRequest.__annotations__)), NEAR_JSON, max_size=6))
def test_no_json_causes_a_server_error(members: dict[str, Any]) -> None:
    answers_or_refuses(json.dumps(members).encode())
    answers_or_refuses(json.dumps({"messages": HI} | members).encode())


@unhurried
@given(st.lists(st.dictionaries(WORDS, NEAR_JSON, max_size=5), min_size=1, max_size=3))
def test_no_message_causes_a_server_error(messages: list[dict[str, Any]]) -> None:
    answers_or_refuses(json.dumps({"messages": [{"role": "assistant"} | each for each in messages]}).encode())


PARTS = st.lists(st.dictionaries(WORDS, NEAR_JSON, max_size=4), max_size=3)


@unhurried
@given(st.sampled_from(["user", "assistant", "tool", "system"]), PARTS, TYPES)
def test_no_part_causes_a_server_error(role: str, parts: list[dict[str, Any]], kind: str) -> None:
    message = {"role": role, "tool_call_id": "c1", "content": [{"type": kind} | part for part in parts]}
    answers_or_refuses(json.dumps({"messages": [message]}).encode())


@unhurried
@given(st.lists(st.dictionaries(WORDS, NEAR_JSON, max_size=5), min_size=1, max_size=3), TYPES)
def test_no_item_of_a_response_causes_a_server_error(items: list[dict[str, Any]], kind: str) -> None:
    answers_or_refuses_response(json.dumps({"input": [{"type": kind} | each for each in items]}).encode())


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXT), min_size=1, max_size=5))
def test_any_text_arrives_as_it_was_sent(turns: list[tuple[str, str]]) -> None:
    body = orjson.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})
    assert [message.content for message in read_chat_request(body).request.messages] == [text for _, text in turns]
