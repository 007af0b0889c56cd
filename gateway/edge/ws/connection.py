"""One WebSocket on ASGI: messages in, messages out, and a close with a code."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson
from starlette.types import Receive, Send

from services.mesh.transport.websocket import Wire

_LONGEST_REASON = 120


class Connection:
    """`closed_with` is None until either side has closed, and `wire` is what the server has beside ASGI."""

    def __init__(self, receive: Receive, send: Send, wire: Wire) -> None:
        self._receive = receive
        self._send = send
        self.wire = wire
        self.closed_with: int | None = None

    async def accept(self) -> None:
        """Accept the connection."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

    async def refuse(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Answer the handshake with an HTTP status and JSON."""
        await self._receive()
        named = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": named})
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def next(self) -> str | bytes | None:
        """The next message; None when the client has left."""
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self.closed_with = message.get("code", 1006)
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message; waits while the client reads more slowly."""
        # If the client has left, `next` returns None.
        with suppress(OSError):
            await self._send({"type": "websocket.send", "text": orjson.dumps(message).decode()})

    async def write(self, frames: bytes) -> None:
        """Send frames; waits while the client reads more slowly."""
        # If the client has left, `next` returns None.
        with suppress(OSError):
            await self.wire.write(frames)

    async def close(self, code: int, reason: str) -> None:
        """Close, unless the client has closed."""
        if self.closed_with is None:
            self.closed_with = code
            short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            with suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": short})
