"""A server that sends HTTP byte for byte, also when it is wrong, and the adapters that read from it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished

from services.mesh.call.errors import MeshError
from services.model.adapters.anthropic import Anthropic
from services.model.adapters.openai_compatible import OpenAICompatible
from services.model.adapters.upstream import Patience, Upstream
from services.model.provider import Provider
from tests.model import vendors

_PATIENCE = Patience(connect=30.0, first_byte=30.0, idle=30.0, whole=30.0)


@dataclass(frozen=True)
class Delivery:
    """How a body comes to the client.

    Attributes:
        framing: how its end is announced: by chunks, by its length, or by the end of the connection.
        sent: number of bytes that are sent, if not all.
        end: what comes after them: the announced end, the end of the connection, or its reset.
        announced: difference between the announced length and the true one.
        writes: where the body is split into writes.
    """

    framing: Literal["chunks", "length", "close"] = "chunks"
    sent: int | None = None
    end: Literal["clean", "closed", "reset"] = "clean"
    announced: int = 0
    writes: tuple[int, ...] = ()

    def carried(self, body: bytes) -> tuple[bytes, bool]:
        """What a client can read of a body, and whether the announced end came."""
        sent = body[: self.sent]
        if self.framing == "length":
            announced = max(0, len(body) + self.announced)
            return sent[:announced], len(sent) >= announced
        # A clean end after a part of the body is the server's own.
        return sent, self.end == "clean" or (self.framing == "close" and self.end == "closed")


@dataclass
class Heard:
    """What a caller got. `calls` are (name, arguments)."""

    text: str = ""
    refusal: str = ""
    thoughts: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    finished: GenerationFinished | None = None
    error: Exception | None = None


class RawServer:
    """Sends one body after another; `body` and `delivery` are those of the next answers."""

    def __init__(self) -> None:
        self.body = b""
        self.delivery = Delivery()
        self._connections: set[asyncio.Task[None]] = set()
        # Those whose last answer does not let the client use them again.
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port, and give the URL; at the end, wait until all clients have gone."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            server.close()
            await asyncio.gather(*self._connections)

    async def ended(self) -> None:
        """Return when clients have left the connections that they must not use again.

        Bytes that were sent after the announced end of an answer would otherwise be read as the answer to a next
        request, if they arrive only then.
        """
        if self._ending:
            await asyncio.wait(self._ending)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(self._ending.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while await self._request(reader):
                if not await self._answer(writer):
                    await _leave(reader, writer)
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        return True

    async def _answer(self, writer: asyncio.StreamWriter) -> bool:
        """Send the answer; returns whether the connection can be used again."""
        delivery, body = self.delivery, self.body
        reusable = delivery == Delivery(delivery.framing, writes=delivery.writes) and delivery.framing != "close"
        if not reusable and (task := asyncio.current_task()) is not None:
            self._ending.add(task)
        kind = b"application/json" if body[:1] in (b"{", b"[") else b"text/event-stream"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n" % kind
        chunked = delivery.framing == "chunks"
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n\r\n"
        elif delivery.framing == "length":
            head += b"Content-Length: %d\r\n\r\n" % max(0, len(body) + delivery.announced)
        else:
            head += b"Connection: close\r\n\r\n"
        sent = body[: delivery.sent]
        places = sorted({0, *(place for place in delivery.writes if place < len(sent)), len(sent)})
        writer.write(head)
        for start, end in pairwise(places):
            piece = sent[start:end]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if end < len(sent):
                # The client reads in the same loop.
                for _ in range(3):
                    await asyncio.sleep(0)
        if delivery.end == "clean" and chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if delivery.end == "reset":
            await _reset(writer)
        return reusable


async def _leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End a connection, and wait until the client has ended it too."""
    if not writer.is_closing():
        writer.write_eof()
        await reader.read()


async def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection, after the bytes before it were sent."""
    writer.transport.set_write_buffer_limits(0)
    await writer.drain()
    # With this option, close() sends a reset.
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(frozen=True)
class Exchange:
    """The server, and an adapter of each protocol that reads from it."""

    server: RawServer
    providers: dict[str, Provider]

    async def hear(self, protocol: str, body: bytes, delivery: Delivery, *, whole: bool) -> Heard:
        """What a caller of the protocol's adapter gets. It asks for the answer in one piece, or for a stream."""
        self.server.body, self.server.delivery = body, delivery
        request = GenerateRequest(messages=[Message(role=ROLE_USER, content="Hi")])
        request.options.whole = whole
        heard = Heard()
        pieces: dict[int, list[str]] = {}
        try:
            async for event in self.providers[protocol].generate(request, "m"):
                assert heard.finished is None, "an event after the last one"
                if isinstance(event, GenerationFinished):
                    heard.finished = event
                    continue
                if event.refusal:
                    heard.refusal += event.text
                else:
                    heard.text += event.text
                heard.thoughts += "".join(thought.text for thought in event.reasoning)
                for call in event.tool_calls:
                    again = call.index in pieces
                    assert again == (not call.name), "a call has its name in its first piece, and only there"
                    if call.name:
                        heard.call_ids.append(call.call_id)
                    pieces.setdefault(call.index, [call.name]).append(call.arguments)
        except MeshError as error:
            heard.error = error
        await self.server.ended()
        heard.calls = [(name, "".join(arguments)) for _, (name, *arguments) in sorted(pieces.items())]
        return heard


@asynccontextmanager
async def exchanging() -> AsyncIterator[Exchange]:
    """Run the server on a free port."""
    raw = RawServer()
    async with raw.serving() as url, AsyncExitStack() as stack:
        openai = await stack.enter_async_context(Upstream("lab", f"{url}/v1", {}, _PATIENCE))
        anthropic = await stack.enter_async_context(Upstream("lab", url, {}, _PATIENCE))
        providers: dict[str, Provider] = {
            "openai": OpenAICompatible(openai, vendors.COMPATIBLE),
            "anthropic": Anthropic(anthropic, vendors.ANTHROPIC),
        }
        yield Exchange(raw, providers)
