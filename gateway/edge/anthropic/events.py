"""The server-sent events of a streamed message, in the order that Anthropic's API publishes.

https://platform.claude.com/docs/en/build-with-claude/streaming

A stream has one block at a time, so what comes amid a tool call waits until the call is complete.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from soma.model.v1.message_pb2 import Citation, Delta, Reasoning, ReasoningDelta, ToolCallDelta, Usage
from soma.orchestrator.v1.chat_service_pb2 import ChatFinished, ChatStarted

from gateway.edge.anthropic.answer import (
    NOT_ENDED,
    call_block,
    citation_object,
    end,
    message,
    thought_block,
    usage_object,
)
from gateway.edge.anthropic.thoughts import Thoughts

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_Piece = str | list[Citation] | ReasoningDelta | ToolCallDelta


@dataclass(slots=True)
class _Open:
    """The open block. `shown` says whether its start was sent."""

    kind: str
    number: int = 0
    shown: bool = True
    arguments: list[str] = field(default_factory=list)
    thought: Reasoning = field(default_factory=Reasoning)

    @property
    def complete(self) -> bool:
        """Whether another block may follow: a call has all of its arguments."""
        if self.kind != "call":
            return True
        try:
            orjson.loads("".join(self.arguments))
        except orjson.JSONDecodeError:
            return False
        return True


class Events:
    """Makes the events of one message; `thoughts` is None if it has none."""

    def __init__(self, started: ChatStarted, thoughts: Thoughts | None) -> None:
        self._started = started
        self._thoughts = thoughts
        self._index = -1
        self._open: _Open | None = None
        self._waiting: list[_Piece] = []
        self._before = self._after = b""
        self._refused = self._called = False

    def begin(self) -> bytes:
        """The start of the message. The tokens that were read are known only at its end."""
        usage = usage_object(Usage())
        return _event("message_start", {"message": message(self._started, [], NOT_ENDED, usage)}) + PING

    def delta(self, delta: Delta) -> bytes:
        """The events of a piece of the answer; may be empty."""
        now = self._open
        # Nearly all pieces are a text that goes on.
        if now is not None and now.kind == "text" and delta.text and len(delta.ListFields()) == 1:
            return self._before + orjson.dumps(delta.text) + b"}}\n\n"
        if delta.refusal:
            self._refused = True
        return b"".join(chunk for piece in self._pieces(delta) for chunk in self._add(piece))

    def last(self, finished: ChatFinished) -> bytes:
        """The end of the message."""
        chunks = []
        while self._waiting:
            chunks += [*self._close(), *self._drained()]
        chunks += self._close()
        ended = end(finished, refused=self._refused, called=self._called)
        chunks.append(_event("message_delta", {"delta": ended, "usage": usage_object(finished.usage)}))
        return b"".join((*chunks, _event("message_stop", {})))

    def _pieces(self, delta: Delta) -> Iterator[_Piece]:
        if self._thoughts is not None:
            yield from delta.reasoning
        if delta.text:
            yield delta.text
        if delta.citations:
            yield list(delta.citations)
        yield from delta.tool_calls

    def _add(self, piece: _Piece) -> Iterator[bytes]:
        now = self._open
        if isinstance(piece, ToolCallDelta) and now is not None and now.kind == "call" and now.number == piece.index:
            yield self._argument(now, piece.arguments)
            if self._waiting and now.complete:
                yield from self._drained()
        elif now is not None and not now.complete:
            self._waiting.append(piece)
        elif isinstance(piece, str):
            yield from self._text(piece)
        elif isinstance(piece, ReasoningDelta):
            yield from self._thought(piece)
        elif isinstance(piece, ToolCallDelta):
            yield from self._call(piece)
        else:
            yield from self._citations(piece)

    def _drained(self) -> Iterator[bytes]:
        """The pieces that waited; what comes amid the next call waits again."""
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            yield from self._add(piece)

    def _text(self, text: str) -> Iterator[bytes]:
        if self._open is None or self._open.kind != "text":
            yield from self._close()
            yield self._start(_Open("text"), {"type": "text", "text": "", "citations": None})
        yield self._before + orjson.dumps(text) + b"}}\n\n"

    def _citations(self, citations: list[Citation]) -> Iterator[bytes]:
        """Citations belong to the text before them, so the next text is a block of its own."""
        if self._open is None or self._open.kind != "text":
            return
        for each in citations:
            yield self._delta({"type": "citations_delta", "citation": citation_object(each)})
        yield from self._close()

    def _call(self, piece: ToolCallDelta) -> Iterator[bytes]:
        yield from self._close()
        self._called = True
        block = call_block(piece.call_id, piece.name, {}, piece.signature)
        yield self._start(_Open("call", piece.index), block)
        if piece.arguments:
            yield self._argument(self._open, piece.arguments)

    def _argument(self, call: _Open | None, text: str) -> bytes:
        if call is None or not text:
            return b""
        call.arguments.append(text)
        return self._delta({"type": "input_json_delta", "partial_json": text})

    def _thought(self, piece: ReasoningDelta) -> Iterator[bytes]:
        now = self._open
        if now is None or now.kind != "thought" or now.number != piece.index:
            yield from self._close()
            # Whether it can be read is known with its first text.
            self._open = now = _Open("thought", piece.index, shown=False)
            now.thought.provider = self._started.provider
        thought = now.thought
        if piece.text:
            if not now.shown:
                now.shown = True
                yield self._start(now, {"type": "thinking", "thinking": "", "signature": ""})
            thought.text += piece.text
            yield self._delta({"type": "thinking_delta", "thinking": piece.text})
        thought.signature = piece.signature or thought.signature
        thought.redacted = piece.redacted or thought.redacted
        thought.details = piece.details or thought.details

    def _close(self) -> Iterator[bytes]:
        now, self._open = self._open, None
        if now is None:
            return
        if now.kind == "thought" and self._thoughts is not None:
            block = thought_block(now.thought, self._thoughts)
            signed = {"type": "signature_delta", "signature": block.get("signature")}
            if not now.shown:
                yield self._start(None, block if block["type"] == "redacted_thinking" else {**block, "signature": ""})
            if block["type"] == "thinking":
                yield self._delta(signed)
        yield _event("content_block_stop", {"index": self._index})

    def _start(self, block: _Open | None, content: Mapping[str, Any]) -> bytes:
        self._index += 1
        self._open = block
        self._before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"text_delta","text":' % self._index
        )
        return _event("content_block_start", {"index": self._index, "content_block": content})

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})


def _event(kind: str, members: Mapping[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **members}))
