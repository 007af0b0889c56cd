"""`/v1/responses` through the public port: Open Responses' rules for unusual answers, compaction and token counts."""

import asyncio
import json
import uuid
from typing import Any

import httpx
import openai as vendor
import pytest
from openai import AsyncOpenAI

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.lifecycle import complete, streamed
from tests.e2e.scripted import CLAUDE, MODEL
from tests.e2e.test_odd_upstream import CHUNKS, USAGE, events

Chunk = dict[str, Any]
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}}
ASK: Any = {"type": "function", "name": "ask", "parameters": {"type": "object"}}


def delta(**members: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": members}]}


def end(reason: str, **members: Any) -> Chunk:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **members}


def call(call_id: str, arguments: str, index: int | None = 0, name: str = "look") -> Chunk:
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "id": call_id, "type": "function", "function": function}])


async def respond(http: httpx.AsyncClient, *, stream: bool, **members: Any) -> dict[str, Any]:
    """A response, streamed or not, that keeps the rules."""
    body = {"model": MODEL, "input": "hello"} | members
    if stream:
        response: dict[str, Any] = (await streamed(http, **body))[-1]["response"]
        return response
    answer = await http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    response = answer.json()
    complete(response)
    return response


def texts(response: dict[str, Any]) -> list[str]:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return [part.get("text", part.get("refusal")) for part in parts]


def calls(response: dict[str, Any]) -> list[tuple[str, str]]:
    found = [item for item in response["output"] if item["type"] == "function_call"]
    return [(item["call_id"], item["arguments"]) for item in found]


