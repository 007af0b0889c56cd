"""Text of this process's own models on its way out: the token limit and the stop sequences hold for both."""

from collections.abc import Sequence

from soma.model.v1.message_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, FinishReason


class Writer:
    """Takes a model's tokens one by one and gives back the text that may be shown.

    Text that could be the beginning of a stop sequence is held back until it is clear that it is not one.

    Attributes:
        written: tokens taken.
        reason: why the text is over; None while it is not.
    """

    def __init__(self, limit: int | None, stops: Sequence[str]) -> None:
        self.written = 0
        self.reason: FinishReason.ValueType | None = None
        self._limit = limit
        self._stops = tuple(stops)
        self._held = ""

    def write(self, token: str) -> str:
        """Take a token; the text that is now certain, perhaps none."""
        self.written += 1
        text = self._held + token
        met = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if met:
            self.reason, self._held = FINISH_REASON_STOP, ""
            return text[: min(met)]
        if self.written == self._limit:
            self.reason, self._held = FINISH_REASON_LENGTH, ""
            return text
        kept = self._undecided(text)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def end(self) -> tuple[str, "FinishReason.ValueType"]:
        """The model has no more, or may not write more: what was held back, and why the text is over."""
        held, self._held = self._held, ""
        return held, self.reason or FINISH_REASON_STOP

    def _undecided(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop sequence begins."""
        longest = min(len(text), max((len(stop) - 1 for stop in self._stops), default=0))
        for length in range(longest, 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
