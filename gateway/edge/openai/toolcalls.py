"""Joins the pieces of streamed tool calls."""

from dataclasses import dataclass, field
from typing import Any

from soma.model.v1.message_pb2 import ToolCallDelta


@dataclass(slots=True)
class _Parts:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCalls:
    """The tool calls of one answer, by their index."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, _Parts] = {}

    def add(self, piece: ToolCallDelta) -> None:
        """Add the next piece of a call."""
        parts = self._calls.setdefault(piece.index, _Parts())
        parts.call_id = parts.call_id or piece.call_id
        parts.name = parts.name or piece.name
        parts.arguments.append(piece.arguments)

    def whole(self) -> list[dict[str, Any]]:
        """OpenAI's `tool_calls`."""
        return [
            {
                "id": parts.call_id,
                "type": "function",
                "function": {"name": parts.name, "arguments": "".join(parts.arguments)},
            }
            for _, parts in sorted(self._calls.items())
        ]
