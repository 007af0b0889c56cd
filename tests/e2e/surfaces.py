"""One turn of a conversation over each surface, and what its client saw of the end."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import orjson
from soma.model.v1.cost_service_pb2 import ListUsageRequest, UsageRecord
from soma.model.v1.cost_service_pb2_grpc import CostServiceStub
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack


@dataclass(frozen=True)
class Turn:
    """What a client saw of a turn.

    Attributes:
        text: the part of the answer that arrived.
        reason: the reason of the typed error, as in the contracts; empty when the turn finished.
        status: the HTTP status of the answer, or the name of the gRPC code.
        retry_after: seconds that the client should wait; None when the error says nothing.
        finished: whether the final event came.
        chat_id: the id of the turn, once it had started.
    """

    text: str = ""
    reason: str = ""
    status: int | str = 0
    retry_after: float | None = None
    finished: bool = False
    chat_id: str = ""


def request(text: str, model: str = MODEL, conversation: str = "") -> ChatRequest:
    """A turn that says `text`."""
    return ChatRequest(model=model, messages=[Message(role=ROLE_USER, content=text)], conversation_id=conversation)


async def over_grpc(
    channel: grpc.aio.Channel, stack: Stack, text: str, *, model: str = MODEL, conversation: str = ""
) -> Turn:
    """ChatService.Chat over native gRPC; the typed payload and the status must have the same reason."""
    pieces: list[str] = []
    told = chat_id = ""
    finished = False
    call = ChatServiceStub(channel).Chat(
        request(text, model, conversation), metadata=stack.metadata, timeout=CALL_SECONDS
    )
    try:
        async for event in call:
            kind = event.WhichOneof("payload")
            assert not finished, f"{kind} after the final event"
            if kind == "started":
                chat_id = event.started.chat_id
            elif kind == "delta":
                pieces.append(event.delta.text)
            elif kind == "error":
                told = event.error.reason
            elif kind == "finished":
                finished = True
    except grpc.aio.AioRpcError as error:
        typed = from_rpc_error(error)
        assert told in ("", typed.reason)
        return Turn("".join(pieces), typed.reason, error.code().name, typed.facts.retry_after, finished, chat_id)
    finally:
        call.cancel()
    return Turn("".join(pieces), told, "OK", None, finished, chat_id)


async def over_openai(
    http: httpx.AsyncClient, text: str, *, model: str = MODEL, conversation: str = "", stream: bool = True
) -> Turn:
    """`POST /v1/chat/completions` in OpenAI's shapes, without a client library."""
    body: dict[str, Any] = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    if conversation:
        body["conversation"] = conversation
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200 or not stream:
            whole = orjson.loads(await answer.aread())
            if answer.status_code != 200:
                return _refused(answer, whole["error"])
            return Turn(whole["choices"][0]["message"]["content"], "", 200, None, True, whole["id"])
        pieces: list[str] = []
        reason = chat_id = ""
        finished = False
        async with aclosing(events(answer)) as received:
            async for data in received:
                if data == "[DONE]":
                    finished = True
                elif "error" in (chunk := orjson.loads(data)):
                    reason = chunk["error"]["code"] or chunk["error"]["type"]
                else:
                    chat_id = chunk["id"]
                    pieces.extend(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return Turn("".join(pieces), reason.upper(), 200, None, finished, chat_id.removeprefix("chatcmpl-"))


async def over_responses(http: httpx.AsyncClient, text: str, *, model: str = MODEL, stream: bool = True) -> Turn:
    """`POST /v1/responses`."""
    body = {"model": model, "stream": stream, "input": text, "store": False}
    async with http.stream("POST", "/v1/responses", json=body) as answer:
        if answer.status_code != 200 or not stream:
            whole = orjson.loads(await answer.aread())
            return _refused(answer, whole["error"]) if answer.status_code != 200 else _response(whole, [])
        pieces: list[str] = []
        reason = ""
        async with aclosing(events(answer)) as received:
            async for data in received:
                event: Mapping[str, Any] = {} if data == "[DONE]" else orjson.loads(data)
                kind = event.get("type")
                if kind == "response.output_text.delta":
                    pieces.append(event["delta"])
                elif kind == "error":
                    reason = event["code"]
                elif kind in ("response.completed", "response.incomplete"):
                    return _response(event["response"], pieces)
    return Turn("".join(pieces), reason.upper(), 200)


def _response(whole: Mapping[str, Any], pieces: list[str]) -> Turn:
    """A complete response; its text must be that of the pieces, if there were pieces."""
    parts = [part for item in whole["output"] for part in item.get("content", ()) if item["type"] == "message"]
    text = "".join(part.get("text", "") for part in parts)
    assert not pieces or "".join(pieces) == text
    return Turn(text, "", 200, None, True, whole["id"])


async def over_messages(http: httpx.AsyncClient, text: str, *, model: str = MODEL, stream: bool = True) -> Turn:
    """`POST /v1/messages` in Anthropic's shapes; an error has no reason there, so it is the error's type."""
    said = [{"role": "user", "content": text}]
    body = {"model": model, "stream": stream, "max_tokens": 1000, "messages": said}
    async with http.stream("POST", "/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"}) as answer:
        if answer.status_code != 200 or not stream:
            whole = orjson.loads(await answer.aread())
            if answer.status_code != 200:
                return Turn(reason=whole["error"]["type"], status=answer.status_code)
            return Turn("".join(block.get("text", "") for block in whole["content"]), "", 200, None, True, whole["id"])
        pieces: list[str] = []
        reason = ""
        finished = False
        async with aclosing(events(answer)) as received:
            async for data in received:
                event: Mapping[str, Any] = orjson.loads(data)
                assert not finished, f"{event} after the final event"
                if event["type"] == "error":
                    reason = event["error"]["type"]
                elif event["type"] == "content_block_delta":
                    pieces.append(event["delta"].get("text", ""))
                finished = event["type"] == "message_stop"
    return Turn("".join(pieces), reason, 200, None, finished)


