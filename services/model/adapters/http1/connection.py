"""An HTTP/1.1 connection to a model's server (RFC 9112): one exchange at a time, with a streamed answer."""

import asyncio
import zlib
from typing import Any

import httptools

from services.mesh.wakeup import Wakeup

# Unread bytes of an answer before reading from the server pauses.
_FULL = 256 * 1024
_LARGEST_HEAD = 64 * 1024
# Detects gzip or zlib from the first bytes.
_ANY_FORMAT = 32 + zlib.MAX_WBITS


class Broken(Exception):
    """The connection ended before the answer; `untouched` is true when no byte of the answer had arrived."""

    def __init__(self, untouched: bool) -> None:
        super().__init__("the connection ended before the answer")
        self.untouched = untouched


class NotHttp(Exception):
    """The server's answer is not HTTP."""


class Connection(asyncio.Protocol):
    """An open connection. `send` begins an exchange, which is over when `read` returns nothing.

    Args:
        inflates: whether a compressed body is decompressed. A server that is not trusted could send a few bytes that
            become gigabytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, inflates: bool = True) -> None:
        self._inflates = inflates
        self._transport: Any = None
        self._wakeup = Wakeup(loop)
        self._closed = False
        self._complete = True
        self._reusable = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self._touched = False
        self._until_closed = False
        self._inflate: Any = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._error: Exception | None = None
        self._parser: Any = None

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: the answer was complete, and neither side has closed."""
        return self._reusable and not self._closed

    def send(self, *request: bytes) -> None:
        """Begin an exchange. The request may be in pieces, so that a large body is not copied behind its head."""
        self._begin()
        self._complete = self._reusable = False
        self._parser = httptools.HttpResponseParser(self)
        if self._closed:
            self._fail(Broken(untouched=True))
        else:
            self._transport.writelines(request)

    async def answered(self, seconds: float) -> None:
        """Return when the head of the answer has arrived.

        Raises:
            Broken, NotHttp: the answer has no valid head.
            TimeoutError: the head did not arrive within `seconds`.
        """
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait(seconds)

    async def read(self, seconds: float) -> bytes:
        """The unread bytes of the body, or the next ones; empty at its end.

        Raises:
            Broken, NotHttp: the body broke off.
            TimeoutError: no bytes arrived within `seconds`.
        """
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            await self._wait(seconds)
        chunks, self._chunks, self._size = self._chunks, [], 0
        if self._paused and not self._closed:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, seconds: float) -> None:
        if not await self._wakeup.wait(seconds):
            raise TimeoutError

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._complete:
            self._error = error
            self._wakeup.wake()

    # Callbacks of asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._complete:
            # There is no request. These bytes could be taken for the answer to the next one, so the connection is
            # dropped.
            self._reusable = False
            self.abort()
            return
        self._touched = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, zlib.error, ValueError) as error:
            self._fail(NotHttp(str(error)))
            self.abort()
        if self._size > _FULL and not self._paused and not self._complete:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._until_closed and exc is None and self._error is None:
            self.on_message_complete()
        self._fail(Broken(untouched=not self._touched))
        self._wakeup.close()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """Begin an answer."""
        if self._complete:
            self._reusable = False
            raise ValueError("the server sent more answers than requests")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field of the answer."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _LARGEST_HEAD:
            raise ValueError("the head of the answer is too large")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take the head of the answer; skip the head of an interim answer."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        headers = self.headers
        self._until_closed = (
            "content-length" not in headers and "transfer-encoding" not in headers and status not in (204, 304)
        )
        if self._inflates and headers.get("content-encoding", "identity").lower() in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(_ANY_FORMAT)
        self.status = status
        self._wakeup.wake()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._inflate is not None:
            body = self._inflate.decompress(body)
        if body:
            self._chunks.append(body)
            self._size += len(body)
            self._wakeup.wake()

    def on_message_complete(self) -> None:
        """End the answer."""
        if not self.status:
            self.headers = {}
            return
        self._complete = True
        # The parser knows this only now, and forgets it with the next answer.
        self._reusable = not self._until_closed and bool(self._parser.should_keep_alive())
        self._wakeup.wake()
