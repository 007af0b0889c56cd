"""More large bodies than the gateway takes: some are let in, the others are told when to come again."""

import asyncio
import hashlib
import os
import struct
from base64 import b64encode
from collections import Counter

import grpc
import httpx
import pytest
from soma.memory.v1 import memory_service_pb2 as memory_pb
from soma.memory.v1.memory_service_pb2_grpc import MemoryServiceStub
from soma.model.v1.message_pb2 import ROLE_USER, Message

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from tests.e2e.hostile.footprint import Footprint, peak_mib, serves
from tests.e2e.hostile.limits import MEMORY_MIB
from tests.e2e.hostile.wire import Answer, Http2, post, read_answer
from tests.e2e.stack import CALL_SECONDS, Stack

CLIENTS = 64
SIZE = 32 * 1024 * 1024
PATHS = ("/v1/chat/completions", "/v1/memory/conversations/large/messages")
SMALL_SECONDS = 5.0
PIECE = b" " * 65536


class Upload:
    """A large body that waits for a signal before its last bytes."""

    def __init__(self, stack: Stack, path: str, go: asyncio.Event) -> None:
        self._stack = stack
        self._path = path
        self._go = go
        self.waiting = False

    async def run(self) -> Answer:
        """Send it; returns the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._stack.port)
        try:
            writer.write(post(self._stack, self._path, SIZE))
            for _ in range(SIZE // len(PIECE) - 1):
                writer.write(PIECE)
                await writer.drain()
            self.waiting = True
            await self._go.wait()
            writer.write(PIECE)
            return await read_answer(reader)
        finally:
            writer.transport.abort()


@pytest.mark.timeout(180)
async def test_large_bodies_of_many_clients_leave_room_for_small_requests(limited: Stack) -> None:
    await serves(limited)
    before = await Footprint.of(limited)
    go = asyncio.Event()
    uploads = [Upload(limited, PATHS[n % 2], go) for n in range(CLIENTS)]
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(upload.run()) for upload in uploads]
        async with asyncio.timeout(SMALL_SECONDS):
            await serves(limited)
        await until(lambda: all(upload.waiting for upload in uploads), seconds=60)
        async with asyncio.timeout(SMALL_SECONDS):
            await serves(limited)
        go.set()
    answers = [each.result() for each in running]
    told = Counter(answer.status for answer in answers)
    refused = [answer for answer in answers if answer.status == 503]
    # What is let in is read: white space is no JSON.
    assert set(told) == {400, 503}, told
    assert {(answer.reason, answer.headers["retry-after"]) for answer in refused} == {("GATEWAY_OVERLOADED", "1")}
    assert peak_mib(limited, "envoy") < 2 * MEMORY_MIB
    assert (await Footprint.of(limited)).mib["serve"] - before.mib["serve"] < 3 * SIZE / 2**20
    await before.restored(limited)


async def test_clients_that_leave_before_the_end_take_no_room_from_the_next(limited: Stack) -> None:
    for path in PATHS:
        for _ in range(4):
            leaving = asyncio.create_task(Upload(limited, path, asyncio.Event()).run())
            await asyncio.sleep(0.1)
            leaving.cancel()
            await asyncio.wait([leaving])
        go = asyncio.Event()
        go.set()

        async def let_in(path: str = path, go: asyncio.Event = go) -> bool:
            return (await Upload(limited, path, go).run()).status == 400

        await until(let_in)


async def test_a_large_picture_goes_in_and_out_over_each_protocol(
    limited: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    picture = os.urandom(20_000_000)
    hash = hashlib.sha256(picture).hexdigest()
    part = {"image": {"data": b64encode(picture).decode(), "media_type": "image/png"}}
    body = {"messages": [{"role": "ROLE_USER", "parts": [part]}]}
    answer = await http.post("/v1/memory/conversations/seen/messages", json=body, timeout=CALL_SECONDS)
    assert answer.status_code == 200, answer.text
    read = await http.get(f"/v1/memory/media/{hash}", timeout=CALL_SECONDS)
    assert read.json() == {"data": part["image"]["data"], "media_type": "image/png"}
    stub = MemoryServiceStub(channel)
    message = Message(role=ROLE_USER)
    message.parts.add().image.data = picture
    request = memory_pb.AppendMessagesRequest(conversation_id="seen", messages=[message])
    assert (await stub.AppendMessages(request, metadata=limited.metadata)).last_sequence == 2


async def test_native_calls_beyond_the_room_are_told_so(limited: Stack, channel: grpc.aio.Channel) -> None:
    stub = MemoryServiceStub(channel)
    message = Message(role=ROLE_USER)
    message.parts.add().image.data = os.urandom(20_000_000)
    request = memory_pb.AppendMessagesRequest(conversation_id="a\0b", messages=[message])

    async def told() -> str:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AppendMessages(request, metadata=limited.metadata)
        return from_rpc_error(refused.value).reason

    reasons = Counter(await asyncio.gather(*(told() for _ in range(12))))
    assert set(reasons) == {"INVALID_ARGUMENT", "GATEWAY_OVERLOADED"}, reasons


async def test_a_native_message_that_is_longer_than_it_states_is_not_let_in(limited: Stack) -> None:
    path = "/soma.memory.v1.MemoryService/AppendMessages"
    lying = struct.pack(">BI", 0, 2_000_000) + bytes(20_000_000)
    async with Http2.open(limited) as connection:
        stream = connection.request("POST", path, ("content-type", "application/grpc"), ("te", "trailers"), end=False)
        await connection.upload(stream, lying, end=True)
        await until(lambda: connection.answers[stream].ended)
        # On a busy machine the bytes arrive too slowly to be counted in time.
        refusals = ("the gateway has as many large requests", "the request did not arrive whole in time")
        assert connection.answers[stream].headers["grpc-message"].startswith(refusals)
