"""Reads one HTTP request from a connection, and writes one answer; each connection carries one."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httptools
import orjson

_LARGEST_BODY = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Content Too Large"}


class TooLarge(ValueError):
    """The body is too large."""


@dataclass
class Request:
    """A request; `headers` have names in lower case."""

    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Parsed:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.request = Request()
        self.complete = False
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self.request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > _LARGEST_BODY:
            raise TooLarge

    def on_message_complete(self) -> None:
        self.request.body = bytes(self._body)
        self.complete = True


async def read(reader: asyncio.StreamReader) -> Request | None:
    """The request; None if the client left before it was complete.

    Raises:
        ValueError: it is no HTTP, or too large.
    """
    parsed = _Parsed()
    parser = httptools.HttpRequestParser(parsed)
    while not parsed.complete:
        data = await reader.read(_READ_BYTES)
        if not data:
            return None
        try:
            parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise TooLarge(f"the body has more than {_LARGEST_BODY} bytes") from error
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ValueError("it is not HTTP/1.1") from error
    parsed.request.method = parser.get_method().decode()
    return parsed.request


class Answer:
    """The answer on a connection: a document, or a stream of events. The connection is closed after it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.begun = False

    async def document(self, status: int, content: Any) -> None:
        """Send a JSON document."""
        self.begun = True
        body = orjson.dumps(content)
        self._writer.write(_head(status, "application/json", f"content-length: {len(body)}") + body)
        await self._writer.drain()

    async def event(self, content: Any) -> None:
        """Send an event of a stream: a JSON document, or text such as `[DONE]`."""
        data = content.encode() if isinstance(content, str) else orjson.dumps(content)
        await self._chunk(b"data: " + data + b"\n\n")

    async def alive(self) -> None:
        """Send a comment, which shows that the stream is alive."""
        await self._chunk(b": working\n\n")

    async def end(self) -> None:
        """Send the end of a stream."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def _chunk(self, data: bytes) -> None:
        head = b"" if self.begun else _head(200, "text/event-stream", "transfer-encoding: chunked")
        self.begun = True
        self._writer.write(b"%s%x\r\n%s\r\n" % (head, len(data), data))
        await self._writer.drain()


def _head(status: int, kind: str, length: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", f"content-type: {kind}", length, "connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
