"""Anthropic's Messages API, with thoughts that it has signed."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.clients.vendors.script import SCRIPT, Said, arguments, mark, weather
from tests.model.adapters.anthropic_rules import Rules

_REASON = {True: "tool_use", False: "end_turn"}


@dataclass(frozen=True)
class Anthropic:
    """Anthropic's server."""

    model: str
    chat: str = "/v1/messages"
    models: str = "/v1/models"

    def listing(self) -> Any:
        """Its page of models."""
        model = {"type": "model", "id": self.model, "created_at": "2025-02-19T00:00:00Z", "display_name": self.model}
        return {"data": [model], "has_more": False}

    def error(self, message: str) -> Any:
        """Its error object."""
        return {"type": "error", "error": {"type": "invalid_request_error", "message": message}}

    def refusal(self, body: Mapping[str, Any]) -> str:
        """Why it refuses the body of a request; empty if it does not."""
        rules = Rules()
        for question, answers in SCRIPT.items():
            for place, said in enumerate(answers):
                for block in _thoughts(question, place, said):
                    rules.signed[block.get("signature") or block["data"]] = block.get("thinking", "")
        return rules.refusal(body)

    def thinks(self, body: Mapping[str, Any]) -> bool:
        """Whether the request asks it to think."""
        return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")

    def shown(self, body: Mapping[str, Any]) -> Sequence[bytes]:
        """The pictures in a request."""
        blocks = [block for message in body["messages"] for block in message["content"] if block["type"] == "image"]
        return [base64.b64decode(block["source"]["data"], validate=True) for block in blocks]

    def without_thoughts(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message without its blocks of thoughts."""
        others = [block for block in message["content"] if block["type"] not in ("thinking", "redacted_thinking")]
        return {**message, "content": others}

    def parsed(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """The message; its arguments are objects."""
        return message

    def frames(self, question: str, place: int, said: Said) -> Sequence[bytes]:
        """The events of a message."""
        usage = {"input_tokens": 11, "output_tokens": 1}
        started = {"id": "msg_1", "type": "message", "role": "assistant", "model": self.model, "content": []}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**started, "usage": usage}}]
        for index, block in enumerate(_blocks(question, place, said)):
            opening, deltas = _streamed(block)
            events.append({"type": "content_block_start", "index": index, "content_block": opening})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        reason = {"stop_reason": _REASON[bool(said.places)], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": reason, "usage": {"output_tokens": 7}})
        events.append({"type": "message_stop"})
        return [b"event: %s\ndata: %s\n\n" % (each["type"].encode(), orjson.dumps(each)) for each in events]

    def whole(self, question: str, place: int, said: Said) -> Mapping[str, Any]:
        """The message."""
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": _blocks(question, place, said),
            "stop_reason": _REASON[bool(said.places)],
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }

    def history(self, questions: Sequence[tuple[str, int]]) -> Sequence[Mapping[str, Any]]:
        """The messages that must come with a request."""
        return [message for question, count in questions for message in self._turn(question, count)]

    def _turn(self, question: str, count: int) -> Iterator[Mapping[str, Any]]:
        yield {"role": "user", "content": [{"type": "text", "text": question}]}
        for place, said in enumerate(SCRIPT[question][:count]):
            blocks = _blocks(question, place, said)
            yield {"role": "assistant", "content": blocks}
            calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if calls:
                results = [
                    {"type": "tool_result", "tool_use_id": call_id, "content": weather(where)}
                    for call_id, where in zip(calls, said.places, strict=True)
                ]
                yield {"role": "user", "content": results}


def _thoughts(question: str, place: int, said: Said) -> list[dict[str, Any]]:
    """A thought with its signature, and one that is sealed."""
    if not said.thought:
        return []
    signature = mark("signature", question, place, length=64)
    return [
        {"type": "thinking", "thinking": said.thought, "signature": signature},
        {"type": "redacted_thinking", "data": mark("sealed", question, place, length=64)},
    ]


def _blocks(question: str, place: int, said: Said) -> list[dict[str, Any]]:
    blocks = _thoughts(question, place, said)
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    for at, where in enumerate(said.places):
        call_id = "toolu_01" + mark(question, place, at, length=22)
        blocks.append({"type": "tool_use", "id": call_id, "name": "look", "input": orjson.loads(arguments(where))})
    return blocks


def _streamed(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The beginning of a block, and its pieces."""
    match block["type"]:
        case "thinking":
            half = len(block["thinking"]) // 2
            pieces = (block["thinking"][:half], block["thinking"][half:])
            deltas: list[dict[str, Any]] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
        case "text":
            half = len(block["text"]) // 2
            pieces = (block["text"][:half], block["text"][half:])
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
        case "tool_use":
            text = orjson.dumps(block["input"]).decode()
            written = ("", text[:5], text[5:])
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in written]
        case _:
            return dict(block), []


CLAUDE = Anthropic("claude-sonnet-4-5-20250929")
