"""Streamed responses over WebSockets beside the same over HTTP, on 32 connections each, by the same client."""

import asyncio
import base64
import json
import os
import statistics
from abc import abstractmethod
from contextlib import AsyncExitStack
from typing import cast

from bench.environment import Environment
from bench.stack import Stack, cost, serve_ms
from bench.table import Row
from bench.upstream import answer

ROUNDS = 5
CONNECTIONS = 32
SECONDS = 4
PATIENCE_SECONDS = 30.0
TARGET = 1.1
MODEL = "instant"
ASKED = {"model": MODEL, "input": "Say a word, please.", "store": False}
# The last event has the whole answer.
LAST, EXPECTED = b'"type":"response.completed"', json.dumps(answer(MODEL)).encode()


class Connection(asyncio.Protocol):
    """Sends one request after the other as long as `going`; every answer must be whole and right."""

    def __init__(self) -> None:
        self.answers = 0
        self.going = False
        self.wrong: list[bytes] = []
        self.ready = asyncio.Event()
        self.idle = asyncio.Event()
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the connection."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection must last as long as the load."""
        self.wrong.append(b"the connection was lost")
        self.ready.set()
        self.idle.set()

    def start(self) -> None:
        """Send the first request."""
        self.going = True
        self.idle.clear()
        self.send()

    @abstractmethod
    def send(self) -> None:
        """Send a request."""

    def ended(self, last: bytes) -> None:
        """An answer has ended with this event; send the next request."""
        self.answers += 1
        if EXPECTED not in last or LAST not in last:
            self.wrong.append(bytes(last[:500]))
        if self.going and not self.wrong:
            self.send()
        else:
            self.idle.set()


class OverHttp(Connection):
    """A connection of HTTP/1.1 whose answers are server-sent events in chunks."""

    def __init__(self, key: str) -> None:
        super().__init__()
        body = json.dumps({**ASKED, "stream": True}).encode()
        head = f"POST /v1/responses HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the connection."""
        super().connection_made(transport)
        self.ready.set()

    def send(self) -> None:
        """Send a request."""
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Look for the end of the answer."""
        self._received += data
        if self._received.endswith(b"\r\n0\r\n\r\n"):
            last = bytes(self._received[self._received.rfind(b"event: ") :])
            self._received.clear()
            self.ended(last)


class OverWebSocket(Connection):
    """A WebSocket; RFC 6455, 5.2."""

    def __init__(self, key: str) -> None:
        super().__init__()
        nonce = base64.b64encode(os.urandom(16)).decode()
        head = f"GET /v1/responses HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\nupgrade: websocket\r\n"
        head += f"connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {nonce}\r\n\r\n"
        self._handshake = head.encode()
        text = json.dumps({"type": "response.create", **ASKED}).encode()
        # A text frame, masked with zeros.
        self._request = b"\x81\xfe" + len(text).to_bytes(2) + bytes(4) + text

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        super().connection_made(transport)
        self.transport.write(self._handshake)

    def send(self) -> None:
        """Send a message."""
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read whole frames, up to the last event of the answer."""
        received = self._received
        received += data
        if not self.ready.is_set():
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            if not received.startswith(b"HTTP/1.1 101 "):
                self.wrong.append(bytes(received[:500]))
            del received[: end + 4]
            self.ready.set()
        at = 0
        last = b""
        while len(received) >= at + 4:
            size = received[at + 1]
            begin = at + 2
            if size == 126:
                size, begin = int.from_bytes(received[at + 2 : at + 4]), at + 4
            if size == 127 or len(received) < begin + size:
                break
            at = begin + size
            if received.startswith((b'{"type":"response.completed"', b'{"type":"error"'), begin):
                last = bytes(received[begin:at])
        del received[:at]
        if last:
            self.ended(last)


async def measure(environment: Environment) -> list[Row]:
    """Load the stack over both in turn, and compare the medians of the rates."""
    stack = await environment.stack()
    ways: dict[str, type[OverHttp | OverWebSocket]] = {"HTTP": OverHttp, "WebSocket": OverWebSocket}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    serve: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(-1, ROUNDS):
        for way, kind in ways.items():
            before = stack.processor_seconds()
            answers, seconds = await _load(stack, kind)
            after = stack.processor_seconds()
            print(f"{way}: {answers / seconds:,.0f} responses/s, processor ms {cost(before, after, answers)}")
            # The first round warms up.
            if round_ >= 0:
                rates[way].append(answers / seconds)
                serve[way].append(serve_ms(before, after, answers))
    here, there = (statistics.median(rates[way]) for way in ("WebSocket", "HTTP"))
    ms, http_ms = (statistics.median(serve[way]) for way in ("WebSocket", "HTTP"))
    return [
        Row(
            f"streamed responses over WebSocket, {CONNECTIONS} connections",
            f"{here:,.0f} responses/s",
            f"{there:,.0f} responses/s over HTTP",
            f"{here / there:.2f}×",
            f"≥ {TARGET}×",
            here >= TARGET * there,
        ),
        Row(
            "processor time of serve, a streamed response over WebSocket",
            f"{ms:.2f} ms",
            f"{http_ms:.2f} ms over HTTP",
            f"{ms / http_ms:.2f}×",
            "≤ 1×",
            ms <= http_ms,
        ),
    ]


async def _load(stack: Stack, kind: type[OverHttp | OverWebSocket]) -> tuple[int, float]:
    """Load the stack on its connections; returns the number of answers and the seconds.

    Raises:
        RuntimeError: an answer was wrong, or a connection was lost.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack_of_connections, asyncio.timeout(SECONDS + PATIENCE_SECONDS):
        connections: list[Connection] = []
        for _ in range(CONNECTIONS):
            transport, connection = await loop.create_connection(lambda: kind(stack.key), "127.0.0.1", stack.port)
            stack_of_connections.callback(transport.close)
            connections.append(connection)
        for each in connections:
            await each.ready.wait()
        began = loop.time()
        for each in connections:
            each.start()
        await asyncio.sleep(SECONDS)
        seconds = loop.time() - began
        answers = sum(connection.answers for connection in connections)
        for each in connections:
            each.going = False
        for each in connections:
            await each.idle.wait()
        if wrong := [wrong for each in connections for wrong in each.wrong]:
            raise RuntimeError(f"{len(wrong)} answers were wrong: {wrong[0].decode(errors='replace')}")
        return answers, seconds
