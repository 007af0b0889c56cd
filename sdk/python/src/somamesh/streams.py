"""Streams that are read while they are made."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from somamesh.answers import Answer, Turn
from somamesh.calls import Reader
from somamesh.exceptions import APIError
from somamesh.outgoing import Attempts
from somamesh.response_making import Making
from somamesh.responses import Response

T = TypeVar("T")


class Stream(Iterator[T], Generic[T]):
    """Iterates over what comes. It ends early when its `with` block is left, or nobody holds it.

    Raises:
        APIError: while iterating, when it fails or is cut off.
    """

    def __init__(self, call: Any, reader: Reader[T], attempt: Attempts) -> None:
        self._call = call
        self._items: Iterator[T] = _read(call, reader, attempt)

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """End it."""
        self._call.cancel()
        self._items = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AnswerStream(Stream[str]):
    """Iterates over the text of an answer."""

    def __init__(self, call: Any, turn: Turn, attempt: Attempts) -> None:
        super().__init__(call, turn, attempt)
        self._turn = turn

    def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        for _ in self:
            continue
        return self._turn.answer()


class ResponseStream(Stream[str]):
    """Iterates over the text of a response; leaving one that is made in the background does not end it."""

    def __init__(self, call: Any, making: Making, attempt: Attempts) -> None:
        super().__init__(call, making, attempt)
        self._making = making

    def __next__(self) -> str:
        while not (text := super().__next__()):
            continue
        return text

    def begun(self) -> Response:
        """The response as it is when it has an id; waits until then."""
        if not self._making.begun:
            next(self._items, None)
        return self._making.latest()

    def response(self) -> Response:
        """The whole response; reads what has not been read."""
        for _ in self:
            continue
        return self._making.response()


def _read(call: Any, reader: Reader[T], attempt: Attempts) -> Iterator[T]:
    # Knows nothing of the stream it is read by, so that it is closed when that is let go.
    try:
        for event in call:
            if (item := reader.take(event)) is not None:
                yield item
        reader.end()
        attempt.note("OK")
    except grpc.RpcError as error:
        raise attempt.failure(error) from error
    except APIError as failure:
        attempt.note(failure.reason)
        raise
    finally:
        call.cancel()
