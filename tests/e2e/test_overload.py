"""More calls than the stack accepts: they are refused at once with a time to wait, and calls in progress go on."""

import asyncio
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable

import grpc
import httpx
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.scripted import MOST_REQUESTS
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import Turn, over_grpc, over_openai, over_rest, request

REFUSED = 40


async def timed(ask: Callable[[], Awaitable[Turn]]) -> tuple[list[Turn], list[float]]:
    """So many turns, one after the other, and how many seconds each took."""
    turns: list[Turn] = []
    seconds: list[float] = []
    for _ in range(REFUSED):
        began = get_running_loop().time()
        turns.append(await ask())
        seconds.append(get_running_loop().time() - began)
    return turns, seconds


async def test_chats_over_the_limit_are_refused_at_once_and_never_queued(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.5)
    stub = ChatServiceStub(channel)
    calls = [stub.Chat(request("hello"), metadata=stack.metadata) for _ in range(MOST_REQUESTS)]
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await upstream.until(open=MOST_REQUESTS)
        native, seconds_native = await timed(lambda: over_grpc(channel, stack, "one more"))
        rest, seconds_rest = await timed(lambda: over_rest(http, "one more"))
        inside = upstream.open
        kinds = [(await anext(aiter(call))).WhichOneof("payload") for call in calls]
    finally:
        for call in calls:
            call.cancel()
    assert {(turn.status, turn.reason) for turn in native} == {("UNAVAILABLE", "OVERLOADED")}
    assert {(turn.status, turn.reason, turn.retry_after) for turn in rest} == {(503, "OVERLOADED", 1)}
    assert max(min(seconds_native), min(seconds_rest)) < 0.1
    assert inside == MOST_REQUESTS
    assert kinds == ["started"] * MOST_REQUESTS
    await upstream.until(open=0)
    upstream.behaviour = Behaviour()

    async def served() -> bool:
        return (await over_grpc(channel, stack, "and now?")).finished

    await until(served)


async def test_the_openai_surface_refuses_with_a_time_to_retry(stack: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 40, pause=0.05)
    async with stack.http() as http:
        turns = await asyncio.gather(*(over_openai(http, "hello") for _ in range(MOST_REQUESTS + REFUSED)))
    refused: list[Turn] = [turn for turn in turns if turn.status == 503]
    served = [turn for turn in turns if turn.finished]
    assert len(served) == MOST_REQUESTS
    assert len(refused) == REFUSED
    assert {(turn.reason, turn.retry_after) for turn in refused} == {("OVERLOADED", 1)}
