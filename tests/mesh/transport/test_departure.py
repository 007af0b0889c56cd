"""The disconnect of a client, as an application of the HTTP server notices it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.mesh.transport.departure import EXTENSION, Departure
from services.mesh.transport.http import HttpServer


class Watching:
    """An application that reads a request, watches for the disconnect of its client, and answers when told to."""

    def __init__(self) -> None:
        self.read = asyncio.Event()
        self.answer = asyncio.Event()
        self.left = asyncio.Event()
        self.departures: list[Departure] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        self.departures.append(scope["extensions"][EXTENSION])
        self.departures[-1].watch(self.left.set)
        self.read.set()
        await self.answer.wait()
        self.departures[-1].unwatch(self.left.set)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})


@asynccontextmanager
async def served(app: Watching) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    server = HttpServer(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start("127.0.0.1"))
    try:
        yield reader, writer
    finally:
        writer.close()
        app.answer.set()
        await server.stop()


def request(size: int) -> bytes:
    """A request with a body of `size` bytes."""
    return b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n%b" % (size, b"x" * size)


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
async def test_a_disconnect_is_noticed_while_a_request_is_answered(size: int) -> None:
    app = Watching()
    async with asyncio.timeout(15), served(app) as (_, writer):
        writer.write(request(size))
        await app.read.wait()
        assert not app.left.is_set()
        writer.close()
        await app.left.wait()


async def test_a_client_that_keeps_its_connection_has_not_left() -> None:
    app = Watching()
    app.answer.set()
    async with asyncio.timeout(15), served(app) as (reader, writer):
        for _ in range(3):
            writer.write(request(10))
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200")
        assert not app.left.is_set()


async def test_who_watches_a_client_that_has_left_is_told_at_once() -> None:
    told: list[str] = []
    departure = Departure()
    departure.watch(first := lambda: told.append("first"))
    departure.watch(lambda: told.append("second"))
    departure.unwatch(first)
    departure.happen()
    departure.watch(lambda: told.append("third"))
    departure.happen()
    assert told == ["second", "third"]
