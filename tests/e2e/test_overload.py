"""More calls than the stack takes: refused at once and told when to come back, while those inside go on."""

import asyncio
from asyncio import get_running_loop
from contextlib import AsyncExitStack

import grpc
import httpx
from soma.orchestrator.v1.chat_service_pb2 import ChatResponse
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from gateway.xds.snapshot import Limits
from services.mesh.testing.upstreams import Behaviour, FakeUpstream
from services.mesh.testing.waiting import until
from tests.e2e.stack import Stack
from tests.e2e.surfaces import over_grpc, over_rest, request

INSIDE = Limits().max_requests
A_CONNECTION_TAKES = 512
REFUSED = 40


async def test_calls_over_the_limit_are_refused_at_once_and_never_queued(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    """Fills the stack with chats that get a piece a second, and asks for more."""
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=1.0)
    calls: list[grpc.aio.UnaryStreamCall[object, ChatResponse]] = []
    async with AsyncExitStack() as opened:
        for _ in range(0, INSIDE, A_CONNECTION_TAKES):
            connection = await opened.enter_async_context(stack.channel())
            stub = ChatServiceStub(connection)
            calls += [stub.Chat(request("hello"), metadata=stack.metadata) for _ in range(A_CONNECTION_TAKES)]
        try:
            async with asyncio.timeout(60):
                await upstream.until(open=INSIDE)
            began = get_running_loop().time()
            native = [await over_grpc(channel, stack, "one more") for _ in range(REFUSED)]
            rest = [await over_rest(http, "one more") for _ in range(REFUSED)]
            seconds = get_running_loop().time() - began
            inside = upstream.open
            first = await anext(aiter(calls[-1]))
        finally:
            for call in calls:
                call.cancel()
    assert {(turn.status, turn.reason) for turn in native} == {("UNAVAILABLE", "OVERLOADED")}
    assert {(turn.status, turn.reason, turn.retry_after) for turn in rest} == {(503, "OVERLOADED", 1)}
    assert seconds < 10
    assert inside == INSIDE
    assert first.HasField("started")
    await upstream.until(open=0)
    upstream.behaviour = Behaviour()

    async def served() -> bool:
        return (await over_grpc(channel, stack, "and now?")).finished

    await until(served)
