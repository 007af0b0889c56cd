"""The caller's half of a call over a socket; an abandoned stream is cancelled (`services.mesh.transport.abandon`)."""

import asyncio
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from typing import Any, TypeVar
from weakref import ReferenceType, ref

import grpc

from services.mesh.call.boundary import Boundary
from services.mesh.transport.abandon import Responses, Style, on_loop, same_style
from services.mesh.transport.callbacks import Callbacks

Req = TypeVar("Req")
Res = TypeVar("Res")


class Upload:
    """Sends the requests of a call, in a task of its own and in the caller's context.

    grpc.aio could iterate over them itself. But it would still wait for the next one after the call has ended, and an
    exception of the iterator would cancel the task that awaits the call.
    """

    __slots__ = ("fault",)

    def __init__(self, call: Any, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        self.fault: Exception | None = None
        task = asyncio.get_running_loop().create_task(self._send(call, requests))
        call.add_done_callback(lambda _: task.cancel())

    async def _send(self, call: Any, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await call.write(request)
            else:
                for request in requests:
                    await call.write(request)
            await call.done_writing()
        except asyncio.CancelledError:
            call.cancel()
            raise
        except Exception as error:
            # If `write` raised it, the call has ended, and its caller gets the outcome anyway.
            if not call.done():
                self.fault = error
                call.cancel()


class _RemoteCall:
    """Wraps a call of grpc.aio, and raises the errors that the boundary makes."""

    __slots__ = ("_boundary", "_call", "_callbacks", "_loop", "_reading", "_reads", "_upload")

    def __init__(self, call: Any, boundary: Boundary) -> None:
        self._call = call
        self._boundary = boundary
        self._loop = asyncio.get_running_loop()
        self._callbacks: Callbacks | None = None

    def cancelled(self) -> bool:
        """Whether the call ended with CANCELLED, by its caller or its servicer."""
        return bool(self._call.cancelled())

    def done(self) -> bool:
        """Whether the call has ended and all its responses were read."""
        return bool(self._call.done())

    def cancel(self) -> bool:
        """Cancel the servicer; False when the call had ended."""
        return bool(self._call.cancel())

    def time_remaining(self) -> float | None:
        """Seconds left, None without a deadline."""
        remaining: float | None = self._call.time_remaining()
        return remaining

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback(call)` called, from the event loop and in the present context, once the call has ended."""
        if self._call.done():
            self._loop.call_soon(callback, self)
            return
        if self._callbacks is None:
            self._callbacks = Callbacks()
            self._call.add_done_callback(self._notice())
        self._callbacks.add(callback)

    def _notice(self) -> Callable[[object], None]:
        """Called when the call has ended; it refers to this call, so that a call with callbacks stays alive."""
        return lambda _: self.ended()

    def ended(self) -> None:
        """Schedule the callbacks."""
        if self._callbacks is not None:
            self._callbacks.schedule(self._loop, self)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """The initial metadata of the servicer; waits for it."""
        metadata: grpc.aio.Metadata = await self._call.initial_metadata()
        return metadata

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """The trailing metadata of the servicer; waits for the end."""
        metadata: grpc.aio.Metadata = await self._call.trailing_metadata()
        return metadata

    async def code(self) -> grpc.StatusCode:
        """The status code; waits for the end."""
        code: grpc.StatusCode = await self._call.code()
        return code

    async def details(self) -> str:
        """The status message; waits for the end."""
        return str(await self._call.details())

    async def debug_error_string(self) -> str | None:
        """The status as gRPC's core words it; waits for the end."""
        text: str | None = await self._call.debug_error_string()
        return text

    async def wait_for_connection(self) -> None:
        """Wait until connected; raises when that fails."""
        with self._boundary:
            await self._call.wait_for_connection()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._call!r}>"


class _Abandonable(_RemoteCall):
    """A streaming call. grpc.aio's call does not refer to it, so it is cancelled when it is garbage-collected."""

    __slots__ = ()

    def __init__(
        self, call: Any, boundary: Boundary, requests: AsyncIterable[Any] | Iterable[Any] | None = None
    ) -> None:
        super().__init__(call, boundary)
        self._upload = None if requests is None else Upload(call, requests)

    def __del__(self) -> None:
        if not self._call.done():
            on_loop(self._loop, self._drop)

    def _drop(self) -> None:
        if self._call.cancel():
            self.ended()

    def _notice(self) -> Callable[[object], None]:
        return _Notice(self)

    def _fault(self) -> Exception | None:
        """The exception of the caller's iterator; None without one, or while the caller's own task is cancelled."""
        task = asyncio.current_task()
        if self._upload is None or (task is not None and task.cancelling()):
            return None
        return self._upload.fault


class _Notice:
    """Tells a call that it has ended, with a weak reference to it."""

    __slots__ = ("_call",)

    def __init__(self, call: _RemoteCall) -> None:
        self._call = ref(call)

    def __call__(self, _: object) -> None:
        call = self._call()
        if call is not None:
            call.ended()


class _ManyResponses(_Abandonable):
    """A call with many responses, which are iterated or read one by one."""

    __slots__ = ()
    _reads: Style | None
    _reading: ReferenceType[Responses[Any]] | None

    def __init__(
        self, call: Any, boundary: Boundary, requests: AsyncIterable[Any] | Iterable[Any] | None = None
    ) -> None:
        super().__init__(call, boundary, requests)
        self._reads = None
        self._reading = None

    def __aiter__(self) -> Any:
        self._reads = same_style(self._reads, Style.ITERATION)
        reading = self._reading() if self._reading is not None else None
        if reading is None:
            reading = Responses(self._loop, self._receive, self._drop)
            self._reading = ref(reading)
        return reading

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`."""
        self._reads = same_style(self._reads, Style.CALLS)
        return await self._receive()

    async def _receive(self) -> Any:
        try:
            with self._boundary:
                return await self._call.read()
        except asyncio.CancelledError:
            fault = self._fault()
            if fault is None:
                raise
            raise fault from None


class _ManyRequests(_Abandonable):
    """A call with many requests, which are written one by one unless an iterator was given."""

    __slots__ = ()

    async def write(self, request: Any) -> None:
        """Send one request; waits while the transport is behind."""
        self._check_style()
        with self._boundary:
            await self._call.write(request)

    async def done_writing(self) -> None:
        """Half-close: no further request comes."""
        self._check_style()
        with self._boundary:
            await self._call.done_writing()

    def _check_style(self) -> None:
        same_style(Style.CALLS if self._upload is None else Style.ITERATION, Style.CALLS)


class RemoteUnaryUnaryCall(_RemoteCall, grpc.aio.UnaryUnaryCall[Req, Res]):
    """One request, one response. The call runs to its end even if nobody awaits it."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Res]:
        with self._boundary:
            response: Res = yield from self._call.__await__()
        return response


class RemoteUnaryStreamCall(_ManyResponses, grpc.aio.UnaryStreamCall[Req, Res]):
    """One request, many responses."""

    __slots__ = ()


class RemoteStreamUnaryCall(_ManyRequests, grpc.aio.StreamUnaryCall[Req, Res]):
    """Many requests, one response."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Res]:
        try:
            with self._boundary:
                response: Res = yield from self._call.__await__()
        except asyncio.CancelledError:
            fault = self._fault()
            if fault is None:
                raise
            raise fault from None
        return response


class RemoteStreamStreamCall(_ManyRequests, _ManyResponses, grpc.aio.StreamStreamCall[Req, Res]):
    """Many requests, many responses."""

    __slots__ = ()
