"""The methods of a local channel: grpc.aio's four multi-callables, each of which starts calls of one RPC."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import grpc

from services.mesh.transport.abandon import Style
from services.mesh.transport.boundary import NONE
from services.mesh.transport.local.calls import (
    LocalStreamStreamCall,
    LocalStreamUnaryCall,
    LocalUnaryStreamCall,
    LocalUnaryUnaryCall,
)
from services.mesh.transport.local.context import LocalContext, Requests, respond_all
from services.mesh.transport.local.crossing import Crossing, Oversize, legal
from services.mesh.transport.local.exchange import Exchange, Shared
from services.mesh.transport.local.pipe import Pipe
from services.mesh.transport.local.upload import upload
from services.mesh.transport.outcome import UNKNOWN_METHOD
from services.mesh.transport.outgoing import Metadata, Outgoing

Req = TypeVar("Req")
Res = TypeVar("Res")


class Origin(Shared, Protocol):
    """The channel, as its methods see it."""

    closed: bool
    capture: Callable[[], object] | None
    outgoing: Outgoing | None


class _Method:
    """One RPC: its servicer's function (None when nobody serves it) and how its messages cross.

    `boundary` says what its calls raise, from the next one on.
    """

    __slots__ = ("_ask", "_behaviour", "_channel", "_path", "_respond", "boundary")

    def __init__(
        self, channel: Origin, path: str, behaviour: Callable[[Any, Any], Any] | None, ask: Crossing, respond: Crossing
    ) -> None:
        self._channel = channel
        self._path = path
        self._behaviour = behaviour
        self._ask = ask
        self._respond = respond
        self.boundary = NONE

    def _open(self, timeout: float | None, metadata: Metadata | None) -> Exchange:
        channel = self._channel
        if channel.closed:
            raise grpc.aio.UsageError("Channel is closed.")
        outgoing, capture = channel.outgoing, channel.capture
        if outgoing is not None:
            timeout, metadata = outgoing.timeout(timeout), outgoing.metadata(metadata)
        pairs = tuple(metadata) if metadata else ()
        if channel.strict:
            pairs = legal(pairs)
        carried = capture() if capture else None
        exchange = Exchange(channel, self._path, pairs, carried, self._respond, self.boundary)
        if self._behaviour is None:
            exchange.outcome = UNKNOWN_METHOD
        elif timeout is not None:
            exchange.expire_in(timeout)
        return exchange

    def _run(self, exchange: Exchange, asked: Any) -> Any:
        assert self._behaviour is not None, "a method nobody serves has an outcome before it runs"
        return self._behaviour(asked, LocalContext(exchange))

    def _ask_once(self, exchange: Exchange, request: Any) -> Any:
        """The servicer's coroutine or generator for one request; None when the call is over before it."""
        if exchange.outcome is not None:
            return None
        try:
            return self._run(exchange, self._ask(request))
        except Oversize as oversize:
            exchange.interrupt(oversize.outcome())
            return None

    def _ask_all(self, exchange: Exchange, requests: AsyncIterable[Any] | Iterable[Any] | None) -> Any:
        """The servicer's coroutine or generator for a stream of requests; None when the call is over before it."""
        if exchange.outcome is not None:
            return None
        exchange.requests = Pipe(exchange.loop)
        if requests is not None:
            exchange.upload = exchange.loop.create_task(upload(exchange, self._ask, requests))
        return self._run(exchange, Requests(exchange))


class LocalUnaryUnary(_Method, grpc.aio.UnaryUnaryMultiCallable[Req, Res]):
    """Starts calls with one request and one response."""

    __slots__ = ()

    def __call__(
        self,
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryUnaryCall[Req, Res]:
        """Start a call; credentials, wait_for_ready and compression mean nothing inside a process."""
        exchange = self._open(timeout, metadata)
        answer = self._ask_once(exchange, request)
        if answer is not None:
            exchange.start(answer)
        return LocalUnaryUnaryCall(exchange)


class LocalUnaryStream(_Method, grpc.aio.UnaryStreamMultiCallable[Req, Res]):
    """Starts calls with one request and many responses."""

    __slots__ = ()

    def __call__(
        self,
        request: Req,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryStreamCall[Req, Res]:
        """Start a call; credentials, wait_for_ready and compression mean nothing inside a process."""
        exchange = self._open(timeout, metadata)
        exchange.responses = Pipe(exchange.loop)
        answers = self._ask_once(exchange, request)
        if answers is not None:
            exchange.start(respond_all(exchange, answers))
        return LocalUnaryStreamCall(exchange)


# What takes a stream of requests is generic in types-grpcio alone, not in grpcio 1.82.
class LocalStreamUnary(_Method, grpc.aio.StreamUnaryMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Starts calls with many requests and one response."""

    __slots__ = ()

    def __call__(
        self,
        request_iterator: AsyncIterable[Req] | Iterable[Req] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamUnaryCall[Req, Res]:
        """Start a call; credentials, wait_for_ready and compression mean nothing inside a process."""
        exchange = self._open(timeout, metadata)
        answer = self._ask_all(exchange, request_iterator)
        if answer is not None:
            exchange.start(answer)
        return LocalStreamUnaryCall(exchange, self._ask, writing(request_iterator))


class LocalStreamStream(_Method, grpc.aio.StreamStreamMultiCallable, Generic[Req, Res]):  # type: ignore[type-arg]
    """Starts calls with many requests and many responses."""

    __slots__ = ()

    def __call__(
        self,
        request_iterator: AsyncIterable[Req] | Iterable[Req] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamStreamCall[Req, Res]:
        """Start a call; credentials, wait_for_ready and compression mean nothing inside a process."""
        exchange = self._open(timeout, metadata)
        exchange.responses = Pipe(exchange.loop)
        answers = self._ask_all(exchange, request_iterator)
        if answers is not None:
            exchange.start(respond_all(exchange, answers))
        return LocalStreamStreamCall(exchange, self._ask, writing(request_iterator))


def writing(requests: object) -> Style:
    """How the requests of a call come: from an iterator given at its start, or by `write`."""
    return Style.CALLS if requests is None else Style.ITERATION
