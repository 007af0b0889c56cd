"""Clients that never read their answers: the answers are held back, memory does not grow, and they are closed."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from websockets.asyncio.client import connect

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.hostile.footprint import KEPT_MIB, Footprint, serves
from tests.e2e.hostile.limits import GRACE_SECONDS, IDLE_SECONDS
from tests.e2e.hostile.wire import Http2, post
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack

# Clients of each surface.
CLIENTS = 2
# 80 MB for each client, far more than all buffers on the way hold.
ENDLESS = Behaviour(deltas=["x" * 8000] * 10_000)
# Memory for each client, in the gateway and in the services together, in addition to what heaps keep.
MIB_EACH = 16


@asynccontextmanager
async def unread(stack: Stack, path: str, asked: dict[str, Any]) -> AsyncIterator[None]:
    """A request over HTTP/1.1 whose answer is not read."""
    body = json.dumps(asked).encode()
    raw = socket.socket()
    # It is set before the connection, so that the other side learns the small window.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    with raw:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", stack.port))
        await loop.sock_sendall(raw, post(stack, path, len(body), ("content-type", "application/json")) + body)
        yield


@asynccontextmanager
async def unread_call(stack: Stack) -> AsyncIterator[None]:
    """A native stream whose client does not read, on a connection of its own."""
    request = ChatRequest(model=MODEL, messages=[Message(role=ROLE_USER, content="go on")])
    async with Http2.open(stack, reads=False) as connection:
        connection.call("/soma.orchestrator.v1.ChatService/Chat", request.SerializeToString())
        connection.flush()
        yield


async def test_streams_that_are_not_read_are_held_back_and_then_ended(checked: Stack, upstream: FakeUpstream) -> None:
    stack = checked
    openai = {"model": MODEL, "messages": [{"role": "user", "content": "go on"}], "stream": True}
    rest = {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "go on"}]}
    before = await Footprint.of(stack)
    upstream.behaviour = ENDLESS
    async with AsyncExitStack() as clients:
        for _ in range(CLIENTS):
            await clients.enter_async_context(unread(stack, "/v1/chat/completions", openai))
            await clients.enter_async_context(unread(stack, "/v1/chat", rest))
            await clients.enter_async_context(unread_call(stack))
        async with asyncio.timeout(IDLE_SECONDS + GRACE_SECONDS):
            await upstream.until(open=CLIENTS * 3)
            upstream.behaviour = Behaviour()
            await serves(stack)
            most = 0.0

            async def ended() -> bool:
                nonlocal most
                most = max(most, (await Footprint.of(stack)).grown_mib(before))
                return not upstream.open

            await until(ended, seconds=IDLE_SECONDS + GRACE_SECONDS, every=0.2)
    # The model server's work for them was cancelled, although no client had disconnected.
    assert upstream.left == CLIENTS * 3
    assert most < KEPT_MIB + MIB_EACH * CLIENTS * 3


async def test_a_websocket_that_is_not_read_is_ended(checked: Stack) -> None:
    stack = checked
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", stack.port))
    url = f"ws://127.0.0.1:{stack.port}/ws/logs?token={stack.key}"
    # Each message is answered with one of the same size.
    wish = json.dumps({"type": "update_filters", "filters": {"x" * 60_000: "y"}})
    async with connect(url, sock=raw, ping_interval=None, close_timeout=0.1, max_queue=1) as connection:
        await connection.recv()

        async def open_sockets() -> float:
            return await stack.measured("soma_edge_sockets_open")

        assert await open_sockets() == 1

        async def talk() -> None:
            while True:
                await connection.send(wish)

        talking = asyncio.create_task(talk())

        async def ended() -> bool:
            return await open_sockets() == 0

        try:
            await until(ended, seconds=IDLE_SECONDS + GRACE_SECONDS)
            await serves(stack)
        finally:
            talking.cancel()
            await asyncio.wait({talking})
