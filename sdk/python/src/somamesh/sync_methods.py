"""Makes the methods of `Client` from functions that build their calls."""

from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar, get_args

from somamesh.answers import Answer, Turn
from somamesh.calls import Call, Listing, Reader, Streaming
from somamesh.connection import Connection
from somamesh.methods import documented
from somamesh.response_streams import ResponseReader, in_background
from somamesh.responses import Response
from somamesh.streams import AnswerStream, ResponseStream, Stream
from somamesh.turns import whole

P = ParamSpec("P")
T = TypeVar("T")


def calling(build: Callable[P, Call[T]]) -> Callable[Concatenate[Connection, P], T]:
    """A method that makes a call."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.make(build(*args, **kwargs))

    return documented(method, build, get_args(build.__annotations__["return"])[0])


def answering(build: Callable[P, Streaming[Turn]]) -> Callable[Concatenate[Connection, P], Answer]:
    """A method that returns the whole answer of a turn."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        with self.begin(whole(build(*args, **kwargs))) as stream:
            return stream.answer()

    return documented(method, build, Answer)


def streaming(build: Callable[P, Streaming[Turn]]) -> Callable[Concatenate[Connection, P], AnswerStream]:
    """A method that streams the answer of a turn."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> AnswerStream:
        return self.begin(build(*args, **kwargs))

    return documented(method, build, AnswerStream)


def responding(build: Callable[P, Streaming[ResponseReader]]) -> Callable[Concatenate[Connection, P], Response]:
    """A method that returns a response: complete, or as it begins when it is made in the background."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        making = build(*args, **kwargs)
        with self.respond(making) as stream:
            return stream.begun() if in_background(making) else stream.response()

    return documented(method, build, Response)


def streaming_response(
    build: Callable[P, Streaming[ResponseReader]],
) -> Callable[Concatenate[Connection, P], ResponseStream]:
    """A method that streams a response."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> ResponseStream:
        return self.respond(build(*args, **kwargs))

    return documented(method, build, ResponseStream)


def listing(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Connection, P], Iterator[T]]:
    """A method that iterates over a list."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self.walk(build(*args, **kwargs))

    return documented(method, build, Iterator[get_args(build.__annotations__["return"])[0]])  # type: ignore[misc]


def following(build: Callable[P, Streaming[Reader[T]]]) -> Callable[Concatenate[Connection, P], Stream[T]]:
    """A method that iterates over a stream."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        return self.follow(build(*args, **kwargs))

    return documented(method, build, Stream)
