"""Anthropic's Messages API (https://platform.claude.com/docs/en/build-with-claude/streaming)."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

import orjson
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    FinishReason,
    ToolCallDelta,
    Usage,
)
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished, TextDelta

from services.mesh import errors
from services.model.adapters import refusal
from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.sse import EventParser
from services.model.adapters.upstream import Upstream
from services.model.provider import ProviderEvent

_FINISH: "dict[str, FinishReason.ValueType]" = {
    "end_turn": FINISH_REASON_STOP,
    "stop_sequence": FINISH_REASON_STOP,
    "pause_turn": FINISH_REASON_STOP,
    "max_tokens": FINISH_REASON_LENGTH,
    "model_context_window_exceeded": FINISH_REASON_LENGTH,
    "tool_use": FINISH_REASON_TOOL_CALLS,
    "refusal": FINISH_REASON_CONTENT_FILTER,
}
# The HTTP statuses of the error types, which inside a stream come without one.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Anthropic:
    """Provider over the Messages API."""

    lacks = frozenset(
        {
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logprobs",
            "json_object",
            "reasoning_effort",
        }
    )

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def name(self) -> str:
        return self._upstream.name

    async def models(self) -> Sequence[Model]:
        """What `GET /v1/models` lists: the newest small model first, then as it comes, newest first."""
        listing = await self._upstream.get("/v1/models?limit=1000")
        try:
            models = [_model(self.name, entry) for entry in listing["data"]]
        except (KeyError, TypeError, ValueError) as error:
            raise refusal.protocol_error(self.name, "its list of models has another shape") from error
        # When one becomes the default unasked, it is not an expensive one.
        modest = next((model for model in models if "haiku" in model.name), None)
        return sorted(models, key=lambda model: model is not modest)

    async def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a message."""
        answer = _Answer(self.name)
        events = EventParser()
        async with aclosing(self._upstream.stream("/v1/messages", messages_body(request, model))) as chunks:
            async for chunk in chunks:
                for data in events.feed(chunk):
                    for event in answer.read(data):
                        yield event
            for data in events.end():
                for event in answer.read(data):
                    yield event
        yield answer.finished()


class _Answer:
    """One message as its events come in."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._events = 0
        self._done = False
        self._finish: FinishReason.ValueType = FINISH_REASON_STOP
        self._prompt = 0
        self._cached = 0
        self._completion = 0
        # Position among the message's tool calls, by content block; blocks that received no arguments yet.
        self._calls: dict[int, int] = {}
        self._bare: set[int] = set()

    def read(self, data: bytes) -> Sequence[TextDelta | ToolCallDelta]:
        """What one event's data adds.

        Raises:
            MeshError: it is an error, or no event of this API.
        """
        try:
            event = orjson.loads(data)
            self._events += 1
            match event["type"]:
                case "content_block_delta":
                    return self._delta(event["index"], event["delta"])
                case "content_block_start":
                    return self._block(event["index"], event["content_block"])
                case "content_block_stop":
                    return self._block_end(event["index"])
                case "message_start":
                    self._count(event["message"].get("usage") or {})
                case "message_delta":
                    self._count(event.get("usage") or {})
                    if reason := event["delta"].get("stop_reason"):
                        self._finish = _FINISH.get(reason, FINISH_REASON_STOP)
                case "message_stop":
                    self._done = True
                case "error":
                    raise self._error(event.get("error") or {})
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise refusal.protocol_error(self._provider, "an event has another shape") from error
        # Pings, and kinds of events that are yet to come.
        return ()

    def finished(self) -> GenerationFinished:
        """The last event.

        Raises:
            Unavailable: the stream ended without saying that it did.
        """
        if not self._done:
            if self._events == 0:
                raise refusal.protocol_error(self._provider, "its answer holds no event")
            raise refusal.stream_cut(self._provider)
        usage = None
        if self._prompt or self._completion:
            usage = Usage(
                prompt_tokens=self._prompt,
                completion_tokens=self._completion,
                total_tokens=self._prompt + self._completion,
                cached_prompt_tokens=self._cached,
            )
        return GenerationFinished(finish_reason=self._finish, usage=usage)

    def _block(self, index: int, block: dict[str, Any]) -> Sequence[TextDelta | ToolCallDelta]:
        if block["type"] == "text" and block.get("text"):
            return (TextDelta(text=block["text"]),)
        if block["type"] == "tool_use":
            position = self._calls[index] = len(self._calls)
            self._bare.add(index)
            return (ToolCallDelta(index=position, call_id=block["id"], name=block["name"]),)
        return ()

    def _delta(self, index: int, delta: dict[str, Any]) -> Sequence[TextDelta | ToolCallDelta]:
        if delta["type"] == "text_delta":
            return (TextDelta(text=delta["text"]),) if delta["text"] else ()
        if delta["type"] == "input_json_delta" and delta["partial_json"]:
            self._bare.discard(index)
            return (ToolCallDelta(index=self._calls[index], arguments=delta["partial_json"]),)
        return ()

    def _block_end(self, index: int) -> Sequence[ToolCallDelta]:
        if index not in self._bare:
            return ()
        # A call without arguments streams none; callers read JSON.
        self._bare.discard(index)
        return (ToolCallDelta(index=self._calls[index], arguments="{}"),)

    def _count(self, usage: dict[str, Any]) -> None:
        """Counts are cumulative; what was read from or written to a cache was read all the same."""
        read = sum(
            int(usage.get(name) or 0)
            for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        )
        self._prompt = max(self._prompt, read)
        self._cached = max(self._cached, int(usage.get("cache_read_input_tokens") or 0))
        self._completion = max(self._completion, int(usage.get("output_tokens") or 0))

    def _error(self, error: dict[str, Any]) -> errors.MeshError:
        status = _STATUSES.get(str(error.get("type")), 500)
        return refusal.typed(self._provider, status, str(error.get("message", "")))


def _model(provider: str, entry: dict[str, Any]) -> Model:
    model = Model(
        name=str(entry["id"]),
        provider=provider,
        capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
        available=True,
        owned_by="anthropic",
    )
    if made := entry.get("created_at"):
        model.create_time.FromDatetime(datetime.fromisoformat(made))
    return model
