"""Applies the token limit and the stop sequences to the text of the local models."""

from collections.abc import Sequence

from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, FinishReason


class Writer:
    """Takes the tokens of a model one by one, and returns the text that may be shown.

    Text that may be the beginning of a stop sequence is held back until this is decided.

    Attributes:
        written: number of tokens so far.
        reason: why the text has ended; None until then.
        stop: the stop sequence that ended it; empty if none did.
    """

    def __init__(self, limit: int | None, stops: Sequence[str]) -> None:
        self.written = 0
        self.reason: FinishReason.ValueType | None = None
        self.stop = ""
        self._limit = limit
        self._stops = tuple(stops)
        self._held = ""

    def write(self, token: str) -> str:
        """Take a token, and return the text that may be shown now; it may be empty."""
        self.written += 1
        text = self._held + token
        met = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if met:
            at, self.stop = min(met)
            self.reason, self._held = FINISH_REASON_STOP, ""
            return text[:at]
        if self.written == self._limit:
            self.reason, self._held = FINISH_REASON_LENGTH, ""
            return text
        undecided = self._undecided(text)
        self._held = text[len(text) - undecided :]
        return text[: len(text) - undecided]

    def end(self) -> tuple[str, "FinishReason.ValueType"]:
        """End the text; return what was held back, and the finish reason."""
        held, self._held = self._held, ""
        return held, self.reason or FINISH_REASON_STOP

    def _undecided(self, text: str) -> int:
        """The length of the longest suffix of `text` that is a prefix of a stop sequence."""
        longest = min(len(text), max((len(stop) - 1 for stop in self._stops), default=0))
        for length in range(longest, 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
