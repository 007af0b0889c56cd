"""A client disconnects in the middle of an answer: the model server's work ends at once, and the ledger says why."""

import asyncio
import uuid
from asyncio import get_running_loop
from contextlib import aclosing

import grpc
import httpx
import pytest
from soma.model.v1.cost_service_pb2 import UsageRecord
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.model.testing.dialects import Behaviour, Fault
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import events, over_grpc, received_messages, request, usage

WITHIN_SECONDS = 0.1
# On a busy machine an attempt may be late; three late attempts are an error of the product.
ATTEMPTS = 3


async def leave(
    surface: str, stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, conversation: str
) -> None:
    """Ask for an answer in a conversation, and disconnect after its first piece."""
    if surface == "grpc":
        call = ChatServiceStub(channel).Chat(
            request("hello", conversation=conversation), metadata=stack.metadata, timeout=CALL_SECONDS
        )
        async for event in call:
            if event.HasField("delta"):
                break
        call.cancel()
        return
    if surface == "openai":
        path, name, role = "/v1/chat/completions", "conversation", "user"
    else:
        path, name, role = "/v1/chat", "conversation_id", "ROLE_USER"
    body = {"model": MODEL, "stream": True, name: conversation, "messages": [{"role": role, "content": "hello"}]}
    if surface == "rest":
        del body["stream"]
    async with http.stream("POST", path, json=body) as answer, aclosing(events(answer)) as received:
        async for data in received:
            if "x " in data:
                break


@pytest.mark.parametrize("surface", ["grpc", "openai", "rest"])
async def test_the_model_server_is_disconnected_within_100_ms_and_the_ledger_says_cancelled(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream, surface: str
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.02)
    seconds: list[float] = []
    conversation = f"left-{uuid.uuid4()}"
    for attempt in range(1, ATTEMPTS + 1):
        await leave(surface, stack, http, channel, conversation)
        began = get_running_loop().time()
        async with asyncio.timeout(CALL_SECONDS):
            await upstream.until(open=0, left=attempt)
        seconds.append(get_running_loop().time() - began)
    assert min(seconds) < WITHIN_SECONDS
    rows = await usage(channel, stack, conversation, rows=ATTEMPTS)
    assert [row.outcome for row in rows] == [UsageRecord.OUTCOME_CANCELLED] * ATTEMPTS
    assert all(row.usage.completion_tokens > 0 for row in rows)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_server_is_disconnected_within_100_ms_while_nothing_of_the_answer_has_come(
    stack: Stack, http: httpx.AsyncClient, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.behaviour = Behaviour(fault=Fault.HANG)
    body = {"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
    seconds: list[float] = []
    for attempt in range(1, ATTEMPTS + 1):
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
        async with asyncio.timeout(CALL_SECONDS):
            await upstream.until(open=1)
            assert upstream.requests[-1].get("stream", False) is stream
            asking.cancel()
            began = get_running_loop().time()
            await upstream.until(open=0, left=attempt)
        seconds.append(get_running_loop().time() - began)
    assert min(seconds) < WITHIN_SECONDS


async def test_a_client_that_disconnects_before_the_first_piece_is_noticed_too(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(fault=Fault.HANG)
    conversation = f"early-{uuid.uuid4()}"
    body = {"model": MODEL, "conversation": conversation, "messages": [{"role": "user", "content": "hello"}]}
    asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
    await upstream.until(open=1)
    asking.cancel()
    began = get_running_loop().time()
    await upstream.until(open=0, left=1)
    assert get_running_loop().time() - began < 1.0
    (row,) = await usage(channel, stack, conversation)
    assert row.outcome == UsageRecord.OUTCOME_CANCELLED


async def test_a_turn_whose_client_disconnected_is_not_remembered(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    conversation = f"unsaid-{uuid.uuid4()}"
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.02)
    await leave("openai", stack, http, channel, conversation)
    await upstream.until(open=0)
    upstream.behaviour = Behaviour()
    assert (await over_grpc(channel, stack, "again", conversation=conversation)).finished
    assert received_messages(upstream) == [("user", "again")]
