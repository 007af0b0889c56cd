"""Clients of every surface disconnect in the middle of an answer: the work for them ends, and nothing is left open."""

import asyncio
import uuid
from collections.abc import Mapping

import grpc
import pytest
from openai import AsyncOpenAI
from soma.model.v1.cost_service_pb2 import UsageRecord

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.counts import Counts
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.streams.conftest import echoes
from tests.e2e.streams.held import HeldStream, holding
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import ECHOES, LOGS, STREAMED, WHOLE
from tests.e2e.surfaces import over_grpc, received_messages, usage

CROWD = 3


def conversations(names: Mapping[str, object]) -> dict[str, Ask]:
    """A conversation of its own for each surface."""
    return {name: Ask(conversation=f"left/{uuid.uuid4()}") for name in names}


async def test_a_stream_whose_client_disconnects_ends_upstream_and_is_recorded_as_cancelled(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.02)
    asks = conversations(STREAMED)
    async with holding(stack, STREAMED, asks) as held:
        for client in held:
            await client.leave()
        async with asyncio.timeout(CALL_SECONDS):
            await upstream.until(open=0, left=len(held))
    for ask in asks.values():
        (row,) = await usage(channel, stack, ask.conversation)
        assert row.outcome == UsageRecord.OUTCOME_CANCELLED
        assert row.usage.completion_tokens > 0


async def test_an_answer_without_a_stream_whose_client_disconnects_ends_upstream(
    stack: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.02)
    held = [HeldStream(name, read(stack, Ask())) for name, read in WHOLE.items()]
    async with asyncio.timeout(CALL_SECONDS):
        await upstream.until(open=len(held))
        for client in held:
            await client.leave()
        await upstream.until(open=0, left=len(held))


async def test_a_turn_whose_client_disconnects_is_not_remembered(
    stack: Stack, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.02)
    # Only surfaces with a conversation: a generation does not use memory.
    readers = {name: read for name, read in STREAMED.items() if "generation" not in name}
    asks = conversations(readers)
    async with holding(stack, readers, asks) as held:
        for client in held:
            await client.leave()
        async with asyncio.timeout(CALL_SECONDS):
            await upstream.until(open=0)
    upstream.behaviour = Behaviour()
    for ask in asks.values():
        assert (await over_grpc(channel, stack, "again", conversation=ask.conversation)).finished
        assert received_messages(upstream) == [("user", "again")]


async def test_a_response_whose_client_disconnects_is_stored_as_cancelled(
    stack: Stack, openai: AsyncOpenAI, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.02)
    stream = await openai.responses.create(model=MODEL, input="hello", stream=True)
    async for event in stream:
        if event.type == "response.created":
            response_id = event.response.id
        elif event.type == "response.output_text.delta":
            break
    await stream.close()

    async def cancelled() -> bool:
        return (await openai.responses.retrieve(response_id)).status == "cancelled"

    await until(cancelled)
    assert upstream.open == 0


@pytest.mark.timeout(180)
async def test_many_clients_that_disconnect_at_once_leave_nothing_open(stack: Stack, upstream: FakeUpstream) -> None:
    endless = asyncio.Event()
    upstream.behaviour = Behaviour(until=endless, pause=0.05)
    readers = {**STREAMED, **ECHOES, **LOGS}

    async def crowd() -> None:
        async with holding(stack, readers, {"bidi": Ask(until=endless)}, each=CROWD) as held:
            await asyncio.gather(*(client.leave() for client in held))
        await upstream.until(open=0)

    async with stack.serving("testing"):
        await echoes(stack)
        await crowd()
        resting = await Counts.of(stack)
        await crowd()
        await resting.restored(stack)
