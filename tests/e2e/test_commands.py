"""curl and grpcurl against the public port, as the README shows them."""

import json
import shutil
import uuid
from pathlib import Path

import pytest

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.contracts import SERVICES
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack, command
from tests.e2e.surfaces import received_messages

CURL = shutil.which("curl")
BUILT = Path(__file__).parents[2] / ".tools" / "bin" / "grpcurl"
GRPCURL = str(BUILT) if BUILT.exists() else shutil.which("grpcurl")

needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")
needs_grpcurl = pytest.mark.skipif(GRPCURL is None, reason="grpcurl is missing: `make setup` builds it")


async def curl(stack: Stack, path: str, body: object) -> list[str]:
    """POST JSON; returns the data lines of the streamed answer."""
    assert CURL is not None
    ended = await command(
        *(CURL, "--silent", "--show-error", "--no-buffer", "--fail-with-body", "--max-time", "20"),
        *("-H", f"authorization: Bearer {stack.key}", "-H", "content-type: application/json"),
        *("-d", json.dumps(body), f"{stack.url}{path}"),
    )
    assert ended.status == 0, ended.output + ended.errors
    return [line.removeprefix("data: ") for line in ended.output.splitlines() if line.startswith("data: ")]


async def grpcurl(stack: Stack, *arguments: str) -> str:
    """Call by reflection; returns the output."""
    assert GRPCURL is not None
    ended = await command(
        *(GRPCURL, "-plaintext", "-max-time", "20", "-H", f"authorization: Bearer {stack.key}"), *arguments
    )
    assert ended.status == 0, ended.output + ended.errors
    return ended.output


def objects(text: str) -> list[dict[str, dict[str, str]]]:
    """The JSON objects in a text, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


@needs_curl
async def test_curl_holds_a_streamed_conversation_that_is_remembered(stack: Stack, upstream: FakeUpstream) -> None:
    conversation = f"curl-{uuid.uuid4()}"
    for text, answer in (("My cat is called Ada.", "Noted."), ("What is my cat called?", "Ada.")):
        upstream.behaviour = Behaviour(deltas=(answer,))
        messages = [{"role": "user", "content": text}]
        data = await curl(
            stack,
            "/v1/chat/completions",
            {"model": MODEL, "messages": messages, "stream": True, "conversation": conversation},
        )
        assert data[-1] == "[DONE]"
        pieces = [json.loads(line)["choices"][0]["delta"].get("content") or "" for line in data[:-1]]
        assert "".join(pieces) == answer
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["My cat is called Ada.", "Noted.", "What is my cat called?"]


@needs_curl
async def test_curl_streams_the_typed_events_of_a_chat(stack: Stack, upstream: FakeUpstream) -> None:
    data = await curl(stack, "/v1/chat", {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "hello"}]})
    received = [json.loads(line) for line in data]
    assert "started" in received[0]
    assert "".join(event["delta"]["text"] for event in received if "delta" in event) == "Hello there!"
    assert received[-1]["finished"]["usage"]["total_tokens"] == 14


@needs_grpcurl
async def test_grpcurl_lists_every_service(stack: Stack) -> None:
    listed = (await grpcurl(stack, f"127.0.0.1:{stack.port}", "list")).split()
    assert {*SERVICES, "grpc.health.v1.Health"} <= set(listed)


@needs_grpcurl
async def test_grpcurl_holds_a_streamed_conversation_that_is_remembered(stack: Stack, upstream: FakeUpstream) -> None:
    conversation = f"grpcurl-{uuid.uuid4()}"
    for text, answer in (("My dog is called Bo.", "Noted."), ("What is my dog called?", "Bo.")):
        upstream.behaviour = Behaviour(deltas=(answer,))
        body = {
            "model": MODEL,
            "conversation_id": conversation,
            "messages": [{"role": "ROLE_USER", "content": text}],
        }
        printed = await grpcurl(
            stack, "-d", json.dumps(body), f"127.0.0.1:{stack.port}", "soma.orchestrator.v1.ChatService/Chat"
        )
        received = objects(printed)
        assert "".join(event["delta"]["text"] for event in received if "delta" in event) == answer
        assert "finished" in received[-1]
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["My dog is called Bo.", "Noted.", "What is my dog called?"]


async def test_soma_chat_holds_a_conversation_that_is_remembered(stack: Stack, upstream: FakeUpstream) -> None:
    conversation = f"soma-{uuid.uuid4()}"
    for text, answer in (("My fox is called Eve.", "Noted."), ("What is my fox called?", "Eve.")):
        upstream.behaviour = Behaviour(deltas=(answer,))
        ended = await stack.soma("chat", "--conversation", conversation, text)
        assert ended.status == 0, ended.errors
        assert answer in ended.output
    contents = [content for _, content in received_messages(upstream)]
    assert contents == ["My fox is called Eve.", "Noted.", "What is my fox called?"]
