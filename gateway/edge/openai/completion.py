"""The shapes of a chat completion: one object, or chunks with a common prefix that is serialised once.

OpenAI's API reference, "The chat completion object" and "The chat completion chunk object".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    Citation,
    Delta,
    ReasoningDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer

from gateway.edge.openai.thoughts import details_of, text_of
from services.messages.answer import Answer

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
FINISH_REASONS: dict[int, str] = {
    FINISH_REASON_STOP: "stop",
    FINISH_REASON_LENGTH: "length",
    FINISH_REASON_TOOL_CALLS: "tool_calls",
    FINISH_REASON_CONTENT_FILTER: "content_filter",
}


@dataclass(frozen=True, slots=True)
class ChatForm:
    """The shapes of a chat completion; `thoughts` says whether it has those of the model."""

    thoughts: bool
    prefix: ClassVar[str] = "chatcmpl-"

    def whole(
        self,
        identity: Mapping[str, Any],
        choices: Sequence[Mapping[str, Any]],
        usage: Usage,
        extension: Mapping[str, Any] | None,
    ) -> bytes:
        """The `chat.completion` object."""
        answer = {
            "id": identity["id"],
            "object": "chat.completion",
            "created": identity["created"],
            "model": identity["model"],
            "choices": choices,
            "usage": usage_object(usage),
            "service_tier": "default",
            "system_fingerprint": None,
        }
        if extension is not None:
            answer["soma"] = extension
        return orjson.dumps(answer)

    def choice(self, index: int, answer: ChatAnswer) -> dict[str, Any]:
        """One choice of a completion."""
        return choice(index, answer.delta, answer.finished.finish_reason, thoughts=self.thoughts)

    def chunks(self, identity: Mapping[str, Any], choices: int, include_usage: bool) -> "Chunks":
        """The chunks of a streamed completion."""
        return Chunks(identity, choices=choices, include_usage=include_usage, thoughts=self.thoughts)


def choice(index: int, delta: Delta, finish_reason: int, *, thoughts: bool) -> dict[str, Any]:
    """One choice of a completion, from a whole answer; with or without the model's thoughts."""
    answer = Answer()
    answer.add(delta)
    text, refusal = ("", delta.text) if delta.refusal else (delta.text, "")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text,
        "refusal": refusal or None,
        "annotations": [annotation(each) for each in delta.citations],
    }
    if delta.tool_calls or refusal:
        message["content"] = text or None
    if delta.tool_calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    if thoughts and delta.reasoning:
        found = answer.thoughts()
        message["reasoning_content"] = text_of(found)
        if details := details_of(found):
            message["reasoning_details"] = details
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(delta.logprobs, delta.refusal) if delta.logprobs else None,
        "finish_reason": finish_name(finish_reason),
    }


def annotation(citation: Citation) -> dict[str, Any]:
    """OpenAI's annotation of a message; as at OpenRouter, `content` quotes the page if the provider does."""
    place: dict[str, Any] = {
        "start_index": citation.start,
        "end_index": citation.end,
        "url": citation.url,
        "title": citation.title,
    }
    if citation.quote:
        place["content"] = citation.quote
    return {"type": "url_citation", "url_citation": place}


