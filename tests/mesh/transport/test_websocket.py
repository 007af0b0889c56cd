"""WebSockets of clients that send slowly, in crumbs, too much at the same time, or that never read."""

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from services.mesh.testing.waiting import until
from services.mesh.transport.http import HttpServer
from services.mesh.transport.websocket import (
    EXTENSION,
    MOST_FRAGMENTS,
    PING_FRAME,
    SMALL_BYTES,
    Inflow,
    Wire,
    text_frame,
)

MIB = 1024 * 1024
MOST = 8 * MIB
SECONDS = 0.5


class Application:
    """Answers each message with its length; takes messages only while `reading`."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.silence = 30.0
        self.alive = 0
        self.closed: list[int] = []
        self.stopped = asyncio.Event()
        self.flood = b""
        self.flooded = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        wire: Wire = scope["extensions"][EXTENSION]
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/small":
            await receive()
        wire.permit(MOST, SECONDS)
        wire.keep_alive(self.silence, self._alive)
        wire.stopping = self.stopped.set
        while True:
            await self.reading.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.closed.append(message["code"])
                return
            wire.taken(len(message["bytes"]))
            while self.flood:
                await wire.write(self.flood)
                self.flooded += 1
            await wire.write(text_frame(b"%d" % len(message["bytes"])))

    def _alive(self) -> None:
        self.alive += 1


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def server(application: Application) -> AsyncIterator[str]:
    server = HttpServer(application, websockets=True)
    yield f"ws://127.0.0.1:{await server.start('127.0.0.1')}"
    await server.stop(1)


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A connected client without pings of its own."""
    async with connect(url, ping_interval=None, close_timeout=0.2, compression=None, **options) as connection:
        yield connection


