"""Streams of answers, responses and events."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from somamesh.answers import NOTHING, Answer, Event, Turn
from somamesh.calls import Reader
from somamesh.exceptions import APIError
from somamesh.outgoing import Attempts
from somamesh.response_streams import ResponseReader
from somamesh.responses import Response

T = TypeVar("T")


class _Reading(Generic[T]):
    """A call that is in progress, and the items of its stream. Dropping the object ends the call."""

    def __init__(self, call: Any, reader: Reader[T], attempt: Attempts) -> None:
        self._call = call
        self._items: Iterator[T] = _read(call, reader, attempt)

    def close(self) -> None:
        """End the stream."""
        self._call.cancel()
        self._items = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Stream(_Reading[T], Iterator[T]):
    """Iterates over the items of a stream. Leaving its `with` block, or dropping the object, ends the call.

    Raises:
        APIError: while iterating, when the stream fails or is cut off.
    """

    def __next__(self) -> T:
        return next(self._items)


class TextStream(_Reading[Event], Iterator[str]):
    """Iterates over the text of an answer. Leaving its `with` block, or dropping the object, ends the call.

    Raises:
        APIError: while iterating, when the stream fails or is cut off.
    """

    def __next__(self) -> str:
        while not (text := next(self._items).text):
            continue
        return text

    def events(self) -> Iterator[Event]:
        """Iterate over the rest of the stream by events, which have the thoughts of the model beside the text."""
        for event in self._items:
            if event != NOTHING:
                yield event


class AnswerStream(TextStream):
    """Iterates over the text of an answer."""

    def __init__(self, call: Any, turn: Turn, attempt: Attempts) -> None:
        super().__init__(call, turn, attempt)
        self._turn = turn

    def answer(self) -> Answer:
        """Read the rest of the stream and return the whole answer."""
        for _ in self._items:
            continue
        return self._turn.answer()


class ResponseStream(TextStream):
    """Iterates over the text of a response. Leaving the stream does not end a response made in the background."""

    def __init__(self, call: Any, making: ResponseReader, attempt: Attempts) -> None:
        super().__init__(call, making, attempt)
        self._making = making

    def begun(self) -> Response:
        """Wait until the response has an id, and return it as it is then."""
        if not self._making.begun:
            next(self._items, None)
        return self._making.latest()

    def response(self) -> Response:
        """Read the rest of the stream and return the whole response."""
        for _ in self._items:
            continue
        return self._making.response()


def _read(call: Any, reader: Reader[T], attempt: Attempts) -> Iterator[T]:
    # This generator holds no reference to its stream object: when the caller drops that object, the call is cancelled.
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
