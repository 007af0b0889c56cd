"""Streams of answers, responses and events, for asyncio."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from somamesh.answers import NOTHING, Answer, Event, Turn
from somamesh.calls import Reader
from somamesh.exceptions import APIError
from somamesh.failures import cut_off
from somamesh.outgoing import Attempts
from somamesh.response_streams import ResponseReader
from somamesh.responses import Response

T = TypeVar("T")


class _Reading(Generic[T]):
    """A call that is in progress, and the items of its stream. Dropping the object ends the call."""

    def __init__(self, call: Any, reader: Reader[T], attempt: Attempts) -> None:
        self._call = call
        self._items: AsyncIterator[T] | None = _read(call, reader, attempt)

    async def _next(self) -> T:
        if self._items is None:
            raise StopAsyncIteration
        return await anext(self._items)

    async def _read_rest(self) -> None:
        if self._items is not None:
            async for _ in self._items:
                continue

    def close(self) -> None:
        """End the stream."""
        self._call.cancel()
        self._items = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncStream(_Reading[T], AsyncIterator[T]):
    """Iterates over the items of a stream. Leaving its `async with` block, or dropping the object, ends the call.

    Raises:
        APIError: while iterating, when the stream fails or is cut off.
    """

    async def __anext__(self) -> T:
        return await self._next()


class AsyncTextStream(_Reading[Event], AsyncIterator[str]):
    """Iterates over the text of an answer. Leaving its `async with` block, or dropping the object, ends the call.

    Raises:
        APIError: while iterating, when the stream fails or is cut off.
    """

    async def __anext__(self) -> str:
        while not (text := (await self._next()).text):
            continue
        return text

    async def events(self) -> AsyncIterator[Event]:
        """Iterate over the rest of the stream by events, which have the thoughts of the model beside the text."""
        if self._items is not None:
            async for event in self._items:
                if event != NOTHING:
                    yield event


class AsyncAnswerStream(AsyncTextStream):
    """Iterates over the text of an answer."""

    def __init__(self, call: Any, turn: Turn, attempt: Attempts) -> None:
        super().__init__(call, turn, attempt)
        self._turn = turn

    async def answer(self) -> Answer:
        """Read the rest of the stream and return the whole answer."""
        await self._read_rest()
        return self._turn.answer()


class AsyncResponseStream(AsyncTextStream):
    """Iterates over the text of a response. Leaving the stream does not end a response made in the background."""

    def __init__(self, call: Any, making: ResponseReader, attempt: Attempts) -> None:
        super().__init__(call, making, attempt)
        self._making = making

    async def begun(self) -> Response:
        """Wait until the response has an id, and return it as it is then."""
        if not self._making.begun and self._items is not None:
            await anext(self._items, None)
        return self._making.latest()

    async def response(self) -> Response:
        """Read the rest of the stream and return the whole response."""
        await self._read_rest()
        return self._making.response()


async def _read(call: Any, reader: Reader[T], attempt: Attempts) -> AsyncIterator[T]:
    # This generator holds no reference to its stream object: when the caller drops that object, the call is cancelled.
    try:
        async for event in call:
            if (item := reader.take(event)) is not None:
                yield item
        reader.end()
        attempt.note("OK")
    except grpc.RpcError as error:
        raise attempt.failure(error) from error
    except APIError as failure:
        attempt.note(failure.reason)
        raise
    except asyncio.CancelledError:
        if task_is_cancelled():
            raise
        raise cut_off(attempt.request_id) from None
    finally:
        call.cancel()


def task_is_cancelled() -> bool:
    """Whether a `CancelledError` cancels the current task. If not, the call that the task waits for was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
