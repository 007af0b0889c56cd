"""WebSockets for responses in the hands of clients that read nothing, ask for too much, or send what is no message."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.hostile.footprint import KEPT_MIB, Footprint, serves
from tests.e2e.hostile.limits import GRACE_SECONDS, IDLE_SECONDS, MESSAGE_SECONDS, SOCKETS
from tests.e2e.response_socket import answer_of, response_socket
from tests.e2e.stack import Stack

CLIENTS = 3
# 80 MB for each client, far more than all buffers on the way hold.
ENDLESS = Behaviour(deltas=["x" * 8000] * 10_000)
# Memory for each client, in the gateway and in the services together, in addition to what heaps keep.
MIB_EACH = 16
MANY = 1000
AHEAD = 1000
# Long enough for a thousand responses while other tests use most of the machine.
MANY_SECONDS = 240.0
MIB = 1024 * 1024
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def slow_socket(port: int) -> socket.socket:
    """A connected socket with a small window."""
    raw = socket.socket()
    # It is set before the connection, so that the other side learns the small window.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.setblocking(False)
    return raw


async def test_clients_that_read_nothing_are_held_back_and_then_closed(checked: Stack, upstream: FakeUpstream) -> None:
    stack = checked
    before = await Footprint.of(stack)
    upstream.behaviour = ENDLESS
    async with AsyncExitStack() as clients:
        for _ in range(CLIENTS):
            raw = slow_socket(stack.port)
            client = await clients.enter_async_context(response_socket(stack, sock=raw, close_timeout=0.1))
            await client.create(store=False)
            client.connection.transport.pause_reading()
        async with asyncio.timeout(IDLE_SECONDS + GRACE_SECONDS):
            await upstream.until(open=CLIENTS)
            upstream.behaviour = Behaviour()
            # Others are answered as ever.
            await serves(stack)
            most = 0.0

            async def ended() -> bool:
                nonlocal most
                most = max(most, (await Footprint.of(stack)).grown_mib(before))
                return not upstream.open

            await until(ended, seconds=IDLE_SECONDS + GRACE_SECONDS, every=0.2)
    assert upstream.left == CLIENTS
    assert most < KEPT_MIB + MIB_EACH * CLIENTS


@pytest.mark.timeout(2 * MANY_SECONDS)
async def test_a_thousand_responses_asked_for_at_once_are_made_one_after_the_other(
    checked: Stack, upstream: FakeUpstream
) -> None:
    earlier = len(upstream.requests)
    async with response_socket(checked) as client:

        async def ask() -> None:
            for number in range(AHEAD):
                await client.create(str(number), store=False)

        asking = asyncio.create_task(ask())
        async with asyncio.timeout(MANY_SECONDS):
            for _ in range(AHEAD):
                assert answer_of(await client.last()) == "Hello there!"
        await asking
    asked = [request["messages"][-1]["content"] for request in upstream.requests[earlier:]]
    assert asked == [str(each) for each in range(AHEAD)]


@pytest.mark.timeout(2 * MANY_SECONDS)
async def test_a_long_conversation_stays_within_the_memory(checked: Stack, upstream: FakeUpstream) -> None:
    before = await Footprint.of(checked)
    async with response_socket(checked) as client:
        previous: str | None = None
        async with asyncio.timeout(MANY_SECONDS):
            for number in range(MANY // 4):
                last = await client.turn(f"{number} {'x' * 1000}", store=False, previous_response_id=previous)
                previous = last["response"]["id"]
        # All turns so far, with their answers.
        assert len(upstream.requests[-1]["messages"]) == MANY // 2 - 1
        assert (await Footprint.of(checked)).grown_mib(before) < KEPT_MIB


async def test_more_connections_than_permitted_are_refused_and_the_others_work(checked: Stack) -> None:
    statuses: list[int] = []
    async with AsyncExitStack() as clients:
        opened = [await clients.enter_async_context(response_socket(checked)) for _ in range(SOCKETS)]
        for _ in range(MANY - SOCKETS):
            with pytest.raises(InvalidStatus) as refused:
                await clients.enter_async_context(response_socket(checked))
            statuses.append(refused.value.response.status_code)
        assert set(statuses) == {429}
        assert (await opened[0].turn(store=False))["type"] == "response.completed"
        await serves(checked)
    # A connection that has ended makes room for another.
    async with response_socket(checked) as client:
        assert (await client.turn(store=False))["type"] == "response.completed"


async def test_connections_that_are_opened_and_closed_leave_nothing(checked: Stack) -> None:
    for _ in range(MANY // 5):
        async with response_socket(checked) as client:
            client.connection.transport.abort()


async def test_a_message_with_a_picture_of_many_megabytes_is_answered(checked: Stack) -> None:
    # A picture with something behind its end.
    url = f"data:image/png;base64,{PNG[:-2]}AA{'A' * (20 * MIB)}"
    content = [{"type": "input_image", "image_url": url}]
    async with response_socket(checked) as client:
        assert (await client.turn([{"role": "user", "content": content}], store=False))["type"] == "response.completed"


async def test_a_message_over_the_limit_is_refused(checked: Stack) -> None:
    async with response_socket(checked) as client:
        whole = Frame(Opcode.TEXT, b" " * (32 * MIB + 1)).serialize(mask=True)
        client.connection.transport.write(whole[:MIB])
        with pytest.raises(ConnectionClosed) as closed:
            await client.event()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_message_that_comes_in_drops_is_refused(checked: Stack) -> None:
    async with response_socket(checked) as client:
        client.connection.transport.write(Frame(Opcode.TEXT, b" " * 1000).serialize(mask=True)[:100])

        async def drip() -> None:
            while True:
                client.connection.transport.write(b" ")
                await asyncio.sleep(0.1)

        dripping = asyncio.create_task(drip())
        with pytest.raises(ConnectionClosed) as closed:
            await client.event(seconds=MESSAGE_SECONDS + GRACE_SECONDS)
        dripping.cancel()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("garbage", ["text", "bytes", "frames"])
async def test_garbage_is_answered_or_ends_the_connection(checked: Stack, garbage: str) -> None:
    async with response_socket(checked) as client:
        if garbage == "frames":
            client.connection.transport.write(b"\xff" * 1000)
            with pytest.raises(ConnectionClosed) as closed:
                await client.event()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1002
            return
        for _ in range(100):
            await client.connection.send("{" * 1000 if garbage == "text" else bytes(1000))
        for _ in range(100):
            assert (await client.event())["status"] == 400
        assert (await client.turn(store=False))["type"] == "response.completed"


async def test_a_client_that_vanished_is_noticed_although_nothing_ends_the_connection(
    checked: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "], until=asyncio.Event(), pause=0.05)
    async with response_socket(checked, sock=slow_socket(checked.port), close_timeout=0.1) as client:
        await client.create(store=False)
        await client.event("response.output_text.delta")
        # It neither reads nor sends any more, and its system answers for it.
        client.connection.transport.pause_reading()
        async with asyncio.timeout(IDLE_SECONDS + GRACE_SECONDS):
            await upstream.until(open=0, left=1)


async def test_a_connection_that_has_been_open_for_long_ends_after_its_response(
    short_lived: Stack, upstream: FakeUpstream
) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.05)
    async with response_socket(short_lived) as client:
        await client.create(store=False)
        await client.event("response.output_text.delta")
        asyncio.get_running_loop().call_later(4.0, enough.set)
        assert (await client.last())["type"] == "response.completed"
        failed = await client.event()
        assert (failed["status"], failed["error"]["code"]) == (400, "websocket_connection_limit_reached")
        with pytest.raises(ConnectionClosed) as closed:
            await client.event()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert json.dumps(failed).count("minutes") == 1
