"""Clients append to a conversation what they received, in the form in which their libraries store it."""

import json
from typing import Any

import pytest
from openai.types.chat import ParsedChatCompletionMessage
from openai.types.responses import ParsedResponseFunctionToolCall

from gateway.edge.openai.chat_request import read_chat_request
from gateway.edge.openai.response_request import read_response_request
from services.mesh.call.errors import InvalidArgument

PARSED: dict[str, Any] = {
    "role": "assistant",
    "content": '{"x": 1}',
    "refusal": None,
    "parsed": {"x": 1},
    "tool_calls": [
        {
            "id": "c1",
            "type": "function",
            "index": 0,
            "function": {"name": "f", "arguments": '{"x": 1}', "parsed_arguments": {"x": 1}},
        }
    ],
}


@pytest.mark.parametrize("parsed", [PARSED, ParsedChatCompletionMessage[Any].model_validate(PARSED).model_dump()])
def test_a_parsed_message_of_openais_library_is_accepted_in_a_request(parsed: dict[str, Any]) -> None:
    turns = [{"role": "user", "content": "Hi"}, parsed, {"role": "tool", "tool_call_id": "c1", "content": "42"}]
    said = read_chat_request(json.dumps({"messages": turns}).encode()).request.messages[1]
    assert (said.content, said.tool_calls[0].call_id, said.tool_calls[0].arguments) == ('{"x": 1}', "c1", '{"x": 1}')


def test_a_parsed_call_of_a_response_is_accepted_in_a_request() -> None:
    call = ParsedResponseFunctionToolCall(
        call_id="c1", name="f", arguments='{"x": 1}', type="function_call", parsed_arguments={"x": 1}
    )
    body = {"input": [{"role": "user", "content": "Hi"}, call.model_dump(exclude_none=True)]}
    asked = read_response_request(json.dumps(body).encode()).request
    assert asked.input[1].message.tool_calls[0].arguments == '{"x": 1}'


def test_members_that_a_client_adds_for_itself_are_ignored() -> None:
    body = {"input": "Hi", "client_metadata": {"x-codex-installation-id": "1"}}
    assert read_response_request(json.dumps(body).encode()).request.input[0].message.content == "Hi"
    with pytest.raises(InvalidArgument):
        read_response_request(json.dumps(body | {"client_metadata": 1}).encode())


def test_members_that_a_library_adds_to_a_message_or_its_calls_are_ignored() -> None:
    call = {**PARSED["tool_calls"][0], "caller": {"type": "direct"}}
    added = {"images": [], "provider_specific_fields": {"refusal": None}, "id": "run-1", "usage_metadata": {"a": 1}}
    turns = [{"role": "user", "content": "Hi"}, {**PARSED, **added, "tool_calls": [call]}]
    plain = [{"role": "user", "content": "Hi"}, PARSED]
    sent, bare = (read_chat_request(json.dumps({"messages": each}).encode()).request for each in (turns, plain))
    assert sent == bare


@pytest.mark.parametrize("members", [{"audio": {"id": "a1"}}, {"function_call": {"name": "f", "arguments": "{}"}}])
def test_what_a_model_said_in_a_form_that_cannot_be_sent_is_refused_by_name(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=rf"messages\[0\]\.{next(iter(members))}"):
        read_chat_request(json.dumps({"messages": [{**PARSED, **members}]}).encode())


def test_members_that_a_library_adds_to_the_items_of_a_response_are_ignored() -> None:
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "item_reference", "id": "msg_1"},
    ]
    added = {"created_by": "me", "status": None, "phase": None, "caller": {"type": "direct"}, "parsed_arguments": {}}
    given = [items, [item | added for item in items]]
    plain, bare = (read_response_request(json.dumps({"input": each}).encode()).request for each in given)
    assert plain == bare


def test_unknown_members_of_a_part_are_refused_by_name() -> None:
    part = {"type": "text", "text": "Hi", "mood": "good"}
    with pytest.raises(InvalidArgument, match=r"messages\[0\]\.content\[0\]\.mood"):
        read_chat_request(json.dumps({"messages": [{"role": "user", "content": [part]}]}).encode())
