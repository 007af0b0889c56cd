"""The protocols of model vendors, as their servers speak them: answers, errors and lists of models, and faults."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

import orjson


class Fault(Enum):
    """What may go wrong with a provider. A MID fault comes after the first delta, an END fault after the last frame."""

    NONE = auto()
    HANG = auto()
    HANG_MID = auto()
    RESET = auto()
    RESET_MID = auto()
    CUT_MID = auto()
    TORN_MID = auto()
    NOT_HTTP = auto()
    GARBAGE = auto()
    GARBAGE_MID = auto()
    NOT_A_STREAM = auto()
    ERROR_MID = auto()
    BAD_REQUEST = auto()
    UNAUTHORIZED = auto()
    UNKNOWN_MODEL = auto()
    RATE_LIMITED = auto()
    OVERLOADED = auto()
    BROKEN = auto()
    TRICKLE = auto()
    RESET_END = auto()
    HANG_END = auto()


@dataclass
class Behaviour:
    """How the server answers the next requests.

    Attributes:
        deltas: pieces of the text; each is sent in a frame of its own.
        refusal: pieces of a refusal to answer, if the protocol distinguishes it from an answer.
        tool_calls: (id, name, pieces of the arguments) of each call; the calls follow the text.
        finish: the vendor's finish reason; if empty, the usual one.
        usage: whether the answer has the numbers of tokens.
        pause: seconds before each frame except the first.
        chunk: number of bytes in each write; 0 writes one frame at a time.
        flood: write all frames at once.
        streams_anyway: stream the answer although it was asked for in one piece.
        sent: frames that are sent unchanged instead of those above.
        status: the HTTP status of the answer.
        until: repeat each frame with text until this is set.
        retry_after: the header `Retry-After` of a refusal that may be repeated.
        message: the message of a refusal.
    """

    deltas: Sequence[str] = ("Hello", " there", "!")
    refusal: Sequence[str] = ()
    tool_calls: Sequence[tuple[str, str, Sequence[str]]] = ()
    finish: str = ""
    usage: bool = True
    pause: float = 0.0
    chunk: int = 0
    flood: bool = False
    streams_anyway: bool = False
    sent: Sequence[bytes] = ()
    status: int = 200
    until: asyncio.Event | None = None
    fault: Fault = Fault.NONE
    retry_after: str = "7"
    message: str = "the fake was told to refuse"


class Dialect(Protocol):
    """The protocol of a vendor."""

    @property
    def path(self) -> str: ...

    @property
    def errors(self) -> Mapping[Fault, tuple[int, str]]: ...

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """The events of an answer, each with its end."""
        ...

    def whole(self, behaviour: Behaviour, model: str) -> dict[str, Any]:
        """The document of an answer that was asked for in one piece."""
        ...

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """The body of an error; `kind` is the vendor's code for it."""
        ...

    def error_frame(self) -> bytes:
        """The event for an error inside a stream."""
        ...

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """The body of `GET /v1/models`."""
        ...


_OPENAI_ERRORS: Mapping[Fault, tuple[int, str]] = {
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
    Fault.UNAUTHORIZED: (401, "invalid_api_key"),
    Fault.UNKNOWN_MODEL: (404, "model_not_found"),
    Fault.RATE_LIMITED: (429, "rate_limit_exceeded"),
    Fault.OVERLOADED: (503, "server_error"),
    Fault.BROKEN: (500, "server_error"),
}


