"""The methods of a local channel: grpc.aio's four multi-callables, each of which starts calls of one RPC.

Credentials, wait_for_ready and compression mean nothing inside a process.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import grpc

from services.mesh.call.boundary import NONE
from services.mesh.call.carrier import Carrier, Metadata
from services.mesh.call.pipeline import AtOnce
from services.mesh.transport.abandon import Style
from services.mesh.transport.channel import Kind, ManyRequests, OneRequest, Requests
from services.mesh.transport.local.calls import (
    LocalStreamStreamCall,
    LocalStreamUnaryCall,
    LocalUnaryStreamCall,
    LocalUnaryUnaryCall,
)
from services.mesh.transport.local.context import LocalContext, RequestIterator, respond_all
from services.mesh.transport.local.crossing import Crossing, Oversize, legal
from services.mesh.transport.local.exchange import Exchange, Shared
from services.mesh.transport.local.outcome import UNKNOWN_METHOD
from services.mesh.transport.local.pipe import Pipe
from services.mesh.transport.local.upload import upload


class Origin(Shared, Protocol):
    """The channel, as its methods see it."""

    closed: bool
    capture: Callable[[], object] | None
    outgoing: Carrier | None


class _Method:
    """One RPC: its servicer's function (None when nobody serves it) and how its messages cross.

    `boundary` says what its calls raise; to change it changes the next calls.
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

    def _ask_all(self, exchange: Exchange, requests: Requests | None) -> Any:
        """The servicer's coroutine or generator for a stream of requests; None when the call is over before it."""
        if exchange.outcome is not None:
            return None
        exchange.requests = Pipe(exchange.loop)
        if requests is not None:
            exchange.upload = exchange.loop.create_task(upload(exchange, self._ask, requests))
        return self._run(exchange, RequestIterator(exchange))


class LocalUnaryUnary(OneRequest, _Method, grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    """Starts calls with one request and one response."""

    __slots__ = ("_at_once",)

    def __init__(self, channel: Origin, path: str, behaviour: Any, ask: Crossing, respond: Crossing) -> None:
        super().__init__(channel, path, behaviour, ask, respond)
        self._at_once: AtOnce | None = getattr(behaviour, "at_once", None)

    def _start(self, request: Any, timeout: float | None, metadata: Metadata | None, *_: Any) -> Any:
        exchange = self._open(timeout, metadata)
        if self._at_once is not None and exchange.outcome is None:
            try:
                exchange.serve(self._at_once, self._ask(request), LocalContext(exchange))
            except Oversize as oversize:
                exchange.interrupt(oversize.outcome())
            return LocalUnaryUnaryCall(exchange)
        answer = self._ask_once(exchange, request)
        if answer is not None:
            exchange.start(answer)
        return LocalUnaryUnaryCall(exchange)


class LocalUnaryStream(OneRequest, _Method, grpc.aio.UnaryStreamMultiCallable[Any, Any]):
    """Starts calls with one request and many responses."""

    __slots__ = ()

    def _start(self, request: Any, timeout: float | None, metadata: Metadata | None, *_: Any) -> Any:
        exchange = self._open(timeout, metadata)
        exchange.responses = Pipe(exchange.loop)
        answers = self._ask_once(exchange, request)
        if answers is not None:
            exchange.start(respond_all(exchange, answers))
        return LocalUnaryStreamCall(exchange)


# What takes a stream of requests is generic in types-grpcio alone, not in grpcio 1.82.
class LocalStreamUnary(ManyRequests, _Method, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Starts calls with many requests and one response."""

    __slots__ = ()

    def _start(self, requests: Requests | None, timeout: float | None, metadata: Metadata | None, *_: Any) -> Any:
        exchange = self._open(timeout, metadata)
        answer = self._ask_all(exchange, requests)
        if answer is not None:
            exchange.start(answer)
        return LocalStreamUnaryCall(exchange, self._ask, writing(requests))


class LocalStreamStream(ManyRequests, _Method, grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Starts calls with many requests and many responses."""

    __slots__ = ()

    def _start(self, requests: Requests | None, timeout: float | None, metadata: Metadata | None, *_: Any) -> Any:
        exchange = self._open(timeout, metadata)
        exchange.responses = Pipe(exchange.loop)
        answers = self._ask_all(exchange, requests)
        if answers is not None:
            exchange.start(respond_all(exchange, answers))
        return LocalStreamStreamCall(exchange, self._ask, writing(requests))


METHODS: Mapping[Kind, type[_Method]] = {
    "unary_unary": LocalUnaryUnary,
    "unary_stream": LocalUnaryStream,
    "stream_unary": LocalStreamUnary,
    "stream_stream": LocalStreamStream,
}


def writing(requests: object) -> Style:
    """How a call gets its requests: from the iterator given at its start, or by `write`."""
    return Style.CALLS if requests is None else Style.ITERATION
