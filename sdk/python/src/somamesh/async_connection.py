"""A connection for asyncio, and what makes methods of calls."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

import grpc

from somamesh.answers import Answer, Turn
from somamesh.async_streams import AsyncAnswerStream, AsyncStream, task_is_cancelled
from somamesh.calls import Call, Listing, Reader, Streaming
from somamesh.channels import OPTIONS
from somamesh.failures import cut_off
from somamesh.methods import documented
from somamesh.outgoing import Attempts, Outgoing
from somamesh.retries import Retries
from somamesh.settings import endpoint
from somamesh.stubs import Stubs

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Reader[object])


class AsyncConnection:
    """`Connection` for asyncio; an async context manager, to be made where its event loop runs."""

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | None = None,
        max_retries: int = 4,
        ca_file: str | Path | None = None,
    ) -> None:
        where = endpoint(base_url, api_key, ca_file)
        self._channel = (
            grpc.aio.secure_channel(where.target, where.credentials(), OPTIONS)
            if where.secure
            else grpc.aio.insecure_channel(where.target, OPTIONS)
        )
        self._stubs = Stubs(self._channel)
        self._outgoing = Outgoing(where.api_key, timeout, Retries(max_retries))

    async def make(self, call: Call[T]) -> T:
        """Make a call, again if need be."""
        attempts = self._outgoing.attempts(call)
        method = call.method(self._stubs)
        while True:
            try:
                response = await method(call.request, timeout=attempts.remaining(), metadata=attempts.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(attempts.after(error))
            except asyncio.CancelledError:
                if task_is_cancelled():
                    raise
                raise cut_off(attempts.request_id) from None
            else:
                attempts.note("OK")
                return call.read(response)

    def begin(self, turning: Streaming[Turn]) -> AsyncAnswerStream:
        """Begin a turn."""
        call, turn, attempt = self._open(turning)
        return AsyncAnswerStream(call, turn, attempt)

    def follow(self, following: Streaming[Reader[T]]) -> AsyncStream[T]:
        """Begin a stream."""
        call, reader, attempt = self._open(following)
        return AsyncStream(call, reader, attempt)

    def _open(self, streaming: Streaming[R]) -> tuple[Any, R, Attempts]:
        attempt = self._outgoing.attempt(streaming)
        method = streaming.method(self._stubs)
        call = method(streaming.request, timeout=attempt.remaining(), metadata=attempt.metadata)
        return call, streaming.reader(attempt.request_id), attempt

    async def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        """The items of a list, page after page."""
        token = ""
        while True:
            page = await self.make(listing.page(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return

    async def close(self) -> None:
        """Close the connection; calls under way end."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def calling(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, T]]:
    """A method that makes a call."""

    async def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.make(build(*args, **kwargs))

    return documented(method, build, get_args(build.__annotations__["return"])[0])


def answering(
    build: Callable[P, Streaming[Turn]],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, Answer]]:
    """A method that returns the whole answer of a turn."""

    async def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        async with self.begin(build(*args, **kwargs)) as stream:
            return await stream.answer()

    return documented(method, build, Answer)


def streaming(build: Callable[P, Streaming[Turn]]) -> Callable[Concatenate[AsyncConnection, P], AsyncAnswerStream]:
    """A method that returns the answer of a turn while it is made."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncAnswerStream:
        return self.begin(build(*args, **kwargs))

    return documented(method, build, AsyncAnswerStream)


def listing(build: Callable[P, Listing[T]]) -> Callable[Concatenate[AsyncConnection, P], AsyncIterator[T]]:
    """A method that iterates over a list."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self.walk(build(*args, **kwargs))

    return documented(method, build, AsyncIterator[get_args(build.__annotations__["return"])[0]])  # type: ignore[misc]


def following(build: Callable[P, Streaming[Reader[T]]]) -> Callable[Concatenate[AsyncConnection, P], AsyncStream[T]]:
    """A method that iterates over a stream."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncStream[T]:
        return self.follow(build(*args, **kwargs))

    return documented(method, build, AsyncStream)
