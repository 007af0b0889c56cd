"""One answer of a vendor's server as it comes in, event by event or in one piece: what its protocols have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson
from soma.model.v1.message_pb2 import FINISH_REASON_STOP, FinishReason, ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerationFinished, TextDelta

from services.model.adapters import refusal
from services.model.adapters.surrogates import Halves, read_json

Pieces = Sequence[TextDelta | ToolCallDelta]

# What reading raises where JSON has another shape than the protocol's.
_ODD = (AttributeError, KeyError, TypeError, ValueError, IndexError)


class Answer(ABC):
    """What a vendor's protocol makes of an answer.

    Attributes:
        begun: whether an event of the protocol came.
        ended: whether the vendor said that, or why, the answer ended; nothing that is missing after that is missed.
    """

    # What the protocol calls an event, in messages.
    _event: ClassVar[str]

    def __init__(self, provider: str) -> None:
        self.begun = False
        self.ended = False
        self._provider = provider
        self._finish: FinishReason.ValueType = FINISH_REASON_STOP
        # Only where an event had half a character in it.
        self._halves: Halves | None = None

    def read(self, data: bytes) -> Pieces:
        """What one event's data adds.

        Raises:
            MeshError: it is an error, or no event of the protocol.
        """
        try:
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:
                if self._closes(data):
                    return ()
                event = read_json(data)
                self._halves = self._halves or Halves()
            return self._read(event)
        except _ODD as error:
            unread = refusal.unreadable(self._provider, self._event, data)
            if self.ended:
                # What comes after the answer's end is not part of it.
                return ()
            raise unread from error

    def read_whole(self, body: bytes) -> Pieces:
        """What an answer in one piece holds, though a stream was asked for; it has ended.

        Raises:
            MeshError: it is an error, or no answer of the protocol.
        """
        try:
            found = read_json(body)
            self._halves = Halves()
            if isinstance(found, list) and len(found) == 1:
                found = found[0]
            pieces = self._read_whole(found)
        except _ODD as error:
            raise refusal.unreadable(self._provider, "its answer", body) from error
        self.ended = True
        return pieces

    @abstractmethod
    def finished(self) -> tuple[Pieces, GenerationFinished]:
        """What was held back until the end, and the last event.

        Raises:
            Unavailable: a tool call cannot be used.
        """

    @abstractmethod
    def _read(self, event: Any) -> Pieces:
        """What an event adds."""

    @abstractmethod
    def _read_whole(self, found: Any) -> Pieces:
        """What a whole answer holds."""

    def _closes(self, data: bytes) -> bool:
        """Whether data that is not JSON is, or comes after, the protocol's own end mark."""
        return False

    def _end(self, reason: str, finish: "FinishReason.ValueType | None") -> None:
        """The vendor says why the answer ended; `finish` is what that means, None where it is no success."""
        if finish is None:
            raise refusal.ended_badly(self._provider, reason)
        self._finish = finish
        self.ended = True
