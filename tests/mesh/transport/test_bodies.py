"""What an application receives of the bodies of requests."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.mesh.testing.waiting import until
from services.mesh.transport.http import HttpServer

PIECE = 2 * 1024 * 1024
REFUSED = "/refused"


class Application:
    """Answers a request with the number of its bytes; `/refused` is answered before its body is read."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        body, more = b"", scope["path"] != REFUSED
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.bodies.append(b"left")
                return
            self.sizes.append(len(message["body"]))
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        said = str(len(body)).encode()
        headers = [(b"content-length", str(len(said)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": said, "more_body": False})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
async def port(application: Application) -> AsyncIterator[int]:
    server = HttpServer(application)
    yield await server.start("127.0.0.1")
    await server.stop(1)


def request(body: bytes, *fields: str, path: str = "/") -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


async def said(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    size = next(line for line in head.splitlines() if line.startswith(b"content-length: "))
    return await reader.readexactly(int(size.removeprefix(b"content-length: ")))


@pytest.mark.parametrize("size", [0, 1, 70_000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7])
async def test_a_body_arrives_whole_in_few_pieces(application: Application, port: int, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(request(body[:size]))
        assert await said(reader) == str(size).encode()
    assert application.bodies == [body[:size]] * 2
    assert len(application.sizes) <= 2 * (size // PIECE + 1)
    writer.close()


async def test_a_body_that_comes_slowly_is_waited_for(application: Application, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = request(b"slow" * 5)
    for at in range(0, len(sent), 7):
        writer.write(sent[at : at + 7])
        await asyncio.sleep(0.002)
    assert await said(reader) == b"20"
    assert application.sizes == [20]
    writer.close()


async def test_requests_behind_each_other_keep_their_bodies(application: Application, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bodies = [b"a" * 100_000, b"b" * (PIECE + 5), b"c"]
    writer.write(b"".join(map(request, bodies)))
    assert [await said(reader) for _ in bodies] == [str(len(body)).encode() for body in bodies]
    assert application.bodies == bodies
    writer.close()


async def test_a_client_that_leaves_before_the_end_of_its_body_is_noticed(application: Application, port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(b"x" * 100_000)[:-1])
    await writer.drain()
    writer.close()
    await until(lambda: application.bodies == [b"left"])


async def test_a_body_that_nobody_reads_does_not_reach_the_next_request(application: Application, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = request(b"x" * 100_000, path=REFUSED)
    writer.write(sent[:-50_000])
    assert await said(reader) == b"0"
    writer.write(sent[-50_000:] + request(b"next"))
    assert await said(reader) == b"4"
    assert application.bodies == [b"", b"next"]
    writer.close()


async def test_a_refused_upgrade_with_a_body_harms_nobody(application: Application, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(b"hello", "connection: upgrade", "upgrade: websocket"))
    await asyncio.wait_for(reader.read(100), 5)
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(b"next"))
    assert await said(reader) == b"4"
    writer.close()
