"""A client that disconnects ends the work for it, and one that reads slowly slows it down."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from soma.orchestrator.v1.chat_service_pb2 import ChatResponse

from services.mesh.testing.waiting import until
from services.mesh.transport.departure import EXTENSION, Departure
from tests.fakes.chat import Step, delta, finished, started
from tests.gateway.edge.conftest import KEY, Stand

ASK: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
ATTEMPTS = 5


@asynccontextmanager
async def asking(stand: Stand, *, stream: bool) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a completion was requested."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(stand.url.rpartition(":")[2]), limit=1 << 26)
    body = json.dumps(ASK | {"stream": stream})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {KEY}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("script", "stream"),
    [
        ([started(), delta("Hel")], True),
        ([started()], True),
        ([started(), delta("Hel")], False),
        ([], True),
        ([], False),
    ],
)
async def test_a_client_that_disconnects_cancels_the_turn_within_100_ms_and_leaves_no_task(
    stand: Stand, script: list[Step], stream: bool
) -> None:
    clock = asyncio.get_running_loop().time
    seconds = []
    # An answer that is not streamed comes in one event, at its end.
    sent = len(script) if stream else 0
    before = len(asyncio.all_tasks())
    for _ in range(ATTEMPTS):
        stand.chat.reset([*script, asyncio.Event()])
        async with asking(stand, stream=stream) as (reader, _writer):
            if len(script) > 1 and stream:
                await reader.readuntil(b"data: ")
            await until(lambda: stand.chat.active == 1 and stand.chat.sent == sent)
            left = clock()
        async with asyncio.timeout(15):
            await stand.chat.ended.wait()
        seconds.append(clock() - left)
    assert min(seconds) < 0.1
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_client_that_disconnects_while_it_sends_its_request_reaches_no_service(stand: Stand) -> None:
    before = len(asyncio.all_tasks())
    _, writer = await asyncio.open_connection("127.0.0.1", int(stand.url.rpartition(":")[2]))
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer {KEY}\r\n".encode()
        + b'content-length: 1000\r\n\r\n{"model": "pl'
    )
    await until(lambda: len(asyncio.all_tasks()) > before)
    writer.close()
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert not stand.chat.requests


async def test_many_turns_end_without_leaving_a_task(stand: Stand) -> None:
    before = len(asyncio.all_tasks())

    async def ask() -> bytes:
        async with asking(stand, stream=True) as (reader, _writer):
            return await reader.readuntil(b"[DONE]")

    answers = await asyncio.gather(*(ask() for _ in range(50)))
    assert all(b"world" in answer for answer in answers)
    await until(lambda: len(asyncio.all_tasks()) <= before and stand.chat.active == 0)


async def test_a_client_that_reads_slowly_slows_the_turn_down_and_loses_nothing(stand: Stand) -> None:
    pieces, piece = 8_000, "x" * 4096
    stand.chat.reset(long_turn(pieces, piece))
    async with asking(stand, stream=True) as (reader, writer):
        await reader.readuntil(b"data: ")
        # Nothing is read now: the socket's buffers fill, and the turn must stop.
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(settled(lambda: stand.chat.sent))
        assert stand.chat.sent < pieces / 2
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            answer = await reader.readuntil(b"[DONE]")
    assert answer.count(piece.encode()) == pieces


def long_turn(pieces: int, piece: str) -> Iterable[ChatResponse]:
    """A turn of many pieces, which are made one by one as they are read."""
    yield started()
    for _ in range(pieces):
        yield delta(piece)
    yield finished()


def settled(progress: Callable[[], int]) -> Callable[[], bool]:
    """Whether `progress` has been the same, and not 0, in 20 checks in a row."""
    seen: list[int] = []

    def look() -> bool:
        seen.append(progress())
        return len(seen) > 20 and seen[-1] > 0 and len(set(seen[-20:])) == 1

    return look


async def request_of(edge: Callable[..., Awaitable[None]], sent: list[MutableMapping[str, Any]]) -> None:
    """Request a stream from the application itself, without a server."""
    messages = [{"type": "http.request", "body": json.dumps(ASK | {"stream": True}).encode()}]
    silence = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if not messages:
            await silence.wait()
        return messages.pop()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": headers,
        "extensions": {EXTENSION: Departure()},
    }
    await edge(scope, receive, send)


@pytest.mark.parametrize("script", [[], [started(), delta("Hel")]])
async def test_a_server_that_stops_sends_its_clients_an_error(stand: Stand, script: list[Step]) -> None:
    stand.chat.reset([*script, asyncio.Event()])
    sent: list[MutableMapping[str, Any]] = []
    answering = asyncio.create_task(request_of(stand.edge, sent))
    await until(lambda: stand.chat.sent == len(script) and stand.chat.active == 1 and len(sent) == len(script))
    answering.cancel()
    await asyncio.wait([answering])
    assert sent[0]["status"] == (200 if script else 503)
    assert b'"code":"draining"' in sent[-1]["body"]
    assert not sent[-1].get("more_body")


async def test_a_turn_whose_client_disconnected_is_not_counted_as_answered(stand: Stand) -> None:
    stand.chat.reset([started(), delta("never read"), asyncio.Event()])
    before = requests_counted("499")
    async with asking(stand, stream=True) as (reader, _writer):
        await reader.readuntil(b"data: ")
    await until(lambda: requests_counted("499") == before + 1)


def requests_counted(status: str) -> float:
    labels = {"route": "/v1/chat/completions", "status": status}
    return REGISTRY.get_sample_value("soma_edge_requests_total", labels) or 0.0
