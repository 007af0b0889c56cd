"""HTTP/1.1 and HTTP/2 without a client library, for requests that no library would send."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import orjson

from tests.e2e.stack import Stack

Header = tuple[str, str]


@dataclass
class Answer:
    """An answer; `status` is 0 when there was none."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    ended: bool = False

    @property
    def reason(self) -> str:
        """The reason of the error; on OpenAI's paths its code, in capitals."""
        error: dict[str, Any] = orjson.loads(self.body)["error"]
        details = error.get("details", ())
        return str(details[0]["reason"] if details else error["code"].upper())


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an HTTP/1.1 answer with a content-length; status 0 when the connection ends without one."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body, ended=True)
    return Answer(ended=True)


def post(stack: Stack, path: str, length: int, *headers: Header) -> bytes:
    """The head of a POST over HTTP/1.1."""
    named = (("host", "mesh"), ("authorization", f"Bearer {stack.key}"), ("content-length", str(length)), *headers)
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named), "", ""]
    return "\r\n".join(lines).encode()


def framed(message: bytes, *, compressed: bool = False) -> bytes:
    """A message with the prefix that gRPC puts before it."""
    return struct.pack(">BI", compressed, len(message)) + message


def stop_reading(writer: asyncio.StreamWriter) -> None:
    """Stop reading on a connection."""
    assert isinstance(writer.transport, asyncio.Transport)
    writer.transport.pause_reading()


class Http2:
    """An HTTP/2 connection; `answers` are by stream, and `closed` is set when the other side has closed it."""

    def __init__(self, stack: Stack, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stack = stack
        self._reader = reader
        self.writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.answers: dict[int, Answer] = {}
        self.closed = asyncio.Event()
        self.changed = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: Stack, *, reads: bool = True) -> AsyncIterator[Self]:
        """A connection; with `reads=False` it never reads a byte."""
        reader, writer = await asyncio.open_connection("127.0.0.1", stack.port, limit=2**16)
        connection = cls(stack, reader, writer)
        connection.h2.initiate_connection()
        connection.flush()
        reading = asyncio.create_task(connection._read()) if reads else None
        if not reads:
            stop_reading(writer)
        try:
            yield connection
        finally:
            if reading is not None:
                reading.cancel()
            writer.transport.abort()

    def request(self, method: str, path: str, *headers: Header, end: bool = True) -> int:
        """Send the headers of a request; returns its stream."""
        stream = self.h2.get_next_available_stream_id()
        named = [(":method", method), (":scheme", "http"), (":authority", "mesh"), (":path", path)]
        self.h2.send_headers(stream, [*named, ("authorization", f"Bearer {self._stack.key}"), *headers], end_stream=end)
        self.answers[stream] = Answer()
        return stream

    def call(self, path: str, message: bytes, *, end: bool = True) -> int:
        """Begin a gRPC call with one message; returns its stream."""
        stream = self.request("POST", path, ("content-type", "application/grpc"), ("te", "trailers"), end=False)
        self.h2.send_data(stream, framed(message), end_stream=end)
        return stream

    async def upload(self, stream: int, body: bytes, *, end: bool = True) -> None:
        """Send a body as far as flow control allows, until it is sent or the other side ends the stream."""
        while body and self.answers[stream].reset is None and not self.closed.is_set():
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                async with self.changed:
                    await self.changed.wait()
                continue
            self.h2.send_data(stream, body[:room], end_stream=end and room == len(body))
            body = body[room:]
            self.flush()
            await self.writer.drain()

    def flush(self) -> None:
        """Write the pending frames."""
        self.writer.write(self.h2.data_to_send())

    async def ended(self, *streams: int) -> list[Answer]:
        """The answers of these streams, when each has ended or was reset."""

        def over() -> bool:
            return self.closed.is_set() or all(
                self.answers[stream].ended or self.answers[stream].reset is not None for stream in streams
            )

        async with self.changed:
            await self.changed.wait_for(over)
        return [self.answers[stream] for stream in streams]

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(65536):
                self._take(self.h2.receive_data(data))
                self.flush()
                async with self.changed:
                    self.changed.notify_all()
        except (ConnectionError, h2.exceptions.ProtocolError):
            # No more data comes; the code below wakes everyone who waits.
            pass
        finally:
            self.closed.set()
        async with self.changed:
            self.changed.notify_all()

    def _take(self, events: Sequence[h2.events.Event]) -> None:
        for event in events:
            answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                answer.headers.update(dict(event.headers))  # type: ignore[arg-type]
                answer.status = int(answer.headers[":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = int(event.error_code)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.closed.set()
