"""What all channels of the mesh have in common: gRPC's four kinds of methods, and how each is called."""

from abc import abstractmethod
from collections.abc import AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import grpc

from services.mesh.call.carrier import Metadata

Kind: TypeAlias = Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"]
"""What a method takes and gives: one message, or a stream of them."""
Serialize: TypeAlias = Callable[[Any], bytes] | None
Parse: TypeAlias = Callable[[bytes], Any] | None
Requests: TypeAlias = AsyncIterable[Any] | Iterable[Any]


class Channel(grpc.aio.Channel):
    """A channel for generated stubs; a subclass says what a method of each kind is."""

    @abstractmethod
    def method(self, kind: Kind, path: str, serialize: Serialize, parse: Parse, registered: bool | None) -> Any:
        """The method at `path` as a callable that starts calls: a subclass of `OneRequest` or `ManyRequests`.

        Args:
            kind: of the method.
            path: its full name, `/package.Service/Method`.
            serialize: of requests; they are bytes without it.
            parse: of responses; they are bytes without it.
            registered: whether gRPC is to look the method up once rather than at each call.
        """

    def unary_unary(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Parse = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The method as a callable that starts calls with one request and one response."""
        return self.method("unary_unary", method, request_serializer, response_deserializer, _registered_method)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Parse = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The method as a callable that starts calls with one request and many responses."""
        return self.method("unary_stream", method, request_serializer, response_deserializer, _registered_method)

    def stream_unary(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Parse = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The method as a callable that starts calls with many requests and one response."""
        return self.method("stream_unary", method, request_serializer, response_deserializer, _registered_method)

    def stream_stream(
        self,
        method: str,
        request_serializer: Serialize = None,
        response_deserializer: Parse = None,
        _registered_method: bool | None = False,
    ) -> Any:
        """The method as a callable that starts calls with many requests and many responses."""
        return self.method("stream_stream", method, request_serializer, response_deserializer, _registered_method)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()


class OneRequest:
    """A method that takes one request, as grpc.aio calls it."""

    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """Start a call."""
        return self._start(request, timeout, metadata, credentials, wait_for_ready, compression)

    @abstractmethod
    def _start(self, request: Any, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        """The call; `options` are credentials, wait_for_ready and compression."""


class ManyRequests:
    """A method that takes a stream of requests, as grpc.aio calls it."""

    __slots__ = ()

    def __call__(
        self,
        request_iterator: Requests | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """Start a call; without an iterator its requests are written one by one."""
        return self._start(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)

    @abstractmethod
    def _start(self, requests: Requests | None, timeout: float | None, metadata: Metadata | None, *options: Any) -> Any:
        """The call; `options` are credentials, wait_for_ready and compression."""
