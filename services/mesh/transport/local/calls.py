"""The caller's half of a local call: grpc.aio's four call objects over one exchange."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, TypeVar
from weakref import ReferenceType, ref

import grpc

from services.mesh.transport.abandon import Responses, Style, on_loop, same_style
from services.mesh.transport.callbacks import Callbacks
from services.mesh.transport.local.crossing import Crossing
from services.mesh.transport.local.exchange import Exchange
from services.mesh.transport.local.outcome import CANCELLED, DROPPED
from services.mesh.transport.local.upload import send

Req = TypeVar("Req")
Res = TypeVar("Res")


class _Call:
    """The part that the four kinds of calls have in common."""

    __slots__ = ("_callbacks", "_exchange", "_reading", "_reads", "_send", "_writes")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._callbacks: Callbacks | None = None

    def cancelled(self) -> bool:
        """Whether the call ended with CANCELLED, by its caller or its servicer."""
        outcome = self._exchange.outcome
        return outcome is not None and outcome.code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        """Whether the call has ended and all its responses were read."""
        return self._exchange.outcome is not None

    def cancel(self) -> bool:
        """Cancel the servicer; False when the call had ended."""
        return self._exchange.interrupt(CANCELLED)

    def time_remaining(self) -> float | None:
        """Seconds left, None without a deadline."""
        return self._exchange.remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback(call)` called, from the event loop and in the present context, once the call has ended."""
        if self._exchange.outcome is not None:
            self._exchange.loop.call_soon(callback, self)
            return
        if self._callbacks is None:
            self._callbacks = Callbacks()
            self._exchange.caller = self._reference()
        self._callbacks.add(callback)

    def _reference(self) -> "Callable[[], _Call | None]":
        """How the exchange refers to this call: strongly, so that a call with callbacks stays alive to run them."""
        return lambda: self

    def ended(self) -> None:
        """Schedule the callbacks; called by the exchange."""
        if self._callbacks is not None:
            self._callbacks.schedule(self._exchange.loop, self)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """The initial metadata of the servicer; waits for it."""
        exchange = self._exchange
        while exchange.initial is None and exchange.outcome is None:
            await exchange.change()
        return grpc.aio.Metadata(*(exchange.initial or ()))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The trailing metadata of the servicer; waits for the end."""
        return grpc.aio.Metadata(*(await self._exchange.ended()).trailing)

    async def code(self) -> grpc.StatusCode:
        """The status code; waits for the end."""
        return (await self._exchange.ended()).code

    async def details(self) -> str:
        """The status message; waits for the end."""
        return (await self._exchange.ended()).details

    async def debug_error_string(self) -> str | None:
        """The status as gRPC's core words it; waits for the end."""
        return (await self._exchange.ended()).debug

    async def wait_for_connection(self) -> None:
        """A local channel is connected; raises when the call has already failed."""
        if self._exchange.outcome is not None:
            self._exchange.raise_for_outcome()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._exchange.method}: {self._exchange.outcome or 'in progress'}>"


class _OneResponse(_Call):
    """A call with one response, which is awaited."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Any]:
        exchange = self._exchange
        try:
            while exchange.outcome is None:
                yield from exchange.waiter()
        except asyncio.CancelledError:
            exchange.interrupt(CANCELLED)
            raise
        exchange.raise_for_outcome()
        return exchange.response


class _Abandonable(_Call):
    """A streaming call, which is cancelled when the caller's object of it is garbage-collected."""

    __slots__ = ()

    def __del__(self) -> None:
        if self._exchange.outcome is None:
            on_loop(self._exchange.loop, self._drop)

    def _reference(self) -> Callable[[], _Call | None]:
        return ref(self)

    def _drop(self) -> None:
        if self._exchange.interrupt(DROPPED):
            self.ended()


class _ManyResponses(_Abandonable):
    """A call with many responses, which are iterated or read one by one."""

    __slots__ = ()
    _reads: Style | None
    _reading: ReferenceType[Responses[Any]] | None

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._reads = None
        self._reading = None

    def __aiter__(self) -> Any:
        self._reads = same_style(self._reads, Style.ITERATION)
        reading = self._reading() if self._reading is not None else None
        if reading is None:
            reading = Responses(self._exchange.loop, self._receive, self._drop)
            self._reading = ref(reading)
        return reading

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`."""
        self._reads = same_style(self._reads, Style.CALLS)
        return await self._receive()

    async def _receive(self) -> Any:
        exchange = self._exchange
        responses = exchange.responses
        assert responses is not None
        if not responses.messages and exchange.outcome is None:
            try:
                await responses.readable()
            except asyncio.CancelledError:
                exchange.interrupt(CANCELLED)
                raise
        if responses.messages:
            return exchange.take()
        exchange.raise_for_outcome()
        return grpc.aio.EOF


class _ManyRequests(_Abandonable):
    """A call with many requests, which are written one by one unless an iterator was given."""

    __slots__ = ()
    _send: Crossing
    _writes: Style

    async def write(self, request: Any) -> None:
        """Send one request; waits while the servicer is behind."""
        same_style(self._writes, Style.CALLS)
        exchange = self._exchange
        if exchange.finished:
            raise asyncio.InvalidStateError("RPC already finished.")
        if exchange.half_closed:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        try:
            taken = await send(exchange, self._send, request)
        except asyncio.CancelledError:
            exchange.interrupt(CANCELLED)
            raise
        if not taken:
            if exchange.outcome is not None:
                exchange.raise_for_outcome()
            raise asyncio.InvalidStateError("RPC already finished.")

    async def done_writing(self) -> None:
        """Half-close: no further request comes."""
        same_style(self._writes, Style.CALLS)
        self._exchange.half_close()


class LocalUnaryUnaryCall(_OneResponse, grpc.aio.UnaryUnaryCall[Req, Res]):
    """One request, one response. The call runs to its end even if nobody awaits it."""

    __slots__ = ()


class LocalUnaryStreamCall(_ManyResponses, grpc.aio.UnaryStreamCall[Req, Res]):
    """One request, many responses."""

    __slots__ = ()


class LocalStreamUnaryCall(_ManyRequests, _OneResponse, grpc.aio.StreamUnaryCall[Req, Res]):
    """Many requests, one response."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, send: Crossing, writes: Style) -> None:
        super().__init__(exchange)
        self._send = send
        self._writes = writes


class LocalStreamStreamCall(_ManyRequests, _ManyResponses, grpc.aio.StreamStreamCall[Req, Res]):
    """Many requests, many responses."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, send: Crossing, writes: Style) -> None:
        super().__init__(exchange)
        self._send = send
        self._writes = writes
