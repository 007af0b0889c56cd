"""Exchanges with a server that sends exactly the bytes of a test."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from services.mesh.testing.waiting import until
from services.model.adapters.http1.connection import Broken, Connection, NotHttp
from services.model.adapters.http1.connections import Connections, ConnectTimeout

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SECONDS = 30.0
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Answers each request with the next of `answers`, and repeats the last one; records the requests."""

    answers: list[bytes | Answer]
    port: int = 0
    connections: int = 0
    open: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        self.open -= 1
        writer.close()


@asynccontextmanager
async def asking(*answers: bytes | Answer) -> AsyncIterator[tuple[Server, Connections]]:
    """Run a server and the connections to it."""
    server = Server(list(answers))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    connections = Connections(f"http://127.0.0.1:{server.port}/v1/", {"X-Test": "yes"}, SECONDS)
    async with listening:
        yield server, connections
        connections.close()
        await until(lambda: _settled(server))


async def _settled(server: Server) -> bool:
    return server.open == 0


async def whole(connections: Connections, body: bytes = b"{}") -> tuple[int, bytes]:
    """Run one exchange to its end."""
    connection = await connections.ask("POST", "/chat", body, SECONDS)
    try:
        return connection.status, await rest(connection)
    finally:
        connections.give_back(connection)


async def rest(connection: Connection) -> bytes:
    """Read the rest of an answer."""
    found = b""
    while chunk := await connection.read(SECONDS):
        found += chunk
    return found


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""
    writer.close()


async def test_a_request_is_complete_and_its_connection_is_reused() -> None:
    async with asking(OK) as (server, connections):
        assert [await whole(connections, b"[1]") for _ in range(3)] == [(200, b"hello")] * 3
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /v1/chat HTTP/1.1",
        b"Host: 127.0.0.1:%d" % server.port,
        b"X-Test: yes",
        b"Content-Type: application/json",
        b"Accept: text/event-stream, application/json",
        b"Content-Length: 3",
    ]
    assert body == b"[1]"


async def test_the_query_of_a_base_url_is_sent_with_every_path() -> None:
    server = Server([OK])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    connections = Connections(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1?api=2", {}, SECONDS)
    async with listening:
        for path in ("/chat", "/models?limit=9"):
            connections.give_back(await connections.ask("GET", path, b"", SECONDS))
        connections.close()
        await until(lambda: _settled(server))
    assert [request.partition(b" HTTP")[0] for request in server.requests] == [
        b"GET /v1/chat?api=2",
        b"GET /v1/models?limit=9&api=2",
    ]


async def test_concurrent_exchanges_have_their_own_connections() -> None:
    async with asking(OK) as (server, connections):
        assert await asyncio.gather(*(whole(connections) for _ in range(8))) == [(200, b"hello")] * 8
    assert server.connections == 8


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK, b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
            % len(gzip.compress(b"hello", mtime=0))
            + gzip.compress(b"hello", mtime=0),
            b"hello",
        ),
    ],
    ids=["chunks", "interim", "empty", "gzip"],
)
async def test_every_form_of_an_answer_is_read_and_its_connection_kept(answer: bytes, expected: bytes) -> None:
    async with asking(answer) as (server, connections):
        assert [await whole(connections) for _ in range(2)] == [(200, expected)] * 2
    assert server.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def until_closed(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        writer.close()

    async with asking(until_closed, OK) as (server, connections):
        assert [await whole(connections) for _ in range(2)] == [(200, b"hello")] * 2
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", OK + OK, OK + b"something else"],
    ids=["close", "two answers", "garbage behind it"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    async with asking(answer) as (server, connections):
        assert [await whole(connections) for _ in range(2)] == [(200, b"hello")] * 2
    assert server.connections == 2


async def test_a_request_is_sent_again_when_its_kept_connection_had_been_closed() -> None:
    async with asking(OK, hang_up, OK) as (server, connections):
        assert [await whole(connections) for _ in range(2)] == [(200, b"hello")] * 2
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_request_on_a_new_connection_that_closes_is_not_repeated() -> None:
    async with asking(hang_up) as (server, connections):
        with pytest.raises(Broken):
            await whole(connections)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", NotHttp),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", NotHttp),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", NotHttp),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", NotHttp),
    ],
    ids=["no HTTP", "endless head", "no gzip", "no chunk"],
)
async def test_an_answer_that_is_not_http_is_reported(answer: bytes, error: type[Exception]) -> None:
    async with asking(answer) as (_, connections):
        with pytest.raises(error):
            await whole(connections)


async def test_an_answer_that_is_cut_off_is_read_as_far_as_it_came() -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
        writer.close()

    async with asking(cut) as (_, connections):
        connection = await connections.ask("POST", "/chat", b"", SECONDS)
        assert await connection.read(SECONDS) == b"hello"
        with pytest.raises(Broken):
            await connection.read(SECONDS)
        connections.give_back(connection)


async def test_a_timeout_ends_the_wait_before_and_within_an_answer() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")

    async def silently(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    async with asking(slowly, silently) as (server, connections):
        connection = await connections.ask("POST", "/chat", b"", SECONDS)
        assert await connection.read(SECONDS) == b"hello"
        with pytest.raises(TimeoutError):
            await connection.read(0.05)
        connections.give_back(connection)
        with pytest.raises(TimeoutError):
            await connections.ask("POST", "/chat", b"", 0.05)
        await until(lambda: _settled(server))


async def test_a_slow_reader_pauses_the_server() -> None:
    written = 0
    held = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with suppress(TimeoutError):
            while True:
                writer.write(b"x" * 65_536)
                async with asyncio.timeout(0.5):
                    await writer.drain()
                written += 65_536
        held.set()

    async with asking(endless) as (_, connections):
        connection = await connections.ask("POST", "/chat", b"", SECONDS)
        async with asyncio.timeout(10):
            await held.wait()
        assert written < 50_000_000
        assert len(await connection.read(SECONDS)) < 1_000_000
        connections.give_back(connection)


async def test_a_refused_connection_and_a_connect_timeout_are_different_errors() -> None:
    async with asking(OK) as (server, _):
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        await whole(Connections(f"http://127.0.0.1:{port}", {}, SECONDS))
    with pytest.raises(ConnectTimeout):
        await whole(Connections("http://127.0.0.1:9", {}, 0.0))


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "http://"])
async def test_a_url_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http or https URL"):
        Connections(url, {}, SECONDS)


async def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        Connections("http://127.0.0.1", {"Authorization": "Bearer a\r\nX-Other: b"}, SECONDS)
