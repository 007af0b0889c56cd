"""Reads an answer of a vendor's server, event by event or in one piece: the common part of the vendors' protocols."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import orjson
from pydantic_core import from_json
from soma.model.v1.message_pb2 import FINISH_REASON_STOP, Delta, FinishReason
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.mesh.call.errors import Unavailable
from services.model.adapters import refusal
from services.model.adapters.surrogates import SurrogateJoiner, read_json

Pieces = Sequence[Delta]

# The exceptions of reading JSON that does not have the shape of the protocol.
_UNEXPECTED = (AttributeError, KeyError, TypeError, ValueError, IndexError)


class AnswerReader(ABC):
    """Reads one answer in a vendor's protocol.

    Attributes:
        begun: whether an event of the protocol was read.
        ended: whether the vendor reported the end of the answer; the answer is complete then, even if the stream breaks
            off.
    """

    # The name of an event in error messages.
    _event: ClassVar[str]

    def __init__(self, provider: str) -> None:
        self.begun = False
        self.ended = False
        self._provider = provider
        self._finish: FinishReason.ValueType = FINISH_REASON_STOP
        # Whether the vendor gave a reason of the end, and whether its end mark came after it. Nothing that comes then
        # belongs to the answer.
        self._reasoned = False
        self._done = False
        # Set only when an event held half of a surrogate pair.
        self._joiner: SurrogateJoiner | None = None

    def read(self, data: bytes) -> Pieces:
        """The pieces that the data of one event adds.

        Raises:
            MeshError: the data is an error, or not an event of the protocol.
        """
        if self._done:
            return ()
        event: Any = None
        try:
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:
                if self._closes(data):
                    return ()
                event = read_json(data)
                self._joiner = self._joiner or SurrogateJoiner()
            return self._read(event)
        except _UNEXPECTED as error:
            unread = refusal.unreadable(self._provider, self._event, data)
            if self.ended and not isinstance(event, dict):
                # After the end of the answer, what is no event of the protocol does not belong to it.
                return ()
            raise unread from error

    def read_whole(self, body: bytes) -> Pieces:
        """The pieces of an answer that came in one piece, whether it was asked for so or not; `ended` is set.

        Raises:
            MeshError: the body is an error, or not an answer of the protocol.
        """
        try:
            found = read_json(body)
            self._joiner = SurrogateJoiner()
            if isinstance(found, list) and len(found) == 1:
                found = found[0]
            pieces = self._read_whole(found)
        except _UNEXPECTED as error:
            if _is_cut(body):
                raise refusal.stream_cut(self._provider) from error
            raise refusal.unreadable(self._provider, "its answer", body) from error
        self.ended = True
        return pieces

    @abstractmethod
    def finished(self) -> tuple[Pieces, GenerationFinished]:
        """The pieces that were held back until the end, and the final event.

        Raises:
            Unavailable: a tool call cannot be used, or is missing.
        """

    @abstractmethod
    def _read(self, event: Any) -> Pieces:
        """The pieces of an event."""

    @abstractmethod
    def _read_whole(self, found: Any) -> Pieces:
        """The pieces of a whole answer."""

    def _closes(self, data: bytes) -> bool:
        """Whether data that is not JSON is the end mark of the protocol."""
        return False

    def _mark(self) -> None:
        """Take the end mark. Without a reason, more of the answer may come after it."""
        self.begun = self.ended = True
        self._done = self._reasoned

    def _end(self, reason: str, finish: "FinishReason.ValueType | None") -> None:
        """Take the vendor's reason for the end of the answer; `finish` is its meaning, or None if the answer failed."""
        if finish is None:
            raise refusal.ended_badly(self._provider, reason)
        self._finish = finish
        self._reasoned = self.ended = True

    def _no_call(self) -> Unavailable:
        """The error for an answer that ended to call tools, of which no call came."""
        return refusal.protocol_error(self._provider, "its answer ended to call tools, but there is no call in it")


def _is_cut(body: bytes) -> bool:
    """Whether this is the beginning of a JSON document, which may be cut although the connection was closed orderly."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            from_json(body, allow_partial=True)
        except ValueError:
            return False
        return True
    return False
