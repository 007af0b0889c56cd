"""Joins the pieces of an answer: to a larger piece, or to the assistant's message that is remembered."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    Citation,
    Delta,
    Message,
    Reasoning,
    ReasoningDelta,
    ToolCall,
    ToolCallDelta,
)

_Piece = TypeVar("_Piece", ReasoningDelta, ToolCallDelta)


def joined(deltas: Sequence[Delta]) -> Delta:
    """One piece with everything that these pieces have, in their order. They are all refusal, or none is.

    Pieces of one thought or of one call that are neighbours become one.
    """
    if len(deltas) == 1:
        return deltas[0]
    whole = Delta(text="".join(delta.text for delta in deltas), refusal=deltas[0].refusal)
    for delta in deltas:
        whole.logprobs.extend(delta.logprobs)
        whole.citations.extend(delta.citations)
    for thoughts in _neighbours(thought for delta in deltas for thought in delta.reasoning):
        whole.reasoning.append(thoughts[0] if len(thoughts) == 1 else _thought(thoughts))
    for calls in _neighbours(call for delta in deltas for call in delta.tool_calls):
        whole.tool_calls.append(calls[0] if len(calls) == 1 else _call(calls))
    return whole


def joined_text(deltas: Sequence[Delta]) -> Delta:
    """The same for pieces of which each `is_text`: most answers are text alone, for which this is twice as fast."""
    return deltas[0] if len(deltas) == 1 else Delta(text="".join([delta.text for delta in deltas]))


def is_text(delta: Delta) -> bool:
    """Whether a piece is text and nothing else, as most pieces are. To look at each of its fields takes longer."""
    return len(delta.ListFields()) == 1 and bool(delta.text)


def _neighbours(pieces: "Iterable[_Piece]") -> "list[list[_Piece]]":
    """The pieces in groups: those with the same index, one directly after the other, are a group."""
    return [list(group) for _, group in groupby(pieces, key=lambda piece: piece.index)]


def _thought(pieces: Sequence[ReasoningDelta]) -> ReasoningDelta:
    whole = thought_of(pieces)
    return ReasoningDelta(
        index=pieces[0].index,
        text=whole.text,
        signature=whole.signature,
        redacted=whole.redacted,
        details=whole.details,
    )


def _call(pieces: Sequence[ToolCallDelta]) -> ToolCallDelta:
    whole = call_of(pieces)
    return ToolCallDelta(
        index=pieces[0].index,
        call_id=whole.call_id,
        name=whole.name,
        arguments=whole.arguments,
        signature=whole.signature,
    )


class Answer:
    """Collects the pieces of one answer."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: dict[int, list[ReasoningDelta]] = {}
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._citations: list[Citation] = []

    def add(self, delta: Delta) -> None:
        """Add the next piece."""
        if delta.text:
            self._texts.append(delta.text)
        if delta.reasoning:
            for thought in delta.reasoning:
                self._thoughts.setdefault(thought.index, []).append(thought)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._calls.setdefault(call.index, []).append(call)
        if delta.citations:
            self._citations.extend(delta.citations)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    @property
    def calls(self) -> list[ToolCall]:
        """The tool calls so far, in the order of their index."""
        return [call_of(self._calls[index]) for index in sorted(self._calls)]

    def thoughts(self, provider: str = "") -> list[Reasoning]:
        """The thoughts so far, in the order of their index, as `provider` made them."""
        return [thought_of(self._thoughts[index], provider) for index in sorted(self._thoughts)]

    def message(self, provider: str) -> Message | None:
        """The assistant's message, with thoughts of `provider`; None when there is neither text nor a tool call."""
        text = self.text
        if not text and not self._calls:
            return None
        message = Message(role=ROLE_ASSISTANT, tool_calls=self.calls)
        if not self._thoughts and not self._citations:
            message.content = text
            return message
        for thought in self.thoughts(provider):
            message.parts.add(reasoning=thought)
        if text:
            message.parts.add().text.text = text
            message.parts[-1].text.citations.extend(self._citations)
        return message


def call_of(pieces: Iterable[ToolCallDelta]) -> ToolCall:
    """The tool call of its pieces; the first piece that has an id, a name or a signature counts for it."""
    call = ToolCall()
    arguments = []
    for piece in pieces:
        call.call_id = call.call_id or piece.call_id
        call.name = call.name or piece.name
        call.signature = call.signature or piece.signature
        arguments.append(piece.arguments)
    call.arguments = "".join(arguments)
    return call


def thought_of(pieces: Iterable[ReasoningDelta], provider: str = "") -> Reasoning:
    """The thought of its pieces: their texts joined, and the last signature, redacted form and details."""
    thought = Reasoning(provider=provider)
    texts = []
    for piece in pieces:
        texts.append(piece.text)
        thought.signature = piece.signature or thought.signature
        thought.redacted = piece.redacted or thought.redacted
        thought.details = piece.details or thought.details
    thought.text = "".join(texts)
    return thought
