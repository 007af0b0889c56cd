"""Reads a stream of Anthropic's events as a strict client does, and joins it to the message."""

import json
from collections.abc import Iterable
from typing import Any

# The deltas that a block of a type may have.
_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "redacted_thinking": set[str](),
    "tool_use": {"input_json_delta"},
}


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream; the name of each event is the type of its data."""
    found = []
    for chunk in text.split("\n\n")[:-1]:
        first, second = chunk.split("\n")
        event: dict[str, Any] = json.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        found.append(event)
    return found


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message of a stream whose events come in the published order."""
    message: dict[str, Any] = {}
    block: dict[str, Any] | None = None
    arguments = ""
    ended = stopped = False
    for event in events:
        assert not stopped
        match event["type"]:
            case "ping":
                pass
            case "message_start":
                assert not message
                message = event["message"]
                assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
                assert message["stop_reason"] is None
            case "content_block_start":
                assert message
                assert block is None
                assert not ended
                assert event["index"] == len(message["content"])
                block, arguments = dict(event["content_block"]), ""
                message["content"].append(block)
            case "content_block_delta":
                assert block is not None
                assert event["index"] == len(message["content"]) - 1
                arguments += _add(block, event["delta"])
            case "content_block_stop":
                assert block is not None
                assert event["index"] == len(message["content"]) - 1
                if block["type"] == "tool_use":
                    block["input"] = json.loads(arguments or "{}")
                block = None
            case "message_delta":
                assert block is None
                ended = True
                message |= event["delta"]
                message["usage"] |= event["usage"]
            case "message_stop":
                assert ended
                stopped = True
            case kind:
                raise AssertionError(kind)
    assert stopped
    return message


def _add(block: dict[str, Any], delta: dict[str, Any]) -> str:
    """Add a delta to its block; gives the arguments in it."""
    kind = delta["type"]
    assert kind in _DELTAS[block["type"]]
    if kind == "text_delta":
        block["text"] += delta["text"]
    elif kind == "thinking_delta":
        block["thinking"] += delta["thinking"]
    elif kind == "signature_delta":
        assert not block["signature"]
        block["signature"] = delta["signature"]
    elif kind == "citations_delta":
        block["citations"] = [*(block["citations"] or ()), delta["citation"]]
    else:
        return str(delta["partial_json"])
    return ""
