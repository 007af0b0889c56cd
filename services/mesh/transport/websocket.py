"""The WebSockets of an HTTP server, with limits that an application sets for each of them.

ASGI has a connection accept, receive, send and close. What it lacks is in an extension of the scope, a `Wire`: larger
messages, pings, frames that are written as they are, and the news that the server stops.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

EXTENSION = "soma.wire"
"""The key in `extensions` of ASGI's scope."""

# Close codes: RFC 6455, 7.4.1, and the registry of IANA.
POLICY, TOO_BIG, FAULT, RESTART, LATER = 1008, 1009, 1011, 1012, 1013

SMALL_BYTES: Final = 64 * 1024
"""The largest message of a client, unless the application permits larger ones."""
MOST_FRAGMENTS: Final = 4096
"""The most frames of one message. Each costs more memory than it may have bytes."""
MOST_BYTES: Final = 128 * 1024 * 1024
"""The most bytes of large messages that all clients of a server together send at the same time."""
MESSAGE_SECONDS: Final = 60.0
"""How long a message may take from its first byte to its last one, unless the application says otherwise."""

# So long a client may go on after it was told what it did wrong; then its connection is cut.
_LINGER_SECONDS = 5.0
# So many messages wait for the application before reading pauses.
_MOST_QUEUED = 4
_TEXT, _PING = 0x81, 0x89


_TOLD = (
    b'{"error":{"code":"HEADERS_TOO_LARGE","type":"invalid_request_error","param":null,'
    b'"message":"the path or a header of this WebSocket is too long: at most 8192 bytes in a line"}}'
)
_UNREADABLE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_TOLD), _TOLD)
)


def text_frame(text: bytes) -> bytes:
    """A message of the server as a frame: RFC 6455, 5.2."""
    size = len(text)
    if size < 126:
        return bytes((_TEXT, size)) + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2) + text
    return b"\x81\x7f" + size.to_bytes(8) + text


PINGS: Final = 10
"""Pings in the time after which a silent client counts as gone."""

PING_FRAME: Final = bytes((_PING, 0))
"""A ping without a payload. A client answers it, and nobody reads the answer."""


