"""The shapes of a chat completion: one object, or chunks made around a prefix serialised once.

OpenAI's API reference, "The chat completion object" and "The chat completion chunk object".
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    Source,
    ToolCallDelta,
    Usage,
)

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
FINISH_REASONS: dict[int, str] = {
    FINISH_REASON_STOP: "stop",
    FINISH_REASON_LENGTH: "length",
    FINISH_REASON_TOOL_CALLS: "tool_calls",
    FINISH_REASON_CONTENT_FILTER: "content_filter",
}


def completion(
    identity: Mapping[str, Any],
    text: str,
    tool_calls: Iterable[Mapping[str, Any]],
    finish_reason: int,
    usage: Usage,
    extension: Mapping[str, Any] | None,
) -> bytes:
    """The `chat.completion` object; `identity` is its `id`, `created` and `model`."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    calls = list(tool_calls)
    if calls:
        message["content"] = text or None
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_name(finish_reason)}
    answer = {
        "id": identity["id"],
        "object": "chat.completion",
        "created": identity["created"],
        "model": identity["model"],
        "choices": [choice],
        "usage": usage_object(usage),
        "system_fingerprint": None,
    }
    if extension is not None:
        answer["soma"] = extension
    return orjson.dumps(answer)


class Chunks:
    """Makes the server-sent events of one streamed completion."""

    __slots__ = ("_after_delta", "_before_delta", "_prefix", "_usage_field")

    def __init__(self, identity: Mapping[str, Any], *, include_usage: bool) -> None:
        head = orjson.dumps(
            {
                "id": identity["id"],
                "object": "chat.completion.chunk",
                "created": identity["created"],
                "model": identity["model"],
                "system_fingerprint": None,
            }
        )
        self._prefix = b"data: " + head[:-1]
        self._before_delta = self._prefix + b',"choices":[{"index":0,"delta":'
        self._usage_field = b',"usage":null' if include_usage else b""
        self._after_delta = b',"logprobs":null,"finish_reason":null}]' + self._usage_field + b"}\n\n"

    def first(self) -> bytes:
        """The chunk that says who speaks."""
        return self._before_delta + b'{"role":"assistant","content":""}' + self._after_delta

    def text(self, piece: str) -> bytes:
        """A piece of the answer."""
        return self._before_delta + b'{"content":' + orjson.dumps(piece) + b"}" + self._after_delta

    def tool_call(self, piece: ToolCallDelta) -> bytes:
        """A piece of a tool call; the piece that opens it carries its id and name."""
        function: dict[str, str] = {"arguments": piece.arguments}
        call: dict[str, Any] = {"index": piece.index}
        if piece.call_id or piece.name:
            function = {"name": piece.name, "arguments": piece.arguments}
            call |= {"id": piece.call_id, "type": "function"}
        call["function"] = function
        return self._before_delta + orjson.dumps({"tool_calls": [call]}) + self._after_delta

    def last(self, finish_reason: int, extension: Mapping[str, Any] | None) -> bytes:
        """The chunk that says why the answer ended."""
        reason = b'{},"logprobs":null,"finish_reason":"%s"}]' % finish_name(finish_reason).encode()
        added = b"" if extension is None else b',"soma":' + orjson.dumps(extension)
        return self._before_delta + reason + self._usage_field + added + b"}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The chunk without choices that says what the answer cost."""
        return self._prefix + b',"choices":[],"usage":' + orjson.dumps(usage_object(usage)) + b"}\n\n"


def finish_name(reason: int) -> str:
    """OpenAI's name of a finish reason."""
    return FINISH_REASONS.get(reason, "stop")


def usage_object(usage: Usage) -> dict[str, int]:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def sources_extension(sources: Iterable[Source]) -> dict[str, Any]:
    """The `soma` member of an answer whose request asked for sources."""
    return {"sources": [{"key": each.key, "text": each.text, "score": each.score} for each in sources]}
