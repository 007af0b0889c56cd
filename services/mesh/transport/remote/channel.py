"""A channel over a socket with the guarantees of the local one: what is let go of is cancelled, deadlines hold."""

from collections.abc import AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from services.mesh.transport.boundary import NONE
from services.mesh.transport.limits import MESSAGE_BYTES, channel_options
from services.mesh.transport.outgoing import Metadata, Outgoing
from services.mesh.transport.remote.calls import (
    RemoteStreamStreamCall,
    RemoteStreamUnaryCall,
    RemoteUnaryStreamCall,
    RemoteUnaryUnaryCall,
)

Req = TypeVar("Req")
Res = TypeVar("Res")


class _RemoteMethod(Generic[Req, Res]):
    """One RPC of a channel: grpc.aio's multi-callable, and what goes along with each call.

    `boundary` says what its calls raise, from the next one on.
    """

    __slots__ = ("_method", "_outgoing", "boundary")

    def __init__(self, method: Any, outgoing: Outgoing | None) -> None:
        self._method = method
        self._outgoing = outgoing
        self.boundary = NONE

    def _call(
        self,
        request: Any,
        timeout: float | None,
        metadata: Metadata | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
        compression: grpc.Compression | None,
    ) -> Any:
        if self._outgoing is not None:
            timeout, metadata = self._outgoing.timeout(timeout), self._outgoing.metadata(metadata)
        if timeout is not None and timeout <= 0:
            # At exactly 0 grpc.aio races the servicer against the deadline; below it, the servicer is not reached.
            timeout = -1.0
        return self._method(
            request,
            timeout=timeout,
            metadata=metadata,
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )


class RemoteUnaryUnary(_RemoteMethod[Req, Res], grpc.aio.UnaryUnaryMultiCallable[Req, Res]):
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
        """Start a call."""
        inner = self._call(request, timeout, metadata, credentials, wait_for_ready, compression)
        return RemoteUnaryUnaryCall(inner, self.boundary)


class RemoteUnaryStream(_RemoteMethod[Req, Res], grpc.aio.UnaryStreamMultiCallable[Req, Res]):
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
        """Start a call."""
        inner = self._call(request, timeout, metadata, credentials, wait_for_ready, compression)
        return RemoteUnaryStreamCall(inner, self.boundary)


# What takes a stream of requests is generic in types-grpcio alone, not in grpcio 1.82.
class RemoteStreamUnary(_RemoteMethod[Req, Res], grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
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
        """Start a call."""
        inner = self._call(None, timeout, metadata, credentials, wait_for_ready, compression)
        return RemoteStreamUnaryCall(inner, self.boundary, request_iterator)


class RemoteStreamStream(_RemoteMethod[Req, Res], grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
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
        """Start a call."""
        inner = self._call(None, timeout, metadata, credentials, wait_for_ready, compression)
        return RemoteStreamStreamCall(inner, self.boundary, request_iterator)


class RemoteChannel(grpc.aio.Channel):
    """A `grpc.aio.Channel` to another process; expensive to make, so made once per target and kept.

    Args:
        target: `dns:///host:port`, `ipv4:host:port`, `unix:/path` and the like.
        outgoing: the timeout and metadata of each call.
        credentials: TLS; plain text without.
        authority: the name the server must have in its certificate, if it is not the target's.
        max_message_bytes: the largest message received.
    """

    def __init__(
        self,
        target: str,
        *,
        outgoing: Outgoing | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        authority: str | None = None,
        max_message_bytes: int = MESSAGE_BYTES,
    ) -> None:
        options = channel_options(max_message_bytes)
        if authority is not None:
            options.append(("grpc.ssl_target_name_override", authority))
        self._outgoing = outgoing
        self._channel: Any = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> RemoteUnaryUnary[Req, Res]:
        """The method as a callable that starts calls with one request and one response."""
        inner = self._channel.unary_unary(method, request_serializer, response_deserializer, _registered_method)
        return RemoteUnaryUnary(inner, self._outgoing)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> RemoteUnaryStream[Req, Res]:
        """The method as a callable that starts calls with one request and many responses."""
        inner = self._channel.unary_stream(method, request_serializer, response_deserializer, _registered_method)
        return RemoteUnaryStream(inner, self._outgoing)

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> RemoteStreamUnary[Req, Res]:
        """The method as a callable that starts calls with many requests and one response."""
        inner = self._channel.stream_unary(method, request_serializer, response_deserializer, _registered_method)
        return RemoteStreamUnary(inner, self._outgoing)

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Req], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res] | None = None,
        _registered_method: bool | None = False,
    ) -> RemoteStreamStream[Req, Res]:
        """The method as a callable that starts calls with many requests and many responses."""
        inner = self._channel.stream_stream(method, request_serializer, response_deserializer, _registered_method)
        return RemoteStreamStream(inner, self._outgoing)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The connection's state."""
        state: grpc.ChannelConnectivity = self._channel.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state differs from the one given."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once connected."""
        await self._channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, give those running `grace` seconds and cancel the rest."""
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()
