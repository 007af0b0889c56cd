"""Answers that are read while they are made, with asyncio."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc

from somamesh.answers import Answer, Turn
from somamesh.exceptions import APIError
from somamesh.failures import cut_off
from somamesh.outgoing import Attempts


class AsyncAnswerStream(AsyncIterator[str]):
    """Iterates over the text of an answer. The turn ends early when its `async with` block is left, or nobody holds it.

    Raises:
        APIError: while iterating, when the turn fails or is cut off.
    """

    def __init__(self, call: Any, attempt: Attempts) -> None:
        self._call = call
        self._turn = Turn(attempt.request_id)
        self._pieces: AsyncIterator[str] | None = _read(call, self._turn, attempt)

    async def __anext__(self) -> str:
        if self._pieces is None:
            raise StopAsyncIteration
        return await anext(self._pieces)

    async def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        async for _ in self:
            continue
        return self._turn.answer()

    def close(self) -> None:
        """End the turn."""
        self._call.cancel()
        self._pieces = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def _read(call: Any, turn: Turn, attempt: Attempts) -> AsyncIterator[str]:
    # Knows nothing of the stream it is read by, so that it is closed when that is let go.
    try:
        async for event in call:
            if text := turn.take(event):
                yield text
        turn.answer()
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
