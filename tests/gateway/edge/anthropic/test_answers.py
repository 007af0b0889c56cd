"""Answers over Anthropic's protocol: the message, and the same as a stream of events in the published order."""

from collections.abc import Sequence
from typing import Any

import grpc
import httpx
import pytest
from soma.model.v1 import message_pb2 as model
from soma.orchestrator.v1 import chat_service_pb2 as pb

from tests.fakes.chat import Step, broken, delta, finished, heartbeat, noticed, refused, started, thought, tool_call
from tests.gateway.edge.anthropic.streams import events, joined
from tests.gateway.edge.conftest import Stand

PATH = "/v1/messages"
HI: dict[str, Any] = {"model": "plain", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}
THINKING = {"thinking": {"type": "adaptive"}}
USAGE = {
    "input_tokens": 5,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 2,
}
PLACE = {"type": "page_location", "cited_text": "tea", "document_index": 0, "start_page_number": 1}


def cited(text: str, *citations: model.Citation) -> pb.ChatResponse:
    return pb.ChatResponse(delta=model.Delta(text=text, citations=citations))


async def answered(http: httpx.AsyncClient, streamed: bool, **members: Any) -> dict[str, Any]:
    answer = await http.post(PATH, json=HI | members | ({"stream": True} if streamed else {}))
    assert answer.status_code == 200, answer.text
    assert answer.headers["request-id"]
    if not streamed:
        whole: dict[str, Any] = answer.json()
        return whole
    assert answer.headers["content-type"].startswith("text/event-stream")
    return joined(events(answer.text))


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_is_a_message(http: httpx.AsyncClient, stand: Stand, streamed: bool) -> None:
    assert await answered(http, streamed) == {
        "id": "msg_t1",
        "type": "message",
        "role": "assistant",
        "model": "plain",
        "content": [{"type": "text", "text": "Hello, world", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": USAGE,
    }
    assert stand.chat.requests[-1].options.whole is not streamed


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_of_tools_come_after_thoughts_and_text(
    http: httpx.AsyncClient, stand: Stand, streamed: bool
) -> None:
    stand.chat.script = [
        started(),
        noticed(),
        thought(0, "Hm"),
        thought(0, "."),
        thought(0, signature="sig"),
        thought(1, redacted="AAAA"),
        delta("I "),
        delta("look."),
        tool_call(0, "c0", "look", ""),
        tool_call(0, arguments='{"place":'),
        heartbeat(),
        tool_call(0, arguments='"Rome"}'),
        tool_call(1, "c1", "look", "{}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    message = await answered(http, streamed, tools=[{"name": "look", "input_schema": {"type": "object"}}])
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "AAAA"},
        {"type": "text", "text": "I look.", "citations": None},
        {"type": "tool_use", "id": "c0", "name": "look", "input": {"place": "Rome"}},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
    ]
    assert message["stop_reason"] == "tool_use"


async def test_pieces_of_parallel_calls_that_come_mixed_are_put_in_order(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [
        started(),
        tool_call(0, "c0", "look", '{"a":'),
        tool_call(1, "c1", "look", '{"b":'),
        delta("Meanwhile."),
        tool_call(2, "c2", "look"),
        tool_call(1, arguments="2}"),
        tool_call(0, arguments="1}"),
        tool_call(2, arguments="{}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    message = await answered(http, True)
    assert [block.get("input", block.get("text")) for block in message["content"]] == [
        {"a": 1},
        {"b": 2},
        "Meanwhile.",
        {},
    ]


async def test_thoughts_keep_their_places_between_calls(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [
        started(),
        thought(0, "One.", signature="s0"),
        tool_call(0, "c0", "look", "{}"),
        thought(1, "Two."),
        thought(1, signature="s1", details='{"after_characters":0,"after_calls":1}'),
        tool_call(1, "c1", "look", "{}"),
        finished(model.FINISH_REASON_TOOL_CALLS),
    ]
    for streamed in (False, True):
        message = await answered(http, streamed, **THINKING)
        assert [block["type"] for block in message["content"]] == ["thinking", "tool_use"] * 2
        assert [block.get("signature") for block in message["content"]] == ["s0", None, "s1", None]


@pytest.mark.parametrize("streamed", [False, True])
async def test_thoughts_are_left_out_for_a_client_that_asked_for_none_and_has_no_tools(
    http: httpx.AsyncClient, stand: Stand, streamed: bool
) -> None:
    stand.chat.script = [started(), thought(0, "Hm."), delta("Yes."), finished()]
    for off in ({}, {"thinking": {"type": "disabled"}}):
        message = await answered(http, streamed, **off)
        assert [block["type"] for block in message["content"]] == ["text"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_citations_are_those_of_their_text(http: httpx.AsyncClient, stand: Stand, streamed: bool) -> None:
    page = model.Citation(url="https://a.example/", title="A", quote="tea", start=0, end=4)
    own = model.Citation(
        start=4, end=8, details='{"type":"page_location","cited_text":"tea","document_index":0,"start_page_number":1}'
    )
    stand.chat.script = [started(), delta("One."), cited("", page), delta("Two."), cited("", own), finished()]
    message = await answered(http, streamed)
    web = {
        "type": "web_search_result_location",
        "url": "https://a.example/",
        "title": "A",
        "cited_text": "tea",
        "encrypted_index": "",
    }
    assert message["content"] == [
        {"type": "text", "text": "One.", "citations": [web]},
        {"type": "text", "text": "Two.", "citations": [PLACE]},
    ]


def ending(reason: "model.FinishReason.ValueType", stop: str = "") -> pb.ChatResponse:
    last = finished(reason)
    last.finished.stop_sequence = stop
    return last


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("script", "reason", "stop"),
    [
        ([delta("x"), ending(model.FINISH_REASON_LENGTH)], "max_tokens", None),
        ([delta("x"), ending(model.FINISH_REASON_STOP, "END")], "stop_sequence", "END"),
        ([ending(model.FINISH_REASON_CONTENT_FILTER)], "refusal", None),
        ([refused("No."), ending(model.FINISH_REASON_STOP)], "refusal", None),
        # Some servers say that they stopped when they called tools.
        ([tool_call(0, "c", "look", "{}"), ending(model.FINISH_REASON_STOP)], "tool_use", None),
    ],
)
async def test_an_answer_says_why_it_ended(
    http: httpx.AsyncClient, stand: Stand, streamed: bool, script: Sequence[Step], reason: str, stop: str | None
) -> None:
    stand.chat.script = [started(), *script]
    message = await answered(http, streamed)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, stop)
    assert (message["stop_details"] is not None) is (reason == "refusal")


@pytest.mark.parametrize("streamed", [False, True])
async def test_tokens_of_the_cache_are_counted_apart(http: httpx.AsyncClient, stand: Stand, streamed: bool) -> None:
    last = finished()
    last.finished.usage.CopyFrom(
        model.Usage(
            prompt_tokens=100,
            completion_tokens=7,
            cached_prompt_tokens=60,
            cache_write_prompt_tokens=30,
            reasoning_tokens=4,
        )
    )
    stand.chat.script = [started(), delta("x"), last]
    assert (await answered(http, streamed))["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 4},
    }


async def test_a_silent_stream_has_pings(http: httpx.AsyncClient, stand: Stand) -> None:
    stand.chat.script = [started(), heartbeat(), delta("x"), heartbeat(), finished()]
    answer = await http.post(PATH, json=HI | {"stream": True})
    kinds = [event["type"] for event in events(answer.text)]
    assert kinds == [
        "message_start",
        "ping",
        "ping",
        "content_block_start",
        "content_block_delta",
        "ping",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_stream_that_breaks_ends_with_an_error_and_without_its_end(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    stand.chat.script = [started(), delta("Half"), broken(grpc.StatusCode.UNAVAILABLE, "PROVIDER_STREAM_CUT")]
    answer = await http.post(PATH, json=HI | {"stream": True})
    *before, last = events(answer.text)
    assert [event["type"] for event in before][-1] == "content_block_delta"
    assert last == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "it broke"},
        "request_id": answer.headers["request-id"],
    }