class Inflow:
    """The bytes of large messages that are on their way from the clients of one server, or wait for their application.

    The first large message is always let in.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._bytes = 0

    def change(self, before: int, now: int) -> bool:
        """A connection has `now` bytes in place of `before`; returns whether they are permitted."""
        before, now = (size if size > SMALL_BYTES else 0 for size in (before, now))
        self._bytes += now - before
        return now <= before or self._bytes <= self._most or self._bytes == now


class Wire:
    """What an application may do with its connection beside ASGI; it is of use once the connection is accepted."""

    __slots__ = ("_socket", "stopping")

    def __init__(self, socket: "WebSocket") -> None:
        self._socket = socket
        self.stopping: Callable[[], None] | None = None
        """Called when the server stops. Without it, the connection is closed then; with it, the application does so."""

    def permit(self, most_bytes: int, seconds: float) -> None:
        """Let messages have up to `most_bytes`, and take up to `seconds` to arrive.

        Texts then come as bytes, and `taken` has to be told of each message.
        """
        self._socket.permit(most_bytes, seconds)

    def taken(self, size: int) -> None:
        """A message of this size does not wait any more."""
        self._socket.taken(size)

    def keep_alive(self, silence: float, alive: Callable[[], None]) -> None:
        """Ping the client, call `alive` as long as it answers, and end after `silence` seconds without a sign of it."""
        self._socket.keep_alive(silence, alive)

    async def write(self, frames: bytes) -> None:
        """Write whole frames; waits while the client reads more slowly.

        Raises:
            ConnectionError: the connection is closed.
        """
        await self._socket.write(frames)


class WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol, made safe against clients that send slowly, in crumbs, too much, or never read."""

    inflow: Inflow

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._raw = False
        self._seconds = MESSAGE_SECONDS
        self._fragments = 0
        self._waiting = 0
        self._incoming = 0
        self._counted = 0
        self._heard = self.loop.time()
        self._silence = 0.0
        self._alive: Callable[[], None] = _nothing
        self._failed = False
        self._beat: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._wire = Wire(self)

    def permit(self, most_bytes: int, seconds: float) -> None:
        """Let messages have up to `most_bytes`, and take up to `seconds` to arrive."""
        self.conn.max_message_size = most_bytes
        self._seconds = seconds
        self._raw = True

    def taken(self, size: int) -> None:
        """A message does not wait any more."""
        self._waiting -= size
        self._count()

    def keep_alive(self, silence: float, alive: Callable[[], None]) -> None:
        """Ping the client from now on."""
        self._silence, self._alive = silence, alive
        self._beat = self.loop.call_later(silence / PINGS, self._ping)

    async def write(self, frames: bytes) -> None:
        """Write whole frames."""
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ConnectionResetError("the WebSocket is closed")
        self.transport.write(frames)

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self._wire

    def data_received(self, data: bytes) -> None:
        if self._failed:
            return
        self._heard = self.loop.time()
        most = self._incoming + len(data)
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()
            return
        self._incoming = len(self.conn.reader.buffer) + self._fragments
        if self._incoming < most and not self._fragments:
            # A frame is complete, and what is left belongs to the next one.
            self._forget_deadline()
        if self._incoming and self._deadline is None:
            self._deadline = self.loop.call_later(self._seconds, self._late)
        if not self._count():
            self._fail(LATER, "too many large messages at the same time")

    def handle_text(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else len(event.data)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else len(event.data)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        self._fragments = 0 if event.fin else self._fragments + len(event.data)
        if len(self.frames) == MOST_FRAGMENTS:
            self._fail(POLICY, f"a message has more than {MOST_FRAGMENTS} frames")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # The client does not read, so answers would only fill the memory.
            self.conn.data_to_send()

    def send_receive_event_to_app(self) -> None:
        if not self._raw:
            super().send_receive_event_to_app()
            return
        data = bytes(self.frames[0]) if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        self._waiting += len(data)
        self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if not self.read_paused and self.queue.qsize() >= _MOST_QUEUED:
            self.read_paused = True
            self.transport.pause_reading()

    def shutdown(self) -> None:
        if self._wire.stopping is not None and not self.close_sent:
            self._wire.stopping()
        else:
            super().shutdown()

    def handle_parser_exception(self) -> None:
        """Tell the client what it did wrong, and read what it still sends until it leaves.

        A connection that is closed with bytes unread is reset, and then the client may never see why.
        """
        told = self.conn.close_sent
        assert told is not None
        self._failed = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": told.code, "reason": told.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            # Over TLS a side cannot end alone.
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._forget_deadline()
        if self._beat is not None:
            self._beat.cancel()
        self.inflow.change(self._counted, 0)
        self._counted = 0

    def _refuse_handshake(self) -> None:
        """Answer a handshake that cannot be read, such as one with a line of over 8 KiB; no application sees it."""
        self._failed = True
        self.transport.write(_UNREADABLE)
        self.transport.close()

    def _count(self) -> bool:
        before, now = self._counted, self._incoming + self._waiting
        self._counted = now
        # Small messages are not counted, and nearly all are small.
        return (before <= SMALL_BYTES and now <= SMALL_BYTES) or self.inflow.change(before, now)

    def _late(self) -> None:
        self._deadline = None
        if self.read_paused:
            # The client cannot send the rest now.
            self._deadline = self.loop.call_later(self._seconds, self._late)
        else:
            self._fail(POLICY, f"a message took longer than {self._seconds:g} seconds")

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _ping(self) -> None:
        if self.close_sent or self.disconnected:
            return
        silent = self.loop.time() - self._heard
        # Nothing is heard from a client whose messages are not read.
        if silent > self._silence and not self.read_paused:
            self._fail(FAULT, f"no sign of the client for {self._silence:g} seconds")
            return
        self._alive()
        if self.writable.is_set():
            self.transport.write(PING_FRAME)
        self._beat = self.loop.call_later(self._silence / PINGS, self._ping)

    def _fail(self, code: int, reason: str) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(code, reason)
        self.handle_parser_exception()


def sockets_of_a_server() -> type[WebSocket]:
    """The protocol of the WebSockets of one server, which share a limit."""
    return type("ServedWebSocket", (WebSocket,), {"inflow": Inflow()})


def _nothing() -> None:
    """Nobody asked to be told."""