class OpenAIDialect:
    """OpenAI's chat completions, as OpenAI, vLLM and the path `/v1` of Ollama stream them."""

    path = "/v1/chat/completions"
    errors = _OPENAI_ERRORS

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """The events: role, text, tool calls, finish reason, usage, `[DONE]`."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas.extend({"content": text} for text in behaviour.deltas)
        deltas.extend({"refusal": text} for text in behaviour.refusal)
        for index, (call_id, name, pieces) in enumerate(behaviour.tool_calls):
            opening: dict[str, Any] = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [{"index": index, **opening}]})
            deltas.extend({"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces)
        finish = behaviour.finish or ("tool_calls" if behaviour.tool_calls else "stop")
        choices: list[list[dict[str, Any]]] = [
            [{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas
        ]
        choices.append([{"index": 0, "delta": {}, "finish_reason": finish}])
        chunks: list[dict[str, Any]] = [self._chunk(model, choice, None) for choice in choices]
        if behaviour.usage:
            count = len(behaviour.deltas)
            usage = {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count}
            chunks.append(self._chunk(model, [], usage))
        return [b"data: %s\n\n" % orjson.dumps(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]

    def whole(self, behaviour: Behaviour, model: str) -> dict[str, Any]:
        """OpenAI's chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(behaviour.deltas) or None}
        if behaviour.refusal:
            message["refusal"] = "".join(behaviour.refusal)
        if behaviour.tool_calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
                for call_id, name, pieces in behaviour.tool_calls
            ]
        finish = behaviour.finish or ("tool_calls" if behaviour.tool_calls else "stop")
        count = len(behaviour.deltas)
        usage = {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": usage if behaviour.usage else None,
        }

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """OpenAI's error object."""
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def error_frame(self) -> bytes:
        """The event that vLLM sends for an error."""
        return b'data: {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}\n\n'

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """OpenAI's list object."""
        data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "fake"} for name in models]
        return {"object": "list", "data": data}

    def _chunk(self, model: str, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
            "choices": choices,
            "usage": usage,
        }


_ANTHROPIC_ERRORS: Mapping[Fault, tuple[int, str]] = {
    Fault.BAD_REQUEST: (400, "invalid_request_error"),
    Fault.UNAUTHORIZED: (401, "authentication_error"),
    Fault.UNKNOWN_MODEL: (404, "not_found_error"),
    Fault.RATE_LIMITED: (429, "rate_limit_error"),
    Fault.OVERLOADED: (529, "overloaded_error"),
    Fault.BROKEN: (500, "api_error"),
}


class AnthropicDialect:
    """Anthropic's Messages API, as it streams answers."""

    path = "/v1/messages"
    errors = _ANTHROPIC_ERRORS

    def frames(self, behaviour: Behaviour, model: str) -> list[bytes]:
        """The events: a block of text, a block for each tool call, the stop reason, the end."""
        start = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
        usage = {"input_tokens": 11, "output_tokens": 1} if behaviour.usage else {}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**start, "usage": usage}}]
        if behaviour.deltas:
            events += self._block(0, {"type": "text", "text": ""}, "text_delta", "text", behaviour.deltas)
            events.insert(2, {"type": "ping"})
        for index, (call_id, name, pieces) in enumerate(behaviour.tool_calls, start=1):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            events += self._block(index, block, "input_json_delta", "partial_json", pieces)
        finish = behaviour.finish or ("tool_use" if behaviour.tool_calls else "end_turn")
        written = {"output_tokens": len(behaviour.deltas)} if behaviour.usage else {}
        events.append({"type": "message_delta", "delta": {"stop_reason": finish}, "usage": written})
        events.append({"type": "message_stop"})
        return [b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events]

    def whole(self, behaviour: Behaviour, model: str) -> dict[str, Any]:
        """A message."""
        content: list[dict[str, Any]] = []
        if behaviour.deltas:
            content.append({"type": "text", "text": "".join(behaviour.deltas)})
        for call_id, name, pieces in behaviour.tool_calls:
            given = orjson.loads("".join(pieces) or "{}")
            content.append({"type": "tool_use", "id": call_id, "name": name, "input": given})
        usage = {"input_tokens": 11, "output_tokens": len(behaviour.deltas)} if behaviour.usage else {}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": behaviour.finish or ("tool_use" if behaviour.tool_calls else "end_turn"),
            "usage": usage,
        }

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """Anthropic's error object."""
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_frame(self) -> bytes:
        """The event for an overload after the answer began."""
        return b"event: error\ndata: %s\n\n" % orjson.dumps(self.error("overloaded_error", "Overloaded"))

    def listing(self, models: Sequence[str]) -> dict[str, Any]:
        """Anthropic's page of models."""
        data = [{"type": "model", "id": name, "created_at": "2025-02-19T00:00:00Z"} for name in models]
        return {"data": data, "has_more": False}

    def _block(
        self, index: int, block: dict[str, Any], kind: str, name: str, pieces: Sequence[str]
    ) -> list[dict[str, Any]]:
        deltas = [
            {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: piece}} for piece in pieces
        ]
        start = {"type": "content_block_start", "index": index, "content_block": block}
        return [start, *deltas, {"type": "content_block_stop", "index": index}]
