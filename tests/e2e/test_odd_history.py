"""Conversations that no vendor would take as they are, through the public port: repaired, or refused by name."""

import uuid
from typing import Any

import httpx
import pytest

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import CLAUDE, MODEL
from tests.e2e.surfaces import over_openai

# The contract's limit of messages in a request (docs/limits.md).
MOST_MESSAGES = 4096
HI = {"role": "user", "content": "Hi"}
WELL = {"role": "user", "content": "Well?"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def asks(*ids: str) -> dict[str, Any]:
    """An assistant's message with these calls."""
    calls = [{"id": each, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, content: str = "4 degrees") -> dict[str, Any]:
    """The result of a call."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


async def chat(http: httpx.AsyncClient, *messages: dict[str, Any], model: str = MODEL, **more: Any) -> httpx.Response:
    """A chat completion that is not streamed."""
    body = {"model": model, "messages": list(messages), "tools": [WEATHER], **more}
    return await http.post("/v1/chat/completions", json=body)


HISTORIES = [
    (HI, result("lost"), WELL),
    (HI, asks("a"), result("a"), result("a", "5 degrees"), WELL),
    (HI, asks("a", "b"), result("b"), WELL),
    (HI, asks("a"), WELL, result("a"), WELL),
    (HI, asks("a"), asks("a"), result("a"), WELL),
]


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("history", HISTORIES)
async def test_results_that_do_not_fit_their_calls_are_put_right(
    http: httpx.AsyncClient,
    upstream: FakeUpstream,
    anthropic: FakeUpstream,
    history: tuple[dict[str, Any], ...],
    model: str,
) -> None:
    answer = await chat(http, *history, model=model)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there!"
    if model == CLAUDE:
        blocks = [block for message in anthropic.requests[-1]["messages"] for block in message["content"]]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    else:
        sent = upstream.requests[-1]["messages"]
        calls = [call["id"] for message in sent for call in message.get("tool_calls") or ()]
        results = [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    # Exactly one result for each call.
    assert sorted(results) == sorted(calls)
    assert len(set(calls)) == len(calls)


async def test_a_remembered_conversation_goes_on_after_a_result_without_its_call(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    conversation = f"orphan-{uuid.uuid4()}"
    upstream.behaviour = Behaviour(deltas=(), tool_calls=[("call_7", "weather", ["{}"])])
    assert (await chat(http, HI, conversation=conversation)).status_code == 200
    upstream.behaviour = Behaviour()
    refused = await chat(http, result("call_8"), conversation=conversation)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "tool_call_not_found"
    assert refused.json()["error"]["param"] == "messages"
    for message in (result("call_7"), WELL):
        assert (await chat(http, message, conversation=conversation)).status_code == 200
    roles = [message["role"] for message in upstream.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


async def test_a_conversation_goes_on_after_the_provider_refused_an_altered_signature(
    http: httpx.AsyncClient, anthropic: FakeUpstream
) -> None:
    altered = {"role": "assistant", "content": "Yes.", "thinking_blocks": [
        {"type": "thinking", "thinking": "Hm.", "signature": "altered"},
    ]}  # fmt: skip
    anthropic.behaviour = Behaviour(fault=Fault.BAD_REQUEST, message="Invalid `signature` in `thinking` block")
    refused = await chat(http, HI, altered, WELL, model=CLAUDE)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "provider_refused_request"
    assert "Invalid `signature` in `thinking` block" in refused.json()["error"]["message"]
    sent = [block for message in anthropic.requests[-1]["messages"] for block in message["content"]]
    assert {"type": "thinking", "thinking": "Hm.", "signature": "altered"} in sent
    anthropic.behaviour = Behaviour()
    assert (await chat(http, HI, {**altered, "thinking_blocks": []}, WELL, model=CLAUDE)).status_code == 200


async def test_as_many_messages_as_the_limit_allows_are_answered_and_ten_thousand_are_refused_by_name(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    messages = [HI, {"role": "assistant", "content": "Hello."}] * 5000
    answer = await chat(http, *messages[: MOST_MESSAGES - 1], WELL)
    assert answer.status_code == 200, answer.text
    assert len(upstream.requests[-1]["messages"]) == MOST_MESSAGES
    count = len(upstream.requests)
    for path, role in (("/v1/chat/completions", "user"), ("/v1/chat", "ROLE_USER")):
        too_many = [{"role": role, "content": "Hi"}] * 10_000
        refused = await http.post(path, json={"model": MODEL, "messages": too_many})
        assert refused.status_code == 400
        assert "messages" in refused.text
    assert len(upstream.requests) == count
    assert (await over_openai(http, "hello")).finished