def frame(data: bytes, *, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    """A masked frame."""
    return Frame(opcode, data, fin).serialize(mask=True)


def send(connection: ClientConnection, data: bytes) -> None:
    """Send raw bytes."""
    connection.transport.write(data)


async def ended(connection: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the server closed."""
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await connection.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 70_000])
def test_a_frame_is_that_of_the_reference_implementation(size: int) -> None:
    text = os.urandom(size)
    assert text_frame(text) == Frame(Opcode.TEXT, text).serialize(mask=False)
    assert Frame(Opcode.PING, b"").serialize(mask=False) == PING_FRAME


@pytest.mark.parametrize("size", [1, SMALL_BYTES + 1, MOST])
async def test_messages_up_to_the_limit_arrive(server: str, size: int) -> None:
    async with client(server) as connection:
        await connection.send("x" * size)
        assert await connection.recv() == str(size)


async def test_a_message_over_the_limit_is_refused_with_both_sizes(server: str) -> None:
    async with client(server) as connection:
        send(connection, frame(b"x" * (MOST + 1))[:20])
        code, reason = await ended(connection)
    assert code == 1009
    assert str(MOST) in reason
    assert str(MOST + 1) in reason


async def test_only_small_messages_are_let_in_before_an_application_permits_more(server: str) -> None:
    async with client(f"{server}/small") as connection:
        await connection.send("x" * (SMALL_BYTES + 1))
        assert (await ended(connection))[0] == 1009


async def test_a_message_in_more_frames_than_permitted_is_refused(server: str) -> None:
    async with client(server) as connection:
        crumbs = frame(b"", opcode=Opcode.CONT, fin=False)
        send(connection, frame(b"", fin=False) + crumbs * (MOST_FRAGMENTS + 1))
        assert await ended(connection) == (1008, f"a message has more than {MOST_FRAGMENTS} frames")


async def test_a_message_in_as_many_frames_as_permitted_arrives(server: str) -> None:
    async with client(server) as connection:
        crumbs = frame(b"x", opcode=Opcode.CONT, fin=False)
        send(connection, frame(b"x", fin=False) + crumbs * (MOST_FRAGMENTS - 2) + frame(b"x", opcode=Opcode.CONT))
        assert await connection.recv() == str(MOST_FRAGMENTS)


async def test_a_message_that_arrives_too_slowly_is_refused(server: str) -> None:
    async with client(server) as connection:
        whole = frame(b"x" * 100)
        send(connection, whole[:10])
        assert await ended(connection) == (1008, f"a message took longer than {SECONDS:g} seconds")


async def test_a_message_that_waits_for_the_application_is_not_late(server: str, application: Application) -> None:
    application.reading.clear()
    application.silence = 1.0
    async with client(server) as connection:

        async def send_all() -> None:
            for _ in range(6):
                await connection.send("x" * MIB)

        sending = asyncio.create_task(send_all())
        # Longer than a message may take to arrive.
        await until_counted(application, 8)
        application.reading.set()
        assert [await connection.recv() for _ in range(6)] == [str(MIB)] * 6
        await sending


async def until_counted(application: Application, count: int) -> None:
    """Return once the application has been told `count` times that its client is there."""

    async def told() -> bool:
        return application.alive >= count

    await until(told)


async def test_a_message_of_compressed_bytes_is_refused(server: str) -> None:
    async with connect(server, ping_interval=None) as connection:
        assert connection.request is not None
        assert connection.response is not None
        # The extension was offered.
        assert "permessage-deflate" in connection.request.headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in connection.response.headers
        send(connection, bytes((0xC1, 0x80, 0, 0, 0, 0)))
        assert (await ended(connection))[0] == 1002


async def test_bytes_that_are_no_frames_end_the_connection(server: str) -> None:
    async with client(server) as connection:
        send(connection, b"\xff" * 100)
        assert (await ended(connection))[0] == 1002


async def test_a_client_that_answers_pings_is_alive(server: str, application: Application) -> None:
    application.silence = 0.5
    async with client(server) as connection:
        await until_counted(application, 20)
        await connection.send("still here")
        assert await connection.recv() == "10"


async def test_a_client_that_vanished_is_noticed(server: str, application: Application) -> None:
    application.silence = 0.5
    async with client(server) as connection:
        connection.transport.pause_reading()

        async def noticed() -> bool:
            return bool(application.closed)

        await until(noticed)
    assert application.closed == [1011]


async def test_pings_of_a_client_that_reads_nothing_fill_no_memory(server: str) -> None:
    host, port = server.removeprefix("ws://").split(":")
    raw = socket.socket()
    # It is set before the connection, so that the other side learns the small window.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    head = "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    writer.write(f"{head}sec-websocket-key: {'A' * 22}==\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    pings = frame(b"x" * 125, opcode=Opcode.PING) * 1000
    async with asyncio.timeout(30):
        for _ in range(200):
            writer.write(pings)
            await writer.drain()
        writer.write(frame(b"the end"))
        answered = 0
        while not (read := await reader.read(65536)).endswith(text_frame(b"7")):
            answered += len(read)
    # The pings have 25 MB, and so would the answers. Some are answered, as far as there is room.
    assert answered < 10_000_000
    writer.close()


async def test_an_application_is_told_that_its_server_stops(application: Application) -> None:
    server = HttpServer(application, websockets=True)
    async with client(f"ws://127.0.0.1:{await server.start('127.0.0.1')}") as connection:
        await connection.send("x")
        await connection.recv()
        stopping = asyncio.create_task(server.stop(5))
        await asyncio.wait_for(application.stopped.wait(), 5)
        await connection.close()
        await stopping


def test_the_first_large_message_is_always_let_in_and_others_as_far_as_there_is_room() -> None:
    inflow = Inflow(10 * MIB)
    assert inflow.change(0, 20 * MIB)
    assert not inflow.change(0, MIB)
    inflow.change(MIB, 0)
    # Small messages do not count.
    assert inflow.change(0, SMALL_BYTES)
    inflow.change(20 * MIB, 0)
    assert inflow.change(0, 9 * MIB)
    assert inflow.change(0, MIB)
    assert not inflow.change(0, MIB)


async def test_an_application_waits_for_a_client_that_reads_nothing(server: str, application: Application) -> None:
    application.flood = text_frame(b"x" * MIB)
    async with client(server, max_size=None) as connection:
        connection.transport.pause_reading()
        await connection.send("x")
        # As many as fit into the buffers of the system and of the transport.
        before = -1
        while application.flooded > before:
            before = application.flooded
            await asyncio.sleep(0.5)
        assert application.flooded < 20
        connection.transport.abort()


async def test_a_handshake_with_a_line_that_is_too_long_is_refused(server: str) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.get(
            server.replace("ws://", "http://"),
            params={"token": "a" * 19_000},
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
            },
        )
    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "HEADERS_TOO_LARGE"
