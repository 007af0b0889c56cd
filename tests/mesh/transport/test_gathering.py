"""All that is written in one turn of the event loop is sent together, in order, and not later."""

import asyncio
from typing import Any

import pytest

from services.mesh.testing.waiting import until
from services.mesh.transport.gathering import GatheringTransport
from services.mesh.transport.http import HttpServer


class Recording(asyncio.Transport):
    """Records what it is asked to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 7


@pytest.fixture
async def recording() -> Recording:
    return Recording()


@pytest.fixture
async def gathering(recording: Recording) -> GatheringTransport:
    return GatheringTransport(recording, asyncio.get_running_loop())


async def test_writes_of_one_turn_of_the_loop_are_sent_together(
    gathering: GatheringTransport, recording: Recording
) -> None:
    gathering.write(b"head ")
    gathering.writelines([b"and ", bytearray(b"body")])
    assert recording.sent == []
    assert gathering.get_write_buffer_size() == 13 + 7
    await asyncio.sleep(0)
    gathering.write(b"next")
    await asyncio.sleep(0)
    assert recording.sent == [b"head and body", b"next"]


async def test_closing_first_sends_what_was_written(gathering: GatheringTransport, recording: Recording) -> None:
    gathering.write(b"last words")
    gathering.close()
    assert recording.sent == [b"last words"]
    assert recording.closed


async def test_aborting_sends_nothing_more(gathering: GatheringTransport, recording: Recording) -> None:
    gathering.write(b"never said")
    gathering.abort()
    await asyncio.sleep(0)
    assert recording.sent == []
    assert recording.closed


async def test_a_large_amount_is_sent_at_once_so_that_the_transport_can_pause_writing(
    gathering: GatheringTransport, recording: Recording
) -> None:
    gathering.write(b"x" * 40_000)
    gathering.write(b"y" * 40_000)
    assert [len(sent) for sent in recording.sent] == [80_000]
    await asyncio.sleep(0)
    assert len(recording.sent) == 1


async def test_a_client_that_does_not_read_pauses_the_application() -> None:
    """An application that sends without end is paused at the limits of the server."""
    sent = 0
    piece = b"z" * 65_536

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while sent < 4096:
            sent += 1
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    server = HttpServer(endless)
    port = await server.start("127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert await reader.readexactly(15) == b"HTTP/1.1 200 OK"
    before = -1

    def at_rest() -> bool:
        nonlocal before
        before, last = sent, before
        return sent == last

    await until(at_rest, seconds=10, every=0.2)
    assert 0 < sent < 1024
    writer.transport.abort()
    await server.stop(1)
