"""Anthropic's protocol through the public port: unusual upstreams, odd histories, and clients that leave."""

import asyncio
import json
from asyncio import get_running_loop
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import ABSENT, CLAUDE, MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import events as data_of
from tests.e2e.test_odd_upstream import events
from tests.gateway.edge.anthropic.streams import events as read
from tests.gateway.edge.anthropic.streams import joined

WITHIN_SECONDS = 0.1
# On a busy machine an attempt may be late; three late attempts are an error of the product.
ATTEMPTS = 3
HI: dict[str, Any] = {"role": "user", "content": "hello"}
LOOK = {"name": "weather", "input_schema": {"type": "object"}}


@pytest.fixture
async def messages(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that sends what Anthropic's clients send."""
    async with stack.http(**{"x-api-key": stack.key, "anthropic-version": "2023-06-01"}) as client:
        yield client


async def ask(client: httpx.AsyncClient, streamed: bool = True, *turns: Any, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": 64, "stream": streamed, "messages": list(turns) or [HI], **more}
    return await client.post("/v1/messages", json=body)


async def message(client: httpx.AsyncClient, streamed: bool = True, *turns: Any, **more: Any) -> dict[str, Any]:
    """The message of an answer, which must be whole."""
    answer = await ask(client, streamed, *turns, **more)
    assert answer.status_code == 200, answer.text
    if streamed:
        return joined(read(answer.text))
    whole: dict[str, Any] = answer.json()
    return whole


def text_of(found: dict[str, Any]) -> str:
    return "".join(block["text"] for block in found["content"] if block["type"] == "text")


async def test_a_failure_inside_a_stream_is_an_error_and_no_answer(
    messages: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    begun = {"choices": [{"index": 0, "delta": {"content": "Half an ans"}}]}
    end = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    failed = {"error": {"code": 502, "message": "the engine died"}, "choices": [end]}
    upstream.behaviour = Behaviour(sent=events(begun, failed))
    *before, last = read((await ask(messages)).text)
    assert "message_stop" not in [event["type"] for event in before]
    assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")
    whole = await ask(messages, False)
    assert (whole.status_code, whole.json()["error"]["type"]) == (529, "overloaded_error")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("index", [0, None, "missing"])
async def test_parallel_calls_with_one_index_stay_apart(
    messages: httpx.AsyncClient, upstream: FakeUpstream, streamed: bool, index: Any
) -> None:
    calls = [
        {"index": index, "id": f"c{number}", "function": {"name": "weather", "arguments": json.dumps({"x": number})}}
        for number in range(2)
    ]
    if index == "missing":
        for call in calls:
            del call["index"]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in calls]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    upstream.behaviour = Behaviour(sent=events(*chunks, end))
    found = await message(messages, streamed, tools=[LOOK])
    assert [(block["id"], block["input"]) for block in found["content"]] == [("c0", {"x": 0}), ("c1", {"x": 1})]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize("streamed", [False, True])
async def test_unusual_pieces_lose_no_answer(
    messages: httpx.AsyncClient, upstream: FakeUpstream, streamed: bool
) -> None:
    parts = {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "Grüße "}]}}]}
    halves = [{"choices": [{"index": 0, "delta": {"content": half}}]} for half in ("aus \ud83c", "\udf0d")]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": None}}
    sent = events(parts, *halves, end)[:-1]
    upstream.behaviour = Behaviour(sent=sent)
    found = await message(messages, streamed)
    assert text_of(found) == "Grüße aus 🌍"
    assert found["usage"]["input_tokens"] > 0
    assert found["usage"]["output_tokens"] > 0


async def test_thoughts_of_another_vendor_come_back_to_it(messages: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "I must look."}}]}
    call = {"index": 0, "id": "c0", "function": {"name": "weather", "arguments": "{}"}}
    called = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    upstream.behaviour = Behaviour(sent=events(thought, called))
    found = await message(messages, tools=[LOOK])
    assert [block["type"] for block in found["content"]] == ["thinking", "tool_use"]
    assert found["content"][0]["signature"].startswith("soma1.")
    upstream.behaviour = Behaviour()
    result = {"type": "tool_result", "tool_use_id": "c0", "content": "sun"}
    history = [HI, {"role": "assistant", "content": found["content"]}, {"role": "user", "content": [result]}]
    assert text_of(await message(messages, True, *history, tools=[LOOK])) == "Hello there!"
    sent = upstream.requests[-1]["messages"]
    assert [each["role"] for each in sent] == ["user", "assistant", "tool"]
    assert sent[1]["reasoning_content"] == "I must look."


