"""A connection from the gateway: requests arrive one after the other, and each is answered before the next."""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import grpc
import httptools
import structlog
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.pipeline import UNREADABLE
from services.mesh.call.process_name import identities_of
from services.mesh.call.status import DETAILS_KEY, to_status
from services.mesh.transport.unary import answer, message
from services.mesh.transport.unary.context import Peer, UnaryContext
from services.mesh.transport.unary.metadata import Pairs, field_of
from services.mesh.transport.unary.request import Request

log = structlog.get_logger("unary")

# A longer header or trailer is not from the gateway, which accepts fewer bytes from its clients.
_HEADER_BYTES = 128 * 1024
_UNKNOWN_PEER = "unknown:"


class Served(NamedTuple):
    """A unary method: it decodes the request, answers it, and encodes the response."""

    decode: Any
    behaviour: Any
    encode: Any


class UnaryConnection(asyncio.Protocol):
    """Serves the calls that come on one connection.

    Args:
        methods: by path.
        max_message_bytes: the largest message received.
        opened: called when the connection is open; returns whether it may stay.
        closed: called when it is closed.
    """

    __slots__ = (
        "_bodiless_bytes",
        "_closed",
        "_context",
        "_leaving",
        "_max_message_bytes",
        "_methods",
        "_opened",
        "_parser",
        "_peer",
        "_request",
        "_task",
        "_transport",
    )

    def __init__(
        self,
        methods: Mapping[bytes, Served],
        max_message_bytes: int,
        opened: "Callable[[UnaryConnection], bool]",
        closed: "Callable[[UnaryConnection], None]",
    ) -> None:
        self._methods = methods
        self._max_message_bytes = max_message_bytes
        self._opened = opened
        self._closed = closed
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request(max_message_bytes)
        self._bodiless_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._context: UnaryContext | None = None
        self._leaving = False

    def leave(self) -> None:
        """Close the connection when the current call is answered; close it now if there is none."""
        self._leaving = True
        if self._task is None:
            self._transport.close()

    def abandon(self) -> None:
        """Close the connection at once, whatever call is in progress."""
        self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The connection is open."""
        self._transport = transport
        if not self._opened(self):
            transport.abort()
        connected: socket.socket = transport.get_extra_info("socket")
        # The gateway closes connections that it does not use, unless its machine is gone.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._peer = Peer(
            _address(transport.get_extra_info("peername")),
            [identity.encode() for identity in identities_of(transport)],
        )

    def data_received(self, data: bytes) -> None:
        """A part of a request has arrived."""
        size = self._request.size
        try:
            self._parser.feed_data(data)
            if self._task is None and self._request.size == size:
                self._bodiless_bytes += len(data)
                if self._bodiless_bytes > _HEADER_BYTES:
                    raise httptools.HttpParserError("a header without an end")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # The peer is not the gateway, or the two disagree where a request ends: what comes next would be misread.
            log.warning("not a request, closing", peer=self._peer.address, error=str(error))
            self._transport.abort()

    def pause_writing(self) -> None:
        """The gateway does not read, so nothing more is read from it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The gateway reads again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The gateway closes it when the call's client is gone or its time is over: the servicer is to stop."""
        if self._context is not None:
            self._context.lost = True
        self._closed(self)
        if self._task is not None:
            self._task.cancel()

    # Called by the parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._task is not None:
            raise httptools.HttpParserError("a request before the one before it is answered")
        self._request = Request(self._max_message_bytes)
        self._bodiless_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A part of its path."""
        self._request.add_path(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of its header."""
        self._request.add_field(name, value)

    def on_headers_complete(self) -> None:
        """Its header is complete."""
        self._request.whole_header = True

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._request.add_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._leaving = self._leaving or not self._parser.should_keep_alive()
        self._task = asyncio.get_running_loop().create_task(self._serve(self._request))

    async def _serve(self, request: Request) -> None:
        context = self._context = UnaryContext(request.fields, self._peer, self._begin)
        try:
            await self._answer(request, context)
        except grpc.aio.AbortError:
            self._fail(request, context)
        except errors.MeshError as error:
            self._refuse(context, error)
        except asyncio.CancelledError:
            # The client is gone, so nobody waits for a status.
            self._transport.abort()
            raise
        except Exception:
            self._lose(request, context)
        finally:
            self._task = self._context = None
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
        self._write(end if context.begun else self._head((), compressed=context.compress) + end)

    def _begin(self, initial: Pairs, compressed: bool) -> None:
        self._write(self._head(initial, compressed=compressed))

    def _head(self, initial: Pairs, *, compressed: bool) -> bytes:
        return answer.head(initial, compressed=compressed, last=self._leaving)

    def _fail(self, request: Request, context: UnaryContext) -> None:
        """End the call with the status that the context has, or with UNKNOWN."""
        code: grpc.StatusCode = context.code() or grpc.StatusCode.UNKNOWN
        try:
            self._end(context, code.value[0], context.details(), context.trailing_metadata())
        except ValueError:
            self._lose(request, context)

    def _lose(self, request: Request, context: UnaryContext) -> None:
        """Log the exception, and tell the caller no more than "internal error"."""
        log.exception("unexpected error", rpc=request.path.decode("latin-1"))
        self._refuse(context, errors.Internal("internal error"))

    def _refuse(self, context: UnaryContext, error: errors.MeshError) -> None:
        """End the call with a typed error."""
        self._end(context, error.code, error.message, ((DETAILS_KEY, to_status(error).SerializeToString()),))

    def _end(self, context: UnaryContext, code: int, text: str, trailing: Pairs) -> None:
        self._write(answer.failure(code, text, trailing, begun=context.begun, last=self._leaving))

    def _write(self, data: bytes) -> None:
        """Send `data`, unless the connection is closing: uvloop raises an error then."""
        if not self._transport.is_closing():
            self._transport.write(data)


def _address(name: Any) -> str:
    """An address as gRPC writes it; a connection that was lost as soon as it was made has none."""
    if not name:
        return _UNKNOWN_PEER
    host, port, *_ = name
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
