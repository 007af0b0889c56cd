"""One HTTP answer: the headers that every answer has, its status, and whether it has begun."""

import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence

from starlette.types import Send

from gateway.edge.error_response import ErrorResponse
from services.mesh.call.authenticator import Spent
from services.mesh.call.barrier import Barrier
from services.mesh.call.errors import MeshError

REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"

FailureEvent = Callable[[MeshError], bytes]


class Reply:
    """Sends one answer; `status` is 0 until it begins.

    The header `elapsed`, if there is one, has the milliseconds until then, and the headers `identity` the request's id.
    Everything but an error waits for `barrier` before it is sent.
    """

    __slots__ = (
        *("_elapsed", "_failure_event", "_identity", "_limits", "_send", "_started_at", "_streams_bytes"),
        *("barrier", "request_id", "status"),
    )

    def __init__(
        self, send: Send, request_id: bytes | None, elapsed: bytes, identity: Sequence[bytes] = (b"x-request-id",)
    ) -> None:
        self._send = send
        self._elapsed = elapsed
        self._identity = identity
        self._started_at = time.perf_counter()
        self._failure_event: FailureEvent | None = None
        self._limits: list[tuple[bytes, bytes]] = []
        self.barrier = Barrier()
        self._streams_bytes = False
        self.status = 0
        # The id of the gateway is kept, so that its access log, this process's log and the client name the same id.
        known = request_id is not None and REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id if known and request_id else b"req_" + uuid.uuid4().hex.encode()

    @property
    def seconds(self) -> float:
        """Seconds since the request arrived."""
        return time.perf_counter() - self._started_at

    def limited(self, spent: Spent) -> None:
        """Say in the headers of the answer what the caller has left of its rate limit."""
        self._limits = [(name.encode(), value.encode()) for name, value in spent.headers]

    async def json(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON answer."""
        await self.whole(status, JSON, body, headers)

    async def whole(
        self, status: int, content_type: bytes, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Send a whole answer of any type."""
        if self.barrier:
            await self.barrier.passed()
        await self._whole(status, content_type, body, headers)

    async def _whole(
        self, status: int, content_type: bytes, body: bytes, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        await self._begin(status, content_type, [(b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, failed: ErrorResponse, error: MeshError) -> None:
        """Send an error: as the answer, or if the answer has begun as its last event, without `[DONE]`.

        Bytes cannot have an event: they end without their last chunk, and the connection is closed.
        """
        if not self.status:
            await self._whole(failed.status, JSON, failed.body, failed.headers)
            return
        if self._streams_bytes:
            return
        await self._end(self._failure_event(error) if self._failure_event else b"data: " + failed.body + b"\n\n")

    async def begin_events(self, failure_event: FailureEvent | None = None) -> None:
        """Begin a stream of server-sent events; `failure_event` makes its last event if it fails."""
        if self.barrier:
            await self.barrier.passed()
        self._failure_event = failure_event
        await self._begin(200, EVENTS, [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])

    async def begin_bytes(self, content_type: bytes) -> None:
        """Begin a stream of bytes, such as a sound: `event` sends the next ones, `end` the last ones."""
        self._streams_bytes = True
        await self._begin(200, content_type, [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")])

    async def event(self, event: bytes) -> None:
        """Send an event; waits while the client reads more slowly than events come."""
        if self.barrier:
            await self.barrier.passed()
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def end(self, event: bytes) -> None:
        """Send the last event of a stream."""
        if self.barrier:
            await self.barrier.passed()
        await self._end(event)

    async def _end(self, event: bytes) -> None:
        await self._send({"type": "http.response.body", "body": event})

    async def _begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        named = [(b"content-type", content_type), *((name, self.request_id) for name in self._identity)]
        if self._elapsed:
            named.append((self._elapsed, b"%d" % (self.seconds * 1000)))
        named += [*self._limits, *headers]
        await self._send({"type": "http.response.start", "status": status, "headers": named})