async def test_the_system_text_is_one_message_and_marks_choke_nobody(
    messages: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    mark = {"type": "ephemeral"}
    system = [{"type": "text", "text": "Be brief.", "cache_control": mark}, {"type": "text", "text": "Be kind."}]
    turn = {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": mark}]}
    assert text_of(await message(messages, True, turn, system=system, metadata={"user_id": "u"}, cache_control=mark))
    body = upstream.requests[-1]
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert body.keys() == {"model", "messages", "stream", "stream_options", "max_tokens"}


ASKS = {"role": "assistant", "content": [
    {"type": "text", "text": "\n\n"},
    {"type": "tool_use", "id": "functions.x:0", "name": "weather", "input": {}},
]}  # fmt: skip
RESULT = {"type": "tool_result", "tool_use_id": "functions.x:0", "content": "4 degrees"}
HISTORIES = [
    [HI, ASKS, {"role": "user", "content": [RESULT]}],
    [HI, ASKS, {"role": "user", "content": [RESULT, RESULT, {"type": "text", "text": "Well?"}]}],
    [HI, {"role": "user", "content": [{**RESULT, "tool_use_id": "lost"}]}, HI],
    [HI, ASKS, HI],
]


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("history", HISTORIES)
async def test_odd_histories_are_put_right_for_every_vendor(
    messages: httpx.AsyncClient, upstream: FakeUpstream, anthropic: FakeUpstream, history: list[Any], model: str
) -> None:
    assert text_of(await message(messages, False, *history, model=model, tools=[LOOK])) == "Hello there!"
    if model == CLAUDE:
        blocks = [block for turn in anthropic.requests[-1]["messages"] for block in turn["content"]]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        assert all(
            set(each) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") for each in calls
        )
    else:
        sent = upstream.requests[-1]["messages"]
        calls = [call["id"] for each in sent for call in each.get("tool_calls") or ()]
        results = [each["tool_call_id"] for each in sent if each["role"] == "tool"]
    assert sorted(results) == sorted(calls)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault.OVERLOADED, 529, "overloaded_error"),
        (Fault.RATE_LIMITED, 429, "rate_limit_error"),
        (Fault.BAD_REQUEST, 400, "invalid_request_error"),
        (Fault.UNKNOWN_MODEL, 404, "not_found_error"),
        (Fault.RESET, 529, "overloaded_error"),
        (Fault.GARBAGE, 529, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("model", [MODEL, CLAUDE])
async def test_a_fault_of_the_vendor_has_anthropics_status(
    messages: httpx.AsyncClient,
    upstream: FakeUpstream,
    anthropic: FakeUpstream,
    fault: Fault,
    status: int,
    kind: str,
    model: str,
) -> None:
    (anthropic if model == CLAUDE else upstream).behaviour = Behaviour(fault=fault)
    answer = await ask(messages, False, model=model)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


@pytest.mark.parametrize("fault", [Fault.CUT_MID, Fault.RESET_MID, Fault.ERROR_MID, Fault.TORN_MID])
@pytest.mark.parametrize("model", [MODEL, CLAUDE])
async def test_an_answer_that_is_cut_never_looks_whole(
    messages: httpx.AsyncClient, upstream: FakeUpstream, anthropic: FakeUpstream, fault: Fault, model: str
) -> None:
    (anthropic if model == CLAUDE else upstream).behaviour = Behaviour(fault=fault)
    kinds = [event["type"] for event in read((await ask(messages, model=model)).text)]
    assert kinds[-1] == "error"
    assert "message_stop" not in kinds


async def test_a_model_that_is_away_is_529_with_the_time_to_come_back(messages: httpx.AsyncClient) -> None:
    answer = await ask(messages, False, model=ABSENT)
    assert answer.status_code == 529
    assert int(answer.headers["retry-after"]) >= 1


async def test_ten_thousand_messages_are_refused_by_name(messages: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    answer = await ask(messages, False, *[HI] * 10_000)
    assert (answer.status_code, upstream.requests) == (400, [])
    assert answer.json()["error"]["message"] == "messages: List should have at most 4096 items"


async def test_errors_before_a_request_is_read_have_anthropics_shape(messages: httpx.AsyncClient, stack: Stack) -> None:
    unknown = await messages.get("/v1/messages/batches")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    assert unknown.json()["request_id"]
    large = await messages.post("/v1/messages", content=b" " * (33 * 1024 * 1024))
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
    async with stack.http(**{"x-api-key": "wrong", "anthropic-version": "2023-06-01"}) as stranger:
        refused = await ask(stranger, False)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
async def test_the_model_server_is_disconnected_within_100_ms_of_its_client(
    messages: httpx.AsyncClient, upstream: FakeUpstream, anthropic: FakeUpstream, model: str
) -> None:
    server = anthropic if model == CLAUDE else upstream
    server.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.02)
    body = {"model": model, "max_tokens": 64, "stream": True, "messages": [HI]}
    seconds: list[float] = []
    for attempt in range(1, ATTEMPTS + 1):
        async with messages.stream("POST", "/v1/messages", json=body) as answer:
            async for data in data_of(answer):
                if "x " in data:
                    break
        began = get_running_loop().time()
        async with asyncio.timeout(CALL_SECONDS):
            await server.until(open=0, left=attempt)
        seconds.append(get_running_loop().time() - began)
    assert min(seconds) < WITHIN_SECONDS
