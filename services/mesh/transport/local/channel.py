"""The local channel: generated stubs call servicers in the same event loop, with gRPC's semantics and no socket."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from services.mesh.call.pipeline import Handler
from services.mesh.transport.limits import MESSAGE_BYTES
from services.mesh.transport.local.crossing import Crossing, as_on_a_socket, copying
from services.mesh.transport.local.deadlines import Deadlines
from services.mesh.transport.local.exchange import Exchange
from services.mesh.transport.local.methods import LocalStreamStream, LocalStreamUnary, LocalUnaryStream, LocalUnaryUnary
from services.mesh.transport.outcome import CANCELLED
from services.mesh.transport.outgoing import Outgoing

Req = TypeVar("Req")
Res = TypeVar("Res")


class LocalChannel(grpc.aio.Channel):
    """A `grpc.aio.Channel` to servicers of this process.

    A call is one task of the servicer in an empty context: deadline, cancellation both ways, metadata, status and
    backpressure hold as on a socket; messages are copied, never shared. Made inside the event loop it is used in.

    Args:
        handlers: by full method name; their functions are `async def` (or async generators) of (request or request
            iterator, context).
        capture: called at the start of each call in its caller's context; the result is the servicer's
            `context.carried`.
        outgoing: the timeout and metadata of each call.
        strict: also what only a socket does: messages travel as bytes, metadata is checked, limits hold.
        max_message_bytes: the largest message received, where strict.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        capture: Callable[[], object] | None = None,
        outgoing: Outgoing | None = None,
        strict: bool = False,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self.exchanges: set[Exchange] = set()
        self.capture = capture
        self.outgoing = outgoing
        self.strict = strict
        self._max_message_bytes = max_message_bytes
        self.closed = False
        self._handlers = handlers
        self._closing = asyncio.Event()

    @property
    def calls(self) -> int:
        """Calls that have not ended for both their caller and their servicer."""
        return len(self.exchanges)

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> LocalUnaryUnary[Req, Res]:
        """The method as a callable that starts calls with one request and one response."""
        behaviour, ask, respond = self._method(method, "unary_unary", request_serializer, response_deserializer)
        return LocalUnaryUnary(self, method, behaviour, ask, respond)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> LocalUnaryStream[Req, Res]:
        """The method as a callable that starts calls with one request and many responses."""
        behaviour, ask, respond = self._method(method, "unary_stream", request_serializer, response_deserializer)
        return LocalUnaryStream(self, method, behaviour, ask, respond)

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> LocalStreamUnary[Req, Res]:
        """The method as a callable that starts calls with many requests and one response."""
        behaviour, ask, respond = self._method(method, "stream_unary", request_serializer, response_deserializer)
        return LocalStreamUnary(self, method, behaviour, ask, respond)

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> LocalStreamStream[Req, Res]:
        """The method as a callable that starts calls with many requests and many responses."""
        behaviour, ask, respond = self._method(method, "stream_stream", request_serializer, response_deserializer)
        return LocalStreamStream(self, method, behaviour, ask, respond)

    def _method(
        self,
        method: str,
        kind: str,
        serialize: Callable[[Any], bytes] | None,
        parse: Callable[[bytes], Any] | None,
    ) -> tuple[Callable[[Any, Any], Any] | None, Crossing, Crossing]:
        handler = self._handlers.get(method)
        behaviour = getattr(handler, kind, None)
        if handler is None or behaviour is None:
            return None, copying(serialize, None), copying(None, parse)
        if self.strict:
            most = self._max_message_bytes
            ask = as_on_a_socket(serialize, handler.request_deserializer, "SERVER", most)
            return behaviour, ask, as_on_a_socket(handler.response_serializer, parse, "CLIENT", most)
        return behaviour, copying(serialize, handler.request_deserializer), copying(handler.response_serializer, parse)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """READY until closed."""
        return grpc.ChannelConnectivity.SHUTDOWN if self.closed else grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state differs from the one given."""
        if self.get_state() is last_observed_state:
            await self._closing.wait()

    async def channel_ready(self) -> None:
        """Return at once: there is nothing to connect."""

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, give those running `grace` seconds, cancel the rest, wait until their servicers ended."""
        self.closed = True
        self._closing.set()
        if grace:
            await self._quiet(grace)
        for exchange in list(self.exchanges):
            exchange.interrupt(CANCELLED)
        await self._quiet(None)
        self.deadlines.close()

    async def _quiet(self, seconds: float | None) -> None:
        me = asyncio.current_task()
        tasks = [task for exchange in self.exchanges if (task := exchange.serving) is not None and task is not me]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()
