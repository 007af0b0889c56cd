"""Answers that are read while they are made."""

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from somamesh.errors import failed
from somamesh.turns import Answer, Turn


class ChatStream:
    """Iterates over the text of an answer; leaving its `with` block, or `close`, ends the turn.

    Raises:
        SomaError: while iterating, when the turn fails or is cut off.
    """

    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._turn = Turn(request_id)
        self._closed = False

    def __iter__(self) -> Iterator[str]:
        try:
            for event in () if self._closed else self._call:
                if text := self._turn.take(event):
                    yield text
        except grpc.RpcError as error:
            raise failed(error, self._turn.request_id) from error
        finally:
            self.close()
        self._turn.answer()

    def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        for _ in self:
            continue
        return self._turn.answer()

    def close(self) -> None:
        """End the turn."""
        self._closed = True
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncChatStream:
    """`ChatStream` for asyncio."""

    def __init__(self, call: Any, request_id: str) -> None:
        self._call = call
        self._turn = Turn(request_id)
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            # A closed call would answer with the cancellation of whoever asks it.
            if not self._closed:
                async for event in self._call:
                    if text := self._turn.take(event):
                        yield text
        except grpc.RpcError as error:
            raise failed(error, self._turn.request_id) from error
        finally:
            self.close()
        self._turn.answer()

    async def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        async for _ in self:
            continue
        return self._turn.answer()

    def close(self) -> None:
        """End the turn."""
        self._closed = True
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
