"""A channel over a socket with the guarantees of the local one: abandoned streams are cancelled, deadlines hold."""

from collections.abc import Mapping
from typing import Any

import grpc

from services.mesh.call.boundary import NONE
from services.mesh.call.carrier import Carrier, Metadata
from services.mesh.transport.channel import Channel, Kind, ManyRequests, OneRequest, Parse, Requests, Serialize
from services.mesh.transport.limits import MESSAGE_BYTES, channel_options
from services.mesh.transport.remote.calls import (
    RemoteStreamStreamCall,
    RemoteStreamUnaryCall,
    RemoteUnaryStreamCall,
    RemoteUnaryUnaryCall,
)


class _RemoteMethod:
    """One RPC of a channel: grpc.aio's multi-callable, and what travels with each call.

    `boundary` says what its calls raise; to change it changes the next calls.
    """

    __slots__ = ("_method", "_outgoing", "boundary")

    def __init__(self, method: Any, outgoing: Carrier | None) -> None:
        self._method = method
        self._outgoing = outgoing
        self.boundary = NONE

    def _call(self, request: Any, timeout: float | None, metadata: Metadata | None, options: tuple[Any, ...]) -> Any:
        if self._outgoing is not None:
            timeout, metadata = self._outgoing.timeout(timeout), self._outgoing.metadata(metadata)
        if timeout is not None and timeout <= 0:
            # At exactly 0, grpc.aio may still reach the servicer before the deadline; below 0 it never does.
            timeout = -1.0
        credentials, wait_for_ready, compression = options
        return self._method(
            request,
            timeout=timeout,
            metadata=metadata,
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )


class RemoteUnaryUnary(OneRequest, _RemoteMethod, grpc.aio.UnaryUnaryMultiCallable[Any, Any]):
    """Starts calls with one request and one response."""

    __slots__ = ()

    def _start(self, request: Any, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        return RemoteUnaryUnaryCall(self._call(request, timeout, metadata, options), self.boundary)


class RemoteUnaryStream(OneRequest, _RemoteMethod, grpc.aio.UnaryStreamMultiCallable[Any, Any]):
    """Starts calls with one request and many responses."""

    __slots__ = ()

    def _start(self, request: Any, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        return RemoteUnaryStreamCall(self._call(request, timeout, metadata, options), self.boundary)


# What takes a stream of requests is generic in types-grpcio alone, not in grpcio 1.82.
class RemoteStreamUnary(ManyRequests, _RemoteMethod, grpc.aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]
    """Starts calls with many requests and one response."""

    __slots__ = ()

    def _start(self, requests: Requests | None, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        return RemoteStreamUnaryCall(self._call(None, timeout, metadata, options), self.boundary, requests)


class RemoteStreamStream(ManyRequests, _RemoteMethod, grpc.aio.StreamStreamMultiCallable):  # type: ignore[type-arg]
    """Starts calls with many requests and many responses."""

    __slots__ = ()

    def _start(self, requests: Requests | None, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        return RemoteStreamStreamCall(self._call(None, timeout, metadata, options), self.boundary, requests)


METHODS: Mapping[Kind, type[_RemoteMethod]] = {
    "unary_unary": RemoteUnaryUnary,
    "unary_stream": RemoteUnaryStream,
    "stream_unary": RemoteStreamUnary,
    "stream_stream": RemoteStreamStream,
}


class RemoteChannel(Channel):
    """A `grpc.aio.Channel` to another process; it is expensive to make, so the router keeps one for each address.

    Args:
        target: `dns:///host:port`, `ipv4:host:port`, `unix:/path` and the like.
        outgoing: says the timeout and metadata of each call.
        credentials: for TLS; without them the channel is plain text.
        authority: the name that the server must have in its certificate, if that is not the target's.
        max_message_bytes: the largest message received.
    """

    def __init__(
        self,
        target: str,
        *,
        outgoing: Carrier | None = None,
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

    def method(self, kind: Kind, path: str, serialize: Serialize, parse: Parse, registered: bool | None) -> Any:
        """The method of grpc.aio's channel, whose calls have the guarantees of local ones."""
        return METHODS[kind](getattr(self._channel, kind)(path, serialize, parse, registered), self._outgoing)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        state: grpc.ChannelConnectivity = self._channel.get_state(try_to_connect)
        return state

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return once the state differs from the one given."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return once connected."""
        await self._channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, give running ones `grace` seconds, and cancel the rest."""
        await self._channel.close(grace)
