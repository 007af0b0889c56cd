"""Answers that are read while they are made."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from somamesh.answers import Answer, Turn
from somamesh.exceptions import APIError
from somamesh.outgoing import Attempts


class AnswerStream(Iterator[str]):
    """Iterates over the text of an answer. The turn ends early when its `with` block is left, or nobody holds it.

    Raises:
        APIError: while iterating, when the turn fails or is cut off.
    """

    def __init__(self, call: Any, attempt: Attempts) -> None:
        self._call = call
        self._turn = Turn(attempt.request_id)
        self._pieces: Iterator[str] = _read(call, self._turn, attempt)

    def __next__(self) -> str:
        return next(self._pieces)

    def answer(self) -> Answer:
        """The whole answer; reads what has not been read."""
        for _ in self:
            continue
        return self._turn.answer()

    def close(self) -> None:
        """End the turn."""
        self._call.cancel()
        self._pieces = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _read(call: Any, turn: Turn, attempt: Attempts) -> Iterator[str]:
    # Knows nothing of the stream it is read by, so that it is closed when that is let go.
    try:
        for event in call:
            if text := turn.take(event):
                yield text
        turn.answer()
        attempt.note("OK")
    except grpc.RpcError as error:
        raise attempt.failure(error) from error
    except APIError as failure:
        attempt.note(failure.reason)
        raise
    finally:
        call.cancel()