THINKING = [delta(reasoning_content="Let me"), delta(reasoning_content=" see."), *CHUNKS]
SHAPES: dict[str, tuple[list[Chunk], str, list[str]]] = {
    "text": (CHUNKS, "completed", ["message"]),
    "thought and text": (THINKING, "completed", ["reasoning", "message"]),
    "text and calls": (
        [delta(content="I look."), call("a", "{}"), call("b", "{}", 1), end("tool_calls")],
        "completed",
        ["message", "function_call", "function_call"],
    ),
    "refusal": ([delta(refusal="I can"), delta(refusal="not."), end("stop")], "completed", ["message"]),
    "cut short": ([CHUNKS[0], end("length")], "incomplete", ["message"]),
    "cut short in a call": ([delta(content="I look."), call("a", '{"x":'), end("length")], "incomplete", []),
    "withheld": ([CHUNKS[0], end("content_filter")], "incomplete", ["message"]),
    "nothing": ([end("stop")], "completed", []),
    "content as a list": (
        [
            delta(content=[{"type": "text", "text": "Hel"}]),
            delta(content=[{"type": "text", "text": "lo"}]),
            end("stop"),
        ],
        "completed",
        ["message"],
    ),
    "a pair of surrogates in two chunks": (
        [delta(content="\ud83d"), delta(content="\ude00"), end("stop")],
        "completed",
        ["message"],
    ),
    "usage without counts": (
        [*CHUNKS, {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}}],
        "completed",
        ["message"],
    ),
    "negative usage": (
        [*CHUNKS, {"choices": [], "usage": {**USAGE, "completion_tokens": -4}}],
        "completed",
        ["message"],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_answer_of_any_shape_keeps_the_rules(
    http: httpx.AsyncClient, upstream: FakeUpstream, shape: str, stream: bool
) -> None:
    chunks, status, kinds = SHAPES[shape]
    upstream.behaviour = Behaviour(sent=events(*chunks))
    response = await respond(http, stream=stream, tools=[LOOK])
    assert response["status"] == status
    if kinds:
        assert [item["type"] for item in response["output"]] == kinds
    assert response["usage"]["output_tokens"] > 0 or not response["output"]


async def test_what_was_said_before_a_failure_is_no_answer_and_nothing_continues_it(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    failed = {"error": {"code": 502, "message": "the engine died"}, **end("error")}
    for sent in (events(delta(content="Half"), failed), events(delta(content="Half"), {"choices": [], **failed})):
        upstream.behaviour = Behaviour(sent=sent)
        found = await streamed(http, model=MODEL, input="hello")
        assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]
        assert found[-2]["error"]["code"] == "provider_unavailable"
        whole = await http.post("/v1/responses", json={"model": MODEL, "input": "hello"})
        assert (whole.status_code, whole.json()["error"]["code"]) == (503, "provider_unavailable")
        stored = (await http.get(f"/v1/responses/{found[0]['response']['id']}")).json()
        assert (stored["status"], [item["status"] for item in stored["output"]]) == ("failed", ["incomplete"])


@pytest.mark.parametrize("fault", [Fault.CUT_MID, Fault.RESET_MID, Fault.GARBAGE_MID, Fault.ERROR_MID])
async def test_a_stream_of_the_provider_that_breaks_ends_as_failed(
    http: httpx.AsyncClient, upstream: FakeUpstream, fault: Fault
) -> None:
    upstream.behaviour = Behaviour(fault=fault, pause=0.03)
    found = await streamed(http, model=MODEL, input="hello")
    assert found[-1]["type"] == "response.failed"
    assert found[-2]["error"]["code"].startswith("provider_")


async def test_an_end_without_the_providers_own_mark_is_an_end(http: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(sent=events(*CHUNKS)[:-1])
    assert texts(await respond(http, stream=True)) == ["Grüße aus Łódź"]


@pytest.mark.parametrize("index", [0, None])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_parallel_calls_stay_apart(
    http: httpx.AsyncClient, upstream: FakeUpstream, index: int | None, stream: bool
) -> None:
    chunks = [call("a", '{"x":1}', index), call("b", '{"x":2}', index), call("c", "", index), end("tool_calls")]
    upstream.behaviour = Behaviour(sent=events(*chunks))
    response = await respond(http, stream=stream, tools=[LOOK])
    assert calls(response) == [("a", '{"x":1}'), ("b", '{"x":2}'), ("c", "{}")]


async def test_thoughts_go_back_with_the_calls_that_they_led_to(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    thought = [delta(reasoning_content="I need to look."), call("a", "{}"), end("tool_calls")]
    upstream.behaviour = Behaviour(sent=events(*thought))
    said: list[Any] = [{"role": "user", "content": "Look."}]
    for turn in range(5):
        response = await respond(http, stream=bool(turn % 2), input=said, tools=[LOOK], store=False)
        (called,) = [item for item in response["output"] if item["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": str(turn)}
        said = [*said, *response["output"], output]
    sent = upstream.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", *["assistant", "tool"] * 4]
    assert [message["content"] for message in sent if message["role"] == "tool"] == ["0", "1", "2", "3"]


async def test_instructions_and_messages_of_the_system_are_one_message(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    conversation = f"open-{uuid.uuid4()}"
    for text in ("My tortoise is called Bertha.", "What is it called?"):
        said = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": text}]
        body = {"input": said, "instructions": "Be brief.", "conversation": conversation}
        await respond(http, stream=False, **body)
    roles = [message["role"] for message in upstream.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


async def test_a_history_that_another_vendor_said_is_accepted(http: httpx.AsyncClient, anthropic: FakeUpstream) -> None:
    said = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "\n\n"},
        {"type": "function_call", "call_id": "functions.look:0", "name": "look", "arguments": ""},
        {"type": "function_call_output", "call_id": "functions.look:0", "output": "42"},
        {"role": "assistant", "phase": "final_answer", "content": [{"type": "output_text", "text": "42."}]},
        {"role": "user", "content": "Thanks."},
    ]
    response = await respond(http, stream=True, input=said, model=CLAUDE, tools=[LOOK], max_output_tokens=64)
    assert response["status"] == "completed"
    blocks = [block for turn in anthropic.requests[-1]["messages"] for block in turn["content"]]
    assert all(block["text"].strip() for block in blocks if isinstance(block, dict) and block["type"] == "text")


async def test_a_tool_that_is_not_allowed_is_neither_offered_nor_called(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    named = {"type": "function", "name": "look"}
    body: Any = {"tools": [LOOK, ASK], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [named]}}
    upstream.behaviour = Behaviour(sent=events(call("a", "{}"), end("tool_calls")))
    response = await respond(http, stream=True, **body)
    assert (calls(response), response["tool_choice"]) == ([("a", "{}")], body["tool_choice"])
    assert [tool["function"]["name"] for tool in upstream.requests[-1]["tools"]] == ["look"]
    upstream.behaviour = Behaviour(sent=events(call("a", "{}", name="ask"), end("tool_calls")))
    answer = await http.post("/v1/responses", json={"model": MODEL, "input": "hello", **body})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "tool_not_allowed")
    body["tool_choice"]["tools"] = [{"type": "function", "name": "buy"}]
    answer = await http.post("/v1/responses", json={"model": MODEL, "input": "hello", **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice.allowed")


async def test_a_conversation_goes_on_after_it_was_compacted(
    openai: AsyncOpenAI, http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    first = await openai.responses.create(model=MODEL, input="We launch on Tuesday.")
    upstream.behaviour = Behaviour(deltas=("Launch: Tuesday. Support is told first.",))
    made = await openai.responses.compact(model=MODEL, previous_response_id=first.id)
    shown = json.dumps(upstream.requests[-1])
    assert "We launch on Tuesday." in shown and "Hello there!" in shown
    assert [item.type for item in made.output] == ["message", "compaction"]
    # OpenAI's types have no messages of the user here, though its API has them.
    window: Any = made.to_dict(warnings=False)["output"]
    assert "Tuesday. Support" not in json.dumps(window)
    upstream.behaviour = Behaviour()
    response = await respond(http, stream=True, input=[*window, {"role": "user", "content": "When?"}], store=False)
    assert response["status"] == "completed"
    sent = upstream.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert "Support is told first." in sent[1]["content"]
    window[-1]["encrypted_content"] = window[-1]["encrypted_content"][:-3] + "AAA"
    with pytest.raises(vendor.BadRequestError) as refused:
        await openai.responses.create(model=MODEL, input=window)
    assert (refused.value.code, refused.value.param) == ("compaction_invalid", "input")
    with pytest.raises(vendor.BadRequestError) as unknown:
        await openai.responses.create(model=MODEL, input="On", previous_response_id=made.id)
    assert unknown.value.code == "previous_response_not_found"
    missing = await http.post("/v1/responses/compact", json={"input": "Hi"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "model")


async def test_a_summary_is_paid_for_and_a_provider_that_fails_is_an_error(
    openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    talk: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    made = await openai.responses.compact(model=MODEL, input=talk)
    assert (made.usage.input_tokens, made.usage.total_tokens) == (11, 14)
    upstream.behaviour = Behaviour(fault=Fault.RATE_LIMITED)
    with pytest.raises(vendor.RateLimitError) as failed:
        await openai.responses.compact(model=MODEL, input=talk)
    assert failed.value.response.headers["retry-after"]


async def test_tokens_are_counted_without_an_answer(openai: AsyncOpenAI, upstream: FakeUpstream) -> None:
    first = await openai.responses.create(model=MODEL, input="A long first message, " * 50)
    asked = len(upstream.requests)
    few = await openai.responses.input_tokens.count(model=MODEL, input="Hi")
    many = await openai.responses.input_tokens.count(model=MODEL, input="Hi", previous_response_id=first.id)
    assert few.object == "response.input_tokens"
    assert 0 < few.input_tokens < 20 and many.input_tokens > few.input_tokens + 100
    assert len(upstream.requests) == asked


async def test_who_leaves_while_a_conversation_is_summed_up_stops_the_model(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(fault=Fault.HANG)
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v1/responses/compact", json={"model": MODEL, "input": "Hi"}, timeout=1.0)
    async with asyncio.timeout(2.0):
        await upstream.until(left=1)
