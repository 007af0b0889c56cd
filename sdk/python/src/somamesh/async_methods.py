"""Makes the methods of `AsyncClient` from functions that build their calls."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, get_args

from somamesh.answers import Answer, Turn
from somamesh.async_connection import AsyncConnection
from somamesh.async_streams import AsyncAnswerStream, AsyncResponseStream, AsyncStream
from somamesh.calls import Call, Listing, Reader, Streaming
from somamesh.methods import documented
from somamesh.response_streams import ResponseReader, in_background
from somamesh.responses import Response
from somamesh.turns import whole

P = ParamSpec("P")
T = TypeVar("T")


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
        async with self.begin(whole(build(*args, **kwargs))) as stream:
            return await stream.answer()

    return documented(method, build, Answer)


def streaming(build: Callable[P, Streaming[Turn]]) -> Callable[Concatenate[AsyncConnection, P], AsyncAnswerStream]:
    """A method that streams the answer of a turn."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncAnswerStream:
        return self.begin(build(*args, **kwargs))

    return documented(method, build, AsyncAnswerStream)


def responding(
    build: Callable[P, Streaming[ResponseReader]],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, Response]]:
    """A method that returns a response: complete, or as it begins when it is made in the background."""

    async def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        making = build(*args, **kwargs)
        async with self.respond(making) as stream:
            return await (stream.begun() if in_background(making) else stream.response())

    return documented(method, build, Response)


def streaming_response(
    build: Callable[P, Streaming[ResponseReader]],
) -> Callable[Concatenate[AsyncConnection, P], AsyncResponseStream]:
    """A method that streams a response."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncResponseStream:
        return self.respond(build(*args, **kwargs))

    return documented(method, build, AsyncResponseStream)


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
