"""The reader of streams counts only complete answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from bench import reader, upstream


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[type[asyncio.Protocol]], "asyncio.Future[int]"]]:
    """Serve a protocol on a free port during a test."""
    servers: list[asyncio.Server] = []

    async def start(protocol: type[asyncio.Protocol]) -> int:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield lambda protocol: asyncio.ensure_future(start(protocol))
    for server in servers:
        server.close()


class Forgetful(upstream.Connection):
    """An upstream that leaves a word out."""

    def _write(self, parts):  # type: ignore[no-untyped-def]
        super()._write(iter([part for part in parts if b"word-7 " not in part]))


async def test_complete_answers_are_counted_with_all_their_pieces(serve) -> None:  # type: ignore[no-untyped-def]
    reading = await reader.read(await serve(upstream.Connection), "none", 2, 0.0)
    assert (reading.answers, reading.wrong, reading.events) == (2, 0, 2 * 64)
    assert reading.rate > 0


async def test_an_answer_that_lost_a_word_is_wrong(serve) -> None:  # type: ignore[no-untyped-def]
    reading = await reader.read(await serve(Forgetful), "none", 2, 0.0)
    assert (reading.answers, reading.wrong) == (0, 2)