async def over_rest(http: httpx.AsyncClient, text: str, *, model: str = MODEL, conversation: str = "") -> Turn:
    """`POST /v1/chat`: the events of native gRPC, as server-sent events."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "ROLE_USER", "content": text}]}
    if conversation:
        body["conversation_id"] = conversation
    async with http.stream("POST", "/v1/chat", json=body) as answer:
        if answer.status_code != 200:
            whole = orjson.loads(await answer.aread())
            return _refused(answer, whole["error"])
        pieces: list[str] = []
        reason = chat_id = ""
        finished = False
        async with aclosing(events(answer)) as received:
            async for data in received:
                event: Mapping[str, Any] = orjson.loads(data)
                if "error" in event:
                    reason = event["error"]["reason"]
                elif "started" in event:
                    chat_id = event["started"]["chat_id"]
                pieces.append(event.get("delta", {}).get("text", ""))
                finished = finished or "finished" in event
    return Turn("".join(pieces), reason, 200, None, finished, chat_id)


Speak = Callable[..., Awaitable[Turn]]


def speaking(surface: str, stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> Speak:
    """The function that takes a turn over a surface: `grpc`, `openai` or `rest`."""

    async def take(text: str, *, model: str = MODEL, conversation: str = "") -> Turn:
        if surface == "grpc":
            return await over_grpc(channel, stack, text, model=model, conversation=conversation)
        over = over_openai if surface == "openai" else over_rest
        return await over(http, text, model=model, conversation=conversation)

    return take


def received_messages(upstream: FakeUpstream) -> list[tuple[str, str]]:
    """The messages that the model server received last: role and content, without system messages."""
    messages = upstream.requests[-1]["messages"]
    return [(message["role"], message["content"]) for message in messages if message["role"] != "system"]


async def events(answer: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of each server-sent event."""
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


async def usage(channel: grpc.aio.Channel, stack: Stack, conversation: str, rows: int = 1) -> list[UsageRecord]:
    """The ledger's rows of a conversation, once there are `rows`. The row of a failed turn may come a moment later."""
    found: list[UsageRecord] = []

    async def written() -> bool:
        page = await CostServiceStub(channel).ListUsage(
            ListUsageRequest(conversation_id=conversation, page_size=1000),
            metadata=stack.metadata,
            timeout=CALL_SECONDS,
        )
        found[:] = page.records
        return len(found) >= rows

    await until(written)
    return found


def _refused(answer: httpx.Response, error: Mapping[str, Any]) -> Turn:
    """A refusal in the shape of REST, or in that of OpenAI's API."""
    reasons = [detail["reason"] for detail in error.get("details", ()) if "reason" in detail]
    wait = answer.headers.get("retry-after")
    return Turn(
        reason=reasons[0] if reasons else str(error["code"] or "").upper(),
        status=answer.status_code,
        retry_after=float(wait) if wait else None,
    )
