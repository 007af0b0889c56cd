"""The `sequence` of streams: the mesh numbers the messages of a call, unless the contract says that they are stored."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from soma.mesh.v1.stream_pb2 import Heartbeat
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1 import chat_service_pb2_grpc as chat_rpc
from soma.orchestrator.v1 import response_service_pb2 as responses
from soma.orchestrator.v1 import response_service_pb2_grpc as responses_rpc

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.carrier import RemoteCarrier
from services.mesh.testing.local import SIGNER, SOMEBODY, LocalMesh
from services.mesh.transport.remote.channel import RemoteChannel
from services.mesh.transport.server import Server

BEAT = chat.ChatResponse(heartbeat=Heartbeat())


class Chats(chat_rpc.ChatServiceServicer):
    """Sends as many heartbeats as the name of the model says, always the same object, and then fails."""

    async def Chat(self, request: chat.ChatRequest, context: Any) -> AsyncIterator[chat.ChatResponse]:
        for _ in range(int(request.model)):
            yield BEAT
        raise errors.Unavailable("no more")


class Responses(responses_rpc.ResponseServiceServicer):
    """Sends events with stored numbers, some of them repeated, and then fails."""

    async def WatchResponse(
        self, request: responses.WatchResponseRequest, context: Any
    ) -> AsyncIterator[responses.WatchResponseResponse]:
        for place in (0, 0, 0, 4, 9):
            yield responses.WatchResponseResponse(sequence=place, heartbeat=Heartbeat())
        raise errors.Unavailable("no more")


@pytest.fixture(params=["local", "strict", "unix", "tcp"])
async def channel(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """Both services behind the whole pipeline, on one transport."""
    mesh = LocalMesh(
        (
            (chat_rpc.add_ChatServiceServicer_to_server, Chats()),
            (responses_rpc.add_ResponseServiceServicer_to_server, Responses()),  # type: ignore[abstract]
        ),
        strict=request.param == "strict",
    )
    if request.param in ("local", "strict"):
        yield mesh.channel
        await mesh.channel.close()
        return
    server = Server(mesh.handlers, mesh.drain, max_message_bytes=4 << 20)
    address = f"unix:{tmp_path}/n.sock" if request.param == "unix" else "127.0.0.1:0"
    port = await server.start(address)
    target = address if request.param == "unix" else f"127.0.0.1:{port}"
    remote = RemoteChannel(target, outgoing=RemoteCarrier(SIGNER))
    yield remote
    await remote.close()
    await server.stop(0)


async def until_it_fails(call: Any) -> list[Any]:
    """The messages of a stream that ends with an error."""
    seen: list[Any] = []

    async def read() -> None:
        async for message in call:
            seen.append(message)

    with pytest.raises(grpc.aio.AioRpcError):
        await read()
    return seen


def turn(count: int) -> chat.ChatRequest:
    """A valid turn that asks for this number of events."""
    return chat.ChatRequest(model=str(count), messages=[Message(role=ROLE_USER, content="Hi")])


async def test_the_messages_of_each_call_are_numbered_and_its_error_is_the_last(channel: Any) -> None:
    with run_as(SOMEBODY):
        calls = [chat_rpc.ChatServiceStub(channel).Chat(turn(count)) for count in (3, 5)]
        told = [await until_it_fails(call) for call in calls]
    assert [[event.sequence for event in events] for events in told] == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    assert [event.WhichOneof("payload") for event in told[0]] == ["heartbeat"] * 3 + ["error"]


async def test_stored_events_keep_the_numbers_that_their_service_gave_them(channel: Any) -> None:
    with run_as(SOMEBODY):
        stub = responses_rpc.ResponseServiceStub(channel)
        told = await until_it_fails(stub.WatchResponse(responses.WatchResponseRequest(response_id="resp_1")))
    assert [event.sequence for event in told] == [0, 0, 0, 4, 9, 10]
    assert told[-1].error.reason == "DEPENDENCY_UNAVAILABLE"
