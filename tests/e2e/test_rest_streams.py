"""Server streams over REST: events are sent at once, heartbeats in silence, and a typed event at the end."""

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack
from tests.e2e.surfaces import events

CHAT = {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "hello"}]}
GENERATE = ("/v1/generate", CHAT)
SILENT = [
    GENERATE,
    ("/v1/chat", CHAT),
    ("/v1/chat/responses", {"model": MODEL, "input": [{"message": {"role": "ROLE_USER", "content": "hello"}}]}),
]


async def streamed(
    http: httpx.AsyncClient, path: str, body: object, **headers: str
) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a stream."""
    async with http.stream("POST", path, json=body, headers=headers) as answer, aclosing(events(answer)) as received:
        assert answer.headers["content-type"] == "text/event-stream"
        async for data in received:
            yield json.loads(data)


@pytest.mark.parametrize(("path", "body"), SILENT)
async def test_a_silent_stream_sends_heartbeats_in_its_own_oneof(
    split: Stack, upstream: FakeUpstream, path: str, body: object
) -> None:
    upstream.behaviour = Behaviour(deltas=("one", "two"), pause=1.0)
    async with split.http() as http:
        received = [event async for event in streamed(http, path, body)]
    kinds = [next(name for name in event if name != "sequence") for event in received]
    assert [event["sequence"] for event in received] == list(range(len(received)))
    assert kinds.count("heartbeat") >= 2
    assert kinds[-1] == "finished"
    assert next(event for event in received if "heartbeat" in event)["heartbeat"] == {}


async def test_a_tail_of_logs_sends_heartbeats(split: Stack) -> None:
    path = f"/api/v1/logs/stream/{uuid.uuid4()}"
    async with split.http() as http, http.stream("GET", path) as answer, aclosing(events(answer)) as received:
        kinds = [next(name for name in json.loads(await anext(received)) if name != "sequence") for _ in range(3)]
    assert kinds == ["started", "heartbeat", "heartbeat"]


async def test_an_event_is_sent_before_the_next_one_is_made(http: httpx.AsyncClient, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=("one", "two"), pause=1.0)
    async with aclosing(streamed(http, *GENERATE)) as received:
        async for event in received:
            if event.get("delta", {}).get("text") == "one":
                # The model server has not finished its answer, so no event waited for the end.
                assert upstream.open == 1
                break
        else:
            pytest.fail("the first delta never came")
        assert "finished" in [list(event)[-1] for event in [event async for event in received]]


async def test_a_deadline_ends_a_stream_with_the_typed_error_as_its_last_event(
    http: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    received = [event async for event in streamed(http, *GENERATE, **{"grpc-timeout": "700m"})]
    assert "delta" in received[-2]
    assert received[-1]["error"]["reason"] == "DEADLINE_EXCEEDED"
    assert (received[-1]["error"]["code"], received[-1]["error"]["status"]) == (4, "DEADLINE_EXCEEDED")
    await upstream.until(open=0)


async def test_a_deadline_before_the_first_event_is_504(http: httpx.AsyncClient) -> None:
    for path in ("/v1/generate", "/v1/chat"):
        answer = await http.post(path, json=CHAT, headers={"grpc-timeout": "1u"})
        assert answer.status_code == 504
        assert answer.json()["error"]["details"][0]["reason"] == "DEADLINE_EXCEEDED"
