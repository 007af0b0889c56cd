"""The figure of idle streams fails if one of them ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from bench.idle import followed

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
STARTED = b'data: {"sequence":0,"started":{"after":"0-0"}}\n\n'
HEARTBEAT = b'data: {"sequence":1,"heartbeat":{}}\n\n'

Serve = Callable[[bytes, bytes, bool], "asyncio.Future[int]"]


@pytest.fixture
async def serve() -> AsyncIterator[tuple[Serve, asyncio.Event]]:
    """Serve the first text, and the second one when the event is set; then cut the stream if asked to."""
    servers: list[asyncio.Server] = []
    onward = asyncio.Event()

    async def start(first: bytes, second: bytes, cut: bool) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            await onward.wait()
            writer.write(second)
            if not cut:
                await reader.read()
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        port: int = servers[-1].sockets[0].getsockname()[1]
        return port

    yield lambda *how: asyncio.ensure_future(start(*how)), onward
    onward.set()
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_each_stream_starts_and_gets_heartbeats(serve: tuple[Serve, asyncio.Event]) -> None:
    start, onward = serve
    async with followed(await start(HEAD + STARTED, HEARTBEAT, False), "key", 5) as tails:
        assert [tail.started.is_set() for tail in tails] == [True] * 5
        assert not any(tail.alive.is_set() for tail in tails)
        onward.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*(tail.alive.wait() for tail in tails))


async def test_a_stream_that_is_cut_fails_the_figure(serve: tuple[Serve, asyncio.Event]) -> None:
    start, onward = serve
    with pytest.raises(RuntimeError, match="cut"):
        async with followed(await start(HEAD + STARTED, HEARTBEAT, True), "key", 5):
            onward.set()
            await asyncio.Event().wait()


async def test_a_stream_that_is_refused_fails_the_figure(serve: tuple[Serve, asyncio.Event]) -> None:
    start, _ = serve
    with pytest.raises(RuntimeError, match="503"):
        async with followed(await start(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"", False), "key", 1):
            pass
