"""One WebSocket on ASGI: JSON in, JSON out, and a close with a code."""

from contextlib import suppress
from typing import Any

import orjson
from starlette.types import Receive, Send

# Close codes: RFC 6455, 7.4.1, and the registry of IANA.
POLICY, FAULT, LATER = 1008, 1011, 1013
_LONGEST_REASON = 120


class Connection:
    """`closed_with` is None until either side has closed."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.closed_with: int | None = None

    async def accept(self) -> None:
        """Accept the connection."""
        await self._receive()
        await self._send({"type": "websocket.accept"})

    async def refuse(self, status: int) -> None:
        """Answer the handshake with an HTTP status."""
        await self._receive()
        body = orjson.dumps({"error": {"message": "no such WebSocket", "type": "invalid_request_error"}})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
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

    async def close(self, code: int, reason: str) -> None:
        """Close, unless the client has closed."""
        if self.closed_with is None:
            self.closed_with = code
            short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            with suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": short})
