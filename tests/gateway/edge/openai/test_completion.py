"""A chat completion has the shape that OpenAI documents, complete and streamed."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as chat

from services.mesh.call import errors
from tests.fakes.chat import delta, finished, heartbeat, refused, spoken, started, tool_call
from tests.gateway.edge.conftest import KEY, Stand

ASK: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}

OPENING = {"role": "assistant", "content": "", "refusal": None}
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 2,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


async def chunks_of(http: httpx.AsyncClient, **more: object) -> list[dict[str, Any]]:
    """The chunks of a streamed answer; it must end with [DONE]."""
    answer = await http.post("/v1/chat/completions", json=ASK | {"stream": True} | more)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event for event in answer.text.split("\n\n") if event.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


async def test_a_completion_object_has_every_documented_member_and_no_other(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/chat/completions", json=ASK)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert time.time() - body.pop("created") < 60
    assert body == {
        "id": "chatcmpl-t1",
        "object": "chat.completion",
        "model": "plain",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello, world", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": None,
    }
    ChatCompletion.model_validate(answer.json(), strict=True)


async def test_a_stream_is_a_role_then_text_then_an_empty_delta_with_the_reason(http: httpx.AsyncClient) -> None:
    chunks = await chunks_of(http)
    deltas = [
        (OPENING, None),
        ({"content": "Hello"}, None),
        ({"content": ", world"}, None),
        ({}, "stop"),
    ]
    created = chunks[0]["created"]
    assert time.time() - created < 60
    assert chunks == [
        {
            "id": "chatcmpl-t1",
            "object": "chat.completion.chunk",
            "created": created,
            "model": "plain",
            "service_tier": "default",
            "system_fingerprint": None,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        }
        for delta, reason in deltas
    ]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)


async def test_usage_comes_in_a_last_chunk_without_choices_and_is_null_before_when_asked_for(
    http: httpx.AsyncClient,
) -> None:
    *before, last = await chunks_of(http, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in before] == [None] * 4
    assert last["choices"] == []
    assert last["usage"] == USAGE
    assert {chunk["id"] for chunk in [*before, last]} == {"chatcmpl-t1"}


async def test_a_stream_has_no_usage_unless_the_request_asks_for_it(http: httpx.AsyncClient) -> None:
    assert all("usage" not in chunk for chunk in await chunks_of(http, stream_options={"include_usage": False}))


async def test_text_survives_quoting(http: httpx.AsyncClient, stand: Stand) -> None:
    awkward = ['"quoted"', "line\nbreak\r\n\n", "\\", "naïve ☃ 👩‍🚀", "\u2028", "\x00\x1f", "data: [DONE]"]
    stand.chat.script = spoken(*awkward)
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in await chunks_of(http)]
    assert texts == ["", *awkward, None]


async def test_tool_calls_stream_as_indexed_deltas(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [
        started(),
        tool_call(0, "call_a", "look_up"),
        tool_call(0, arguments='{"q":'),
        tool_call(0, arguments="1}"),
        tool_call(1, "call_b", "look_up", "{}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    chunks = await chunks_of(http, tools=[TOOL])
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        OPENING,
        {"tool_calls": [call(0, "call_a", "look_up", "")]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"q":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [call(1, "call_b", "look_up", "{}")]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def call(index: int, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": call_id, "type": "function", "function": function}


async def test_tool_calls_of_a_whole_answer_are_put_together_and_content_is_null(
    openai: AsyncOpenAI, stand: Stand
) -> None:
    stand.chat.script = [
        started(),
        tool_call(0, "call_a", "look_up", '{"q":'),
        tool_call(1, "call_b", "other", "{}"),
        tool_call(0, arguments="1}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    answer = await openai.chat.completions.create(**ASK | {"tools": [TOOL]})
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert [each.model_dump() for each in message.tool_calls or ()] == [
        {"id": "call_a", "type": "function", "function": {"name": "look_up", "arguments": '{"q":1}'}},
        {"id": "call_b", "type": "function", "function": {"name": "other", "arguments": "{}"}},
    ]


async def test_a_refusal_is_a_member_of_its_own(http: httpx.AsyncClient, stand: Stand) -> None:
    logprob = model.TokenLogprob(token="I", logprob=-0.5)
    piece = model.Delta(text="I", refusal=True, logprobs=[logprob])
    stand.chat.script = [started(), chat.ChatResponse(delta=piece), refused(" cannot."), finished()]
    (choice,) = (await http.post("/v1/chat/completions", json=ASK)).json()["choices"]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "I cannot.")
    chunks = [chunk["choices"][0] for chunk in await chunks_of(http)]
    assert [chunk["delta"] for chunk in chunks] == [OPENING, {"refusal": "I"}, {"refusal": " cannot."}, {}]
    token = {"token": "I", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    assert choice["logprobs"] == chunks[1]["logprobs"] == {"content": None, "refusal": [token]}


async def test_cached_and_reasoning_tokens_are_in_the_usage(http: httpx.AsyncClient, stand: Stand) -> None:
    end = finished()
    end.finished.usage.cached_prompt_tokens, end.finished.usage.reasoning_tokens = 4, 1
    stand.chat.script = [started(), delta("Hi"), end]
    usage = (await http.post("/v1/chat/completions", json=ASK | {"n": 2})).json()["usage"]
    assert (usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]) == (4, 5)
    assert (usage["completion_tokens_details"]["reasoning_tokens"], usage["completion_tokens"]) == (2, 4)


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (model.FINISH_REASON_STOP, "stop"),
        (model.FINISH_REASON_LENGTH, "length"),
        (model.FINISH_REASON_CONTENT_FILTER, "content_filter"),
    ],
)
async def test_every_finish_reason_has_openais_name(
    openai: AsyncOpenAI, stand: Stand, reason: model.FinishReason.ValueType, name: str
) -> None:
    stand.chat.script = [started(), finished(reason)]
    answer = await openai.chat.completions.create(**ASK)
    assert answer.choices[0].finish_reason == name


async def test_openais_client_streams_and_ignores_heartbeats(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.chat.script = [heartbeat(), started(), heartbeat(), *spoken("a", "b", "c")[1:]]
    stream = await openai.chat.completions.create(**ASK | {"stream": True})
    texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(texts) == "abc"


async def test_openais_streaming_helper_rebuilds_the_completion(openai: AsyncOpenAI, stand: Stand) -> None:
    stand.chat.script = [
        started(),
        tool_call(0, "call_a", "look_up", '{"q":'),
        tool_call(0, arguments="1}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    async with openai.chat.completions.stream(**ASK | {"tools": [TOOL]}) as stream:
        final = await stream.get_final_completion()
    function = (final.choices[0].message.tool_calls or [])[0].function
    assert (function.name, function.arguments) == ("look_up", '{"q":1}')


async def test_openais_sync_client_holds_a_conversation(stand: Stand) -> None:
    def converse() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{stand.url}/v1", api_key=KEY, max_retries=0) as client:
            whole = client.chat.completions.create(**ASK)
            with client.chat.completions.create(**ASK | {"stream": True}) as stream:
                pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        return whole.choices[0].message.content, "".join(pieces)

    assert await asyncio.to_thread(converse) == ("Hello, world", "Hello, world")


async def test_sources_are_in_an_answer_only_if_the_request_asks_for_them(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    source = model.Source(key="fact/1", text="Snow is white.", score=0.5)
    stand.chat.script = [started(sources=[source]), finished()]
    expected = {"sources": [{"key": "fact/1", "text": "Snow is white.", "score": 0.5}]}
    asked = await http.post("/v1/chat/completions", json=ASK | {"soma": {"sources": True}})
    assert asked.json()["soma"] == expected
    *_, last = await chunks_of(http, soma={"sources": True})
    assert last["soma"] == expected
    assert "soma" not in (await http.post("/v1/chat/completions", json=ASK)).json()


async def test_an_answer_that_is_not_streamed_is_asked_for_whole(http: httpx.AsyncClient, stand: Stand) -> None:
    for asked in ({}, {"stream": False}, {"n": 2}, {"stream": True}):
        await http.post("/v1/chat/completions", json=ASK | asked)
    assert [request.options.whole for request in stand.chat.requests] == [True] * 4 + [False]


async def test_a_whole_answer_comes_after_signs_of_life(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [heartbeat(), started(), heartbeat(), delta("Hello"), heartbeat(), finished()]
    answer = await http.post("/v1/chat/completions", json=ASK | {"n": 3})
    assert [choice["message"]["content"] for choice in answer.json()["choices"]] == ["Hello"] * 3


async def test_a_whole_answer_that_fails_after_signs_of_life_has_its_status(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.chat.script = [heartbeat(), errors.ResourceExhausted("no", reason="PROVIDER_RATE_LIMITED", retry_after=3)]
    answer = await http.post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


async def test_text_and_calls_of_one_piece_are_chunks_of_their_own(http: httpx.AsyncClient, stand: Stand) -> None:
    calls = [
        model.ToolCallDelta(index=0, call_id="call_a", name="look_up", arguments='{"q":'),
        model.ToolCallDelta(index=0, arguments="1}"),
        model.ToolCallDelta(index=1, call_id="call_b", name="look_up", arguments="{}"),
    ]
    thoughts = [model.ReasoningDelta(index=0, text="Hm.")]
    piece = model.Delta(reasoning=thoughts, text="Let me see.", tool_calls=calls)
    end = finished(model.FINISH_REASON_TOOL_CALLS)
    stand.chat.script = [started(), chat.ChatResponse(delta=piece), end]
    assert [chunk["choices"][0]["delta"] for chunk in await chunks_of(http, tools=[TOOL])] == [
        OPENING,
        {"reasoning_content": "Hm."},
        {"content": "Let me see."},
        {"tool_calls": [call(0, "call_a", "look_up", '{"q":')]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [call(1, "call_b", "look_up", "{}")]},
        {},
    ]
    whole = (await http.post("/v1/chat/completions", json=ASK | {"tools": [TOOL]})).json()["choices"][0]["message"]
    assert (whole["content"], whole["reasoning_content"]) == ("Let me see.", "Hm.")
    assert [each["function"]["arguments"] for each in whole["tool_calls"]] == ['{"q":1}', "{}"]
