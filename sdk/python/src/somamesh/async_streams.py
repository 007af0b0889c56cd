"""Streams that are read while they are made, with asyncio."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc

from somamesh.answers import Answer, Turn
from somamesh.calls import Reader
from somamesh.exceptions import APIError
from somamesh.failures import cut_off
from somamesh.outgoing import Attempts
from somamesh.response_making import Making
from somamesh.responses import Response

T = TypeVar("T")


class AsyncStream(AsyncIterator[T], Generic[T]):
    """Iterates over what comes. It ends early when its `async with` block is left, or nobody holds it.

    Raises:
        APIError: while iterating, when it fails or is cut off.
    """

    def __init__(self, call: Any, reader: Reader[T], attempt: Attempts) -> None:
        self._call = call
        self._items: AsyncIterator[T] | None = _read(call, reader, attempt)

    async def __anext__(self) -> T:
        if self._items is None:
            raise StopAsyncIteration
        return await anext(self._items)

    def close(self) -> None:
        """End it."""
        self._call.cancel()
        self._items = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncAnswerStream(AsyncStream[str]):
    """Iterates over the text of an answer."""

    def __init__(self, call: Any, turn: Turn, attempt: Attempts) -> None:
        super().__init__(call, turn, attempt)
        self._turn = turn

    async def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        async for _ in self:
            continue
        return self._turn.answer()


class AsyncResponseStream(AsyncStream[str]):
    """Iterates over the text of a response; leaving one that is made in the background does not end it."""

    def __init__(self, call: Any, making: Making, attempt: Attempts) -> None:
        super().__init__(call, making, attempt)
        self._making = making

    async def __anext__(self) -> str:
        while not (text := await super().__anext__()):
            continue
        return text

    async def begun(self) -> Response:
        """The response as it is when it has an id; waits until then."""
        if not self._making.begun and self._items is not None:
            await anext(self._items, None)
        return self._making.latest()

    async def response(self) -> Response:
        """The whole response; reads what has not been read."""
        async for _ in self:
            continue
        return self._making.response()


async def _read(call: Any, reader: Reader[T], attempt: Attempts) -> AsyncIterator[T]:
    # Knows nothing of the stream it is read by, so that it is closed when that is let go.
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
    """Whether a `CancelledError` is meant for the task that met it; else the call it waits for was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