def extra_content(signature: str) -> dict[str, Any]:
    """The member of a tool call in which Gemini's signature of a thought goes to a client and comes back."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function, **extra_content(call.signature)}


class Chunks:
    """Makes the server-sent events of one streamed completion."""

    __slots__ = ("_after_delta", "_before_delta", "_last_thought", "_prefix", "_thoughts", "_usage_field")

    def __init__(self, identity: Mapping[str, Any], *, choices: int, include_usage: bool, thoughts: bool) -> None:
        # The thoughts of each choice, for `reasoning_details`; None if the client wants no thoughts.
        self._thoughts = [Answer() for _ in range(choices)] if thoughts else None
        self._last_thought: dict[int, int] = {}
        head = orjson.dumps(
            {
                "id": identity["id"],
                "object": "chat.completion.chunk",
                "created": identity["created"],
                "model": identity["model"],
                "service_tier": "default",
                "system_fingerprint": None,
            }
        )
        self._prefix = b"data: " + head[:-1]
        self._before_delta = [self._prefix + b',"choices":[{"index":%d,"delta":' % index for index in range(choices)]
        self._usage_field = b',"usage":null' if include_usage else b""
        self._after_delta = b',"logprobs":null,"finish_reason":null}]' + self._usage_field + b"}\n\n"

    def first(self, index: int) -> bytes:
        """The first chunk, which has the role."""
        return self._before_delta[index] + b'{"role":"assistant","content":"","refusal":null}' + self._after_delta

    def delta(self, index: int, delta: Delta) -> bytes:
        """A piece of the answer: its thoughts, its text, its tool calls, each in a chunk of its own; may be empty."""
        # Nearly all pieces are a text.
        if delta.text and len(delta.ListFields()) == 1:
            return self._before_delta[index] + b'{"content":' + orjson.dumps(delta.text) + b"}" + self._after_delta
        chunks = []
        thoughts = delta.reasoning
        if thoughts and self._thoughts is not None:
            self._thoughts[index].add(Delta(reasoning=thoughts))
            if thought := self._thought(index, thoughts):
                chunks.append(self._chunk(index, {"reasoning_content": thought}))
        if delta.text or delta.logprobs:
            chunks.append(self._text(index, delta))
        if delta.citations:
            chunks.append(self._chunk(index, {"annotations": [annotation(each) for each in delta.citations]}))
        chunks += [self._tool_call(index, piece) for piece in delta.tool_calls]
        return b"".join(chunks)

    def _thought(self, index: int, pieces: Iterable[ReasoningDelta]) -> str:
        """The text of pieces of thoughts, with an empty line before the next thought, as in `text_of`."""
        texts = []
        for piece in pieces:
            if piece.text:
                if self._last_thought.get(index, piece.index) != piece.index:
                    texts.append("\n\n")
                self._last_thought[index] = piece.index
                texts.append(piece.text)
        return "".join(texts)

    def _chunk(self, index: int, delta: Mapping[str, Any]) -> bytes:
        return self._before_delta[index] + orjson.dumps(delta) + self._after_delta

    def _text(self, index: int, delta: Delta) -> bytes:
        """A piece of the answer or of a refusal."""
        after = self._after_delta
        if delta.logprobs:
            tokens = orjson.dumps(_logprobs(delta.logprobs, delta.refusal))
            after = b',"logprobs":' + tokens + b',"finish_reason":null}]' + self._usage_field + b"}\n\n"
        name = b'{"refusal":' if delta.refusal else b'{"content":'
        return self._before_delta[index] + name + orjson.dumps(delta.text) + b"}" + after

    def _tool_call(self, index: int, piece: ToolCallDelta) -> bytes:
        """A piece of a tool call; the first piece has its id and name."""
        function: dict[str, str] = {"arguments": piece.arguments}
        call: dict[str, Any] = {"index": piece.index}
        if piece.call_id or piece.name:
            function = {"name": piece.name, "arguments": piece.arguments}
            call |= {"id": piece.call_id, "type": "function"}
        call |= {"function": function, **extra_content(piece.signature)}
        return self._chunk(index, {"tool_calls": [call]})

    def last(self, index: int, finish_reason: int, extension: Mapping[str, Any] | None) -> bytes:
        """The last chunk of a choice, which has its finish reason, after a chunk with its `reasoning_details`, if any.

        Thoughts with signatures are sent whole, so that a client can send them back without joining pieces.
        """
        details = details_of(self._thoughts[index].thoughts()) if self._thoughts is not None else []
        before = self._chunk(index, {"reasoning_details": details}) if details else b""
        reason = b'{},"logprobs":null,"finish_reason":"%s"}]' % finish_name(finish_reason).encode()
        added = b"" if extension is None else b',"soma":' + orjson.dumps(extension)
        return before + self._before_delta[index] + reason + self._usage_field + added + b"}\n\n"

    def usage(self, usage: Usage) -> bytes:
        """The chunk with the usage, which has no choices."""
        return self._prefix + b',"choices":[],"usage":' + orjson.dumps(usage_object(usage)) + b"}\n\n"


def finish_name(reason: int) -> str:
    """OpenAI's name of a finish reason."""
    return FINISH_REASONS.get(reason, "stop")


def usage_object(usage: Usage) -> dict[str, Any]:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_prompt_tokens,
            "cache_write_tokens": usage.cache_write_prompt_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprob_objects(logprobs: Iterable[TokenLogprob], no_bytes: list[int] | None = None) -> list[dict[str, Any]]:
    """OpenAI's tokens with their log probabilities; `no_bytes` is used if the provider sends no bytes."""

    def token_object(each: TokenLogprob) -> dict[str, Any]:
        return {"token": each.token, "logprob": each.logprob, "bytes": list(each.utf8) or no_bytes}

    return [{**token_object(each), "top_logprobs": [token_object(other) for other in each.top]} for each in logprobs]


def _logprobs(logprobs: Iterable[TokenLogprob], refusal: bool) -> dict[str, Any]:
    tokens = logprob_objects(logprobs)
    return {"content": None, "refusal": tokens} if refusal else {"content": tokens, "refusal": None}
