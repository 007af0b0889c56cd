"""One HTTP answer on its way out: the headers every answer has, its status, and whether it has begun."""

import re
import time
import uuid
from collections.abc import Callable, Iterable

from starlette.types import Send

from gateway.edge.failure import Failure
from services.mesh.call.errors import MeshError

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"

LastWords = Callable[[MeshError], bytes]


class Reply:
    """Sends one answer; `status` is 0 until it has begun, and the header `elapsed` says after how many milliseconds."""

    __slots__ = ("_elapsed", "_last_words", "_send", "_started_at", "request_id", "status")

    def __init__(self, send: Send, request_id: bytes | None, elapsed: bytes) -> None:
        self._send = send
        self._elapsed = elapsed
        self._started_at = time.perf_counter()
        self._last_words: LastWords | None = None
        self.status = 0
        # The gateway's id is kept, so that its access log, ours and the client's agree.
        known = request_id is not None and REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id if known and request_id else b"req_" + uuid.uuid4().hex.encode()

    @property
    def seconds(self) -> float:
        """Seconds since the request came in."""
        return time.perf_counter() - self._started_at

    async def json(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON answer."""
        await self._begin(status, JSON, [(b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, failed: Failure, error: MeshError) -> None:
        """Send an error: as the answer, or where one has begun as its last event, without `[DONE]`."""
        if not self.status:
            await self.json(failed.status, failed.body, failed.headers)
            return
        await self.end(self._last_words(error) if self._last_words else b"data: " + failed.body + b"\n\n")

    async def begin_events(self, last_words: LastWords | None = None) -> None:
        """Begin a stream of server-sent events; `last_words` is how it says that it failed, where it has a way."""
        self._last_words = last_words
        await self._begin(200, EVENTS, [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])

    async def event(self, event: bytes) -> None:
        """Send an event; waits while the client reads slower than it is sent to."""
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end(self, event: bytes) -> None:
        """Send a stream's last event."""
        await self._send({"type": "http.response.body", "body": event})

    async def _begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        named = [
            (b"content-type", content_type),
            (b"x-request-id", self.request_id),
            (self._elapsed, b"%d" % (self.seconds * 1000)),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": named})
