"""Keeps the blocks of a message as they came, so that a turn that was paused can be continued."""

from typing import Any

from services.model.adapters.surrogates import repaired
from services.model.json_text import object_in

# The member of a block that a delta adds to, by the type of the delta.
_ADDS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class SaidBlocks:
    """The blocks of one message that is streamed."""

    def __init__(self) -> None:
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._inputs: dict[Any, list[str]] = {}

    def begin(self, index: Any, start: dict[str, Any]) -> None:
        """Add a block."""
        self._blocks[index] = dict(start)

    def add(self, index: Any, delta: dict[str, Any]) -> None:
        """Add a delta to its block.

        Raises:
            KeyError: there is no such block, or the delta lacks a member.
        """
        block = self._blocks[index]
        kind = delta["type"]
        if name := _ADDS.get(kind):
            block[name] = (block.get(name) or "") + delta[name]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind == "input_json_delta":
            self._inputs.setdefault(index, []).append(delta["partial_json"])

    def take(self) -> list[dict[str, Any]]:
        """The blocks in their order; the next message begins with none."""
        for index, pieces in self._inputs.items():
            self._blocks[index]["input"] = object_in(repaired("".join(pieces)))
        for block in self._blocks.values():
            for name in ("text", "thinking"):
                if name in block:
                    # A character may have come in two pieces.
                    block[name] = repaired(block[name])
        blocks = list(self._blocks.values())
        self._blocks, self._inputs = {}, {}
        return blocks
