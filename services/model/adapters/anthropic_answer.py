"""Reads a message of Anthropic's Messages API, in events or in one piece."""

from collections.abc import Mapping
from typing import Any

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    Delta,
    FinishReason,
    ToolCallDelta,
)
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.model.adapters import refusal
from services.model.adapters.answer import AnswerReader, Pieces
from services.model.adapters.counts import count, usage_of
from services.model.adapters.tool_calls import new_call_id

_FINISH: "Mapping[str, FinishReason.ValueType]" = {
    "end_turn": FINISH_REASON_STOP,
    "stop_sequence": FINISH_REASON_STOP,
    "pause_turn": FINISH_REASON_STOP,
    "max_tokens": FINISH_REASON_LENGTH,
    "model_context_window_exceeded": FINISH_REASON_LENGTH,
    "tool_use": FINISH_REASON_TOOL_CALLS,
    "refusal": FINISH_REASON_CONTENT_FILTER,
}
_READ = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class MessageAnswer(AnswerReader):
    """Reads one message."""

    _event = "an event"

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._prompt = 0
        self._cached = 0
        self._completion = 0
        # The position among the tool calls of the message, by content block; None for blocks that are not calls.
        self._blocks: dict[Any, int | None] = {}
        self._ids: set[str] = set()
        # The input in the start of a block, by content block, for calls whose input has not been streamed yet.
        self._bare: dict[Any, str] = {}

    def finished(self) -> tuple[Pieces, GenerationFinished]:
        """The pieces that were held back, and the final event."""
        held: list[Delta] = []
        for index in list(self._bare):
            held.extend(self._block_end(index))
        for index, text in (self._joiner.flush() if self._joiner is not None else {}).items():
            position = self._blocks.get(index)
            held.append(
                Delta(text=text)
                if position is None
                else Delta(tool_calls=[ToolCallDelta(index=position, arguments=text)])
            )
        counted = self._prompt or self._completion
        usage = usage_of(self._prompt, self._completion, self._cached) if counted else None
        return held, GenerationFinished(finish_reason=self._finish, usage=usage)

    def _read_whole(self, found: dict[str, Any]) -> Pieces:
        if "content" not in found:
            raise refusal.reported_error(self._provider, found.get("error") or found)
        if error := found.get("error"):
            raise refusal.reported_error(self._provider, error)
        pieces: list[Delta] = []
        for index, block in enumerate(found["content"] or ()):
            pieces.extend(self._block(index, block))
            pieces.extend(self._block_end(index))
        self._count(found.get("usage"))
        if reason := found.get("stop_reason"):
            self._end(reason, _FINISH.get(reason))
        return pieces

    def _read(self, event: dict[str, Any]) -> Pieces:
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event.get("index"), event["delta"])
            case "content_block_start":
                self.begun = True
                return self._block(event.get("index"), event["content_block"])
            case "content_block_stop":
                return self._block_end(event.get("index"))
            case "message_start":
                self.begun = True
                self._count(event["message"].get("usage"))
            case "message_delta":
                self.begun = True
                self._count(event.get("usage"))
                if reason := (event.get("delta") or {}).get("stop_reason"):
                    self._end(reason, _FINISH.get(reason))
            case "message_stop":
                self.begun = self.ended = True
            case _ if event.get("error") or event.get("type") in ("error", None):
                raise refusal.reported_error(self._provider, event.get("error") or event)
        # Pings, and types of events that a newer API may add.
        return ()

    def _block(self, index: Any, block: dict[str, Any]) -> Pieces:
        self._blocks[index] = None
        if block["type"] == "text" and block.get("text"):
            return self._text(index, block["text"])
        if block["type"] == "tool_use":
            position = len(self._ids)
            call_id = str(block.get("id") or "")
            if not call_id or call_id in self._ids:
                call_id = new_call_id()
            self._ids.add(call_id)
            self._blocks[index] = position
            self._bare[index] = orjson.dumps(block.get("input") or {}).decode()
            return (Delta(tool_calls=[ToolCallDelta(index=position, call_id=call_id, name=block["name"])]),)
        return ()

    def _delta(self, index: Any, delta: dict[str, Any]) -> Pieces:
        if delta["type"] == "text_delta":
            text = delta["text"]
            if self._joiner is not None:
                return self._text(index, text)
            return (Delta(text=text),) if text else ()
        if delta["type"] == "input_json_delta" and (piece := delta["partial_json"]):
            position = self._blocks[index]
            if position is None:
                return ()
            self._bare.pop(index, None)
            if self._joiner is not None:
                piece = self._joiner.join(index, piece)
            return (_arguments(position, piece),)
        return ()

    def _text(self, index: Any, text: str) -> Pieces:
        if self._joiner is not None and text:
            text = self._joiner.join(index, text)
        return (Delta(text=text),) if text else ()

    def _block_end(self, index: Any) -> Pieces:
        """The input of a call that was not streamed, from the start of its block; `{}` when the call has none."""
        whole, position = self._bare.pop(index, None), self._blocks.get(index)
        return (
            ()
            if whole is None or position is None
            else (Delta(tool_calls=[ToolCallDelta(index=position, arguments=whole)]),)
        )

    def _count(self, usage: Any) -> None:
        """Take token counts, which are cumulative. Tokens read from or written to a cache are prompt tokens too."""
        if not isinstance(usage, dict):
            return
        self._prompt = max(self._prompt, sum(count(usage.get(name)) for name in _READ))
        self._cached = max(self._cached, count(usage.get("cache_read_input_tokens")))
        self._completion = max(self._completion, count(usage.get("output_tokens")))


def _arguments(position: int, text: str) -> Delta:
    return Delta(tool_calls=[ToolCallDelta(index=position, arguments=text)])
