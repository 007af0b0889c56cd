"""One connection of the gateway's: requests come on it one after the other, and each is answered before the next."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import grpc
import httptools
import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.pipeline import UNREADABLE
from services.mesh.call.status import DETAILS_KEY, to_status
from services.mesh.transport.tls.names import identities_of
from services.mesh.transport.unary import answer, message
from services.mesh.transport.unary.context import UnaryContext
from services.mesh.transport.unary.metadata import Pairs, field_of
from services.mesh.transport.unary.request import Request

log = structlog.get_logger("unary")

# A header or trailer that does not end is not the gateway's, which takes fewer bytes of its clients.
_HEADER_BYTES = 128 * 1024
_UNKNOWN_PEER = "unknown:"


class Served(NamedTuple):
    """A unary method: what decodes its request, what answers it, what encodes the response."""

    decode: Any
    behaviour: Any
    encode: Any


class Connections:
    """Those of a server that are open, until it stops."""

    def __init__(self) -> None:
        self._stopped = False
        self._open: set[Connection] = set()
        self._none = asyncio.Event()
        self._none.set()

    def opened(self, connection: "Connection") -> bool:
        """One more; whether it may stay."""
        self._open.add(connection)
        self._none.clear()
        return not self._stopped

    def closed(self, connection: "Connection") -> None:
        """One less."""
        self._open.discard(connection)
        if not self._open:
            self._none.set()

    async def leave(self, patience: float) -> None:
        """Have each close when its call is answered, those that take longer than `patience` seconds all the same."""
        self._stopped = True
        for connection in tuple(self._open):
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._none.wait()
        for connection in tuple(self._open):
            connection.abandon()


class Connection(asyncio.Protocol):
    """Serves the calls that come on one connection.

    Attributes:
        begun: whether the head of the answer of the current call is sent.
        lost: whether the connection is closed.
        peer: the other end, as gRPC names it.
        identities: SPIFFE ids of its certificate, none in plain text.
    """

    __slots__ = (
        "_bodiless_bytes",
        "_connections",
        "_leaving",
        "_max_message_bytes",
        "_methods",
        "_parser",
        "_request",
        "_task",
        "_transport",
        "begun",
        "identities",
        "lost",
        "peer",
    )

    def __init__(self, methods: Mapping[bytes, Served], max_message_bytes: int, connections: Connections) -> None:
        self._methods = methods
        self._max_message_bytes = max_message_bytes
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request(max_message_bytes)
        self._bodiless_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._leaving = False
        self.begun = False
        self.lost = False

    def leave(self) -> None:
        """Close when the current call is answered; now, without one."""
        self._leaving = True
        if self._task is None:
            self._transport.close()

    def abandon(self) -> None:
        """Close whatever is going on."""
        self._transport.abort()

    def begin(self, initial: Pairs, *, compressed: bool) -> None:
        """Send the head of the answer.

        Raises:
            ValueError: HTTP cannot carry the metadata.
        """
        self._write(self._head(initial, compressed=compressed))
        self.begun = True

    # What asyncio tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is there."""
        self._transport = transport
        if not self._connections.opened(self):
            transport.abort()
        connected: socket.socket = transport.get_extra_info("socket")
        # The gateway closes those it has no use for, unless its machine is gone.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.peer = _peer(transport.get_extra_info("peername"))
        self.identities = [identity.encode() for identity in identities_of(transport)]

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        size = self._request.size
        try:
            self._parser.feed_data(data)
            if self._task is None and self._request.size == size:
                self._bodiless_bytes += len(data)
                if self._bodiless_bytes > _HEADER_BYTES:
                    raise httptools.HttpParserError("a header without an end")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Not the gateway, or not in step with it: whatever came next would be read wrongly.
            log.warning("not a request, closing", peer=self.peer, error=str(error))
            self._transport.abort()

    def pause_writing(self) -> None:
        """The gateway does not read: no more is read of it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The gateway closes it when the call's client is gone or its time is over: whoever serves it is to stop."""
        self.lost = True
        self._connections.closed(self)
        if self._task is not None:
            self._task.cancel()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._task is not None:
            raise httptools.HttpParserError("a request before the one before it is answered")
        self._request = Request(self._max_message_bytes)
        self._bodiless_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Some of its path."""
        self._request.add_path(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of its header."""
        self._request.add_field(name, value)

    def on_headers_complete(self) -> None:
        """Its header."""
        self._request.whole_header = True

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        self._request.add_body(body)

    def on_message_complete(self) -> None:
        """All of it."""
        self._leaving = self._leaving or not self._parser.should_keep_alive()
        self._task = asyncio.get_running_loop().create_task(self._serve(self._request))

    async def _serve(self, request: Request) -> None:
        context = UnaryContext(self, request.fields)
        try:
            await self._answer(request, context)
        except grpc.aio.AbortError:
            self._fail(request, context)
        except errors.MeshError as error:
            self._refuse(error)
        except asyncio.CancelledError:
            # Nobody is left to ask, or to say how the call ended.
            self._transport.abort()
            raise
        except Exception:
            self._lose(request)
        finally:
            self.begun = False
            self._task = None
            if self._leaving:
                self._transport.close()
            context.end()

    async def _answer(self, request: Request, context: UnaryContext) -> None:
        method = self._methods.get(request.path)
        if method is None or self._parser.get_method() != b"POST":
            raise errors.Unimplemented("Method not found!", reason=reasons.UNKNOWN_METHOD)
        encoding = field_of(request.fields, b"grpc-encoding")
        content = await message.content_of(request.body, encoding, self._max_message_bytes)
        response = await method.behaviour(UNREADABLE if content is None else method.decode(content), context)
        if context.code() not in (None, grpc.StatusCode.OK):
            self._fail(request, context)
            return
        framed = await message.framed(method.encode(response), compress=context.compress)
        end = answer.end(framed, context.trailing_metadata(), context.details())
        self._write(end if self.begun else self._head((), compressed=context.compress) + end)

    def _head(self, initial: Pairs, *, compressed: bool) -> bytes:
        return answer.head(initial, compressed=compressed, last=self._leaving)

    def _fail(self, request: Request, context: UnaryContext) -> None:
        """As the context says, if it does."""
        code: grpc.StatusCode = context.code() or grpc.StatusCode.UNKNOWN
        try:
            self._end(code.value[0], context.details(), context.trailing_metadata())
        except ValueError:
            self._lose(request)

    def _lose(self, request: Request) -> None:
        """For a reason nobody outside has to know."""
        log.exception("unexpected error", rpc=request.path.decode("latin-1"))
        self._refuse(errors.Internal("internal error"))

    def _refuse(self, error: errors.MeshError) -> None:
        """With a typed error."""
        self._end(error.code, error.message, ((DETAILS_KEY, to_status(error).SerializeToString()),))

    def _end(self, code: int, text: str, trailing: Pairs) -> None:
        self._write(answer.failure(code, text, trailing, begun=self.begun, last=self._leaving))

    def _write(self, data: bytes) -> None:
        """Nothing, once there is nobody to read it: uvloop would make an error of that."""
        if not self._transport.is_closing():
            self._transport.write(data)


def _peer(name: Any) -> str:
    """An address as gRPC writes it; of a connection that is gone as soon as it was made there is none."""
    if not name:
        return _UNKNOWN_PEER
    host, port, *_ = name
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
