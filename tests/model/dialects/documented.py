"""A vendor's dialect according to its documentation. It does not use the vendor's file, which the tests check."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from tests.model.adapters.anthropic_rules import Rules

MODEL = "chat-model"
TEXT = ("Hello", " there", "!")
THOUGHT = "Let me think."
# Tokens of each answer: of the prompt, of the completion, and the part of the completion that is reasoning.
PROMPT, COMPLETION, REASONING = 11, 7, 4
# The part of the prompt's tokens that came from a cache.
CACHED = 5
# OpenRouter's entry of a thought; its answers have the text of the thought beside it.
DETAILED = {
    "type": "reasoning.text",
    "text": THOUGHT,
    "signature": "s",
    "id": "reasoning-text-1",
    "format": "anthropic-claude-v1",
    "index": 0,
}
CALL = ("call_abcdefghijklmnopqrstuvwxyz", "weather", ('{"city": "', 'Lisbon"}'))


@dataclass(frozen=True)
class Refusal:
    """A refusal of a vendor.

    Attributes:
        message: the text of the body that the caller must get.
        seconds: the seconds until a retry.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    seconds: float | None = None


def openai_error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """OpenAI's error object."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _tool_turns(messages: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Which messages belong to a turn, begun by the user, in which a tool was called."""
    found: list[bool] = []
    begin = 0
    for at in range(1, len(messages) + 1):
        if at == len(messages) or messages[at]["role"] == "user":
            turn = messages[begin:at]
            found += [any(message.get("tool_calls") for message in turn)] * len(turn)
            begin = at
    return found


@dataclass(frozen=True)
class Documented:
    """One vendor's server. The defaults are OpenAI's.

    Attributes:
        base: the path of the documented base URL.
        refuses: members of the body that the server refuses; `messages.name` means the member `name` of each message.
        expects: members that the body must have, with their values; `...` stands for any value.
        call_id: pattern of the ids of tool calls.
        lists: the models that must be found in the list, with their purposes.
        thinking: the member with the thinking; `parts` if it is in parts of the content; empty if models do not think.
        thoughts: the member of an assistant's message in which its thoughts go back, `parts` as above, or empty if the
            server does not take them. Servers of `openai_compatible` know one of two members, and ignore the other.
        thinker: a model of the vendor that is known to think, if its other models refuse thoughts.
        thoughts_of: whether thoughts go back in all messages, or must go back in turns with tool calls, and there only.
        results: whether the result of a tool call may have parts.
        answers_results: whether a message of the user directly after the result of a tool call is refused.
        signature: the signature of the thought behind a tool call, if the server signs it and wants it back.
        reasoned: whether the usage counts the tokens of the thinking.
        cached: the members of the usage that count tokens from a cache.
        usage: position of the usage: in its own event, in the last event of the choice, or in the member `x_groq`.
        before: bytes at the beginning of a stream.
        broken: an event that ends a stream with an error.
    """

    base: str = "/v1"
    key: tuple[str, str] = ("Authorization", "Bearer sk-1")
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    chat: str = "/chat/completions"
    models: str = "/models"
    models_query: Mapping[str, str] = field(default_factory=dict)
    embeddings: str = ""
    embeds: Mapping[str, Any] = field(default_factory=dict)
    dimensions: str = ""
    tokens: bool = False
    refuses: frozenset[str] = frozenset()
    expects: Mapping[str, Any] = field(default_factory=dict)
    call_id: str = r".{1,40}"
    tools: bool = True
    listing: Any = None
    lists: Mapping[str, str] = field(default_factory=lambda: {MODEL: "chat"})
    thinking: str = ""
    thoughts: str = ""
    thinker: str = ""
    thoughts_of: Literal["all", "tool_turns"] = "all"
    signature: str = ""
    results: Literal["text", "parts"] = "text"
    answers_results: bool = False
    usage: Literal["own", "end", "x_groq"] = "own"
    reasoned: bool = False
    cached: Mapping[str, Any] = field(default_factory=dict)
    before: bytes = b""
    broken: bytes = b""
    repeats: bool = False
    bad: Refusal = Refusal(400, openai_error("too long", "invalid_request_error"), message="too long")
    unauthorized: Refusal = Refusal(401, openai_error("Incorrect API key sk-1", "invalid_request_error"))
    limited: Refusal = Refusal(
        429, openai_error("slow down", "requests"), {"Retry-After": "7"}, message="slow down", seconds=7.0
    )

    def listed(self) -> Any:
        """The body of the list of models."""
        if self.listing is not None:
            return self.listing
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "lab"}]}

    def wrong_with(self, body: Mapping[str, Any]) -> list[str]:
        """The faults for which the server would refuse the body of a chat request."""
        found = [f"{name} is not known" for name in self.refuses if name in body]
        for message in body.get("messages", ()):
            found += [f"messages.{each} is not known" for each in message if f"messages.{each}" in self.refuses]
            ids = [message.get("tool_call_id"), *(call["id"] for call in message.get("tool_calls") or ())]
            found += [f"the id {each} is none" for each in ids if each and not re.fullmatch(self.call_id, each)]
        found += [f"the message {at} {what}" for at, what in self._history(body.get("messages", ()))]
        for name, value in self.expects.items():
            if name not in body or (value is not ... and body[name] != value):
                found.append(f"{name} is {body.get(name)!r}, not {value!r}")
        return found

    def _history(self, messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str]]:
        """The faults of the order of messages, and of the thoughts and the signatures in them."""
        in_tool_turn = _tool_turns(messages)
        waiting: list[str] = []
        for at, message in enumerate(messages):
            if message["role"] == "system" and at:
                yield at, "is a system message, and not the first"
            if message["role"] == "tool":
                if message["tool_call_id"] not in waiting:
                    yield at, "is the result of no call"
                else:
                    waiting.remove(message["tool_call_id"])
                if not isinstance(message["content"], str) and self.results == "text":
                    yield at, "is a result that is no text"
                continue
            if self.answers_results and message["role"] == "user" and at and messages[at - 1]["role"] == "tool":
                yield at, "is a user's message after the result of a tool call"
            if waiting:
                yield at, "comes before the results of calls"
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
            if message["role"] != "assistant":
                continue
            member = "content" if self.thoughts == "parts" else self.thoughts
            for name in ("reasoning", "reasoning_content", "reasoning_details"):
                if name in message and name != member and self.thoughts != "both":
                    yield at, f"has {name}"
            if self.thoughts_of == "tool_turns" and (member in message) != in_tool_turn[at]:
                yield at, f"has {member}" if member in message else f"has no {member}"
            if self.signature and message.get("tool_calls"):
                extra = message["tool_calls"][0].get("extra_content", {})
                if not extra.get("google", {}).get("thought_signature"):
                    yield at, "has a call without a signature"

    def answer(self, text: Sequence[str] = TEXT, calls: bool = False, thinks: bool = False) -> bytes:
        """The events of an answer."""
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if thinks:
            deltas.append(self._thought())
        deltas += [{"content": each} for each in text]
        if calls:
            call_id, name, pieces = CALL
            opening = {"index": 0, **self._call(call_id, name, "")}
            deltas.append({"tool_calls": [opening]})
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
        events, said = [], ""
        for delta in deltas:
            content = delta.get("content")
            said += content if isinstance(content, str) else ""
            more = {"message": {"role": "assistant", "content": said}} if self.repeats else {}
            events.append(self._event([{"index": 0, "delta": delta, "finish_reason": None, **more}]))
        finish = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}
        if self.repeats:
            finish |= {"delta": {"role": "assistant", "content": ""}, "message": {"role": "assistant", "content": said}}
        counts = self._counts(thinks)
        match self.usage:
            case "own":
                events += [self._event([finish]), self._event([], usage=counts)]
            case "end":
                events.append(self._event([finish], usage=counts))
            case "x_groq":
                events.append(self._event([finish], x_groq={"id": "req_1", "usage": counts}))
        return self.before + b"".join(events) + b"data: [DONE]\n\n"

    def whole(self, text: Sequence[str] = TEXT, calls: bool = False, thinks: bool = False) -> bytes:
        """The answer as one document instead of a stream."""
        message: dict[str, Any] = {"role": "assistant", **(self._thought() if thinks else {})}
        said = "".join(text)
        if self.thinking == "parts" and thinks:
            message["content"] += [{"type": "text", "text": said}] if said else []
        else:
            message["content"] = said or None
        if calls:
            call_id, name, pieces = CALL
            message["tool_calls"] = [self._call(call_id, name, "".join(pieces))]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        return orjson.dumps(
            {"id": "c", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": self._counts(thinks)}
        )

    def _call(self, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        call: dict[str, Any] = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        if self.signature:
            call["extra_content"] = {"google": {"thought_signature": self.signature}}
        return call

    def _thought(self) -> dict[str, Any]:
        if self.thinking == "reasoning_details":
            return {"reasoning": THOUGHT, "reasoning_details": [DETAILED], "content": ""}
        if self.thinking == "parts":
            return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}]}
        return {self.thinking: THOUGHT, "content": ""}

    def _counts(self, thinks: bool) -> dict[str, Any]:
        counts: dict[str, Any] = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION}
        counts["total_tokens"] = PROMPT + COMPLETION
        counts |= self.cached
        if thinks and self.reasoned:
            counts["completion_tokens_details"] = {"reasoning_tokens": REASONING}
        return counts

    def _event(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
        event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices, **more}
        return b"data: %s\n\n" % orjson.dumps(event)


@dataclass(frozen=True)
class Messages(Documented):
    """A server of Anthropic's messages."""

    def wrong_with(self, body: Mapping[str, Any]) -> list[str]:
        """The refusal of the API, if it would refuse the body."""
        rules = Rules()
        rules.signed = {"s": THOUGHT}
        return [said] if (said := rules.refusal(body)) else []

    def answer(self, text: Sequence[str] = TEXT, calls: bool = False, thinks: bool = False) -> bytes:
        """The events of a message."""
        usage = {"input_tokens": PROMPT, "output_tokens": 1}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m", "usage": usage}}]
        blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        if thinks:
            thought = [{"type": "thinking_delta", "thinking": THOUGHT}, {"type": "signature_delta", "signature": "s"}]
            blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, thought))
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": each} for each in text]))
        if calls:
            call_id, name, pieces = CALL
            opening = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            blocks.append((opening, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]))
        for index, (block, deltas) in enumerate(blocks):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        reason = "tool_use" if calls else "end_turn"
        written = {"output_tokens": COMPLETION}
        events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": written})
        events += [{"type": "ping"}, {"type": "message_stop"}]
        return b"".join(b"event: %s\ndata: %s\n\n" % (each["type"].encode(), orjson.dumps(each)) for each in events)

    def whole(self, text: Sequence[str] = TEXT, calls: bool = False, thinks: bool = False) -> bytes:
        """The answer as one document instead of a stream."""
        content: list[dict[str, Any]] = []
        if thinks:
            content.append({"type": "thinking", "thinking": THOUGHT, "signature": "s"})
        if text:
            content.append({"type": "text", "text": "".join(text)})
        if calls:
            call_id, name, pieces = CALL
            content.append({"type": "tool_use", "id": call_id, "name": name, "input": orjson.loads("".join(pieces))})
        return orjson.dumps(
            {
                "type": "message",
                "content": content,
                "stop_reason": "tool_use" if calls else "end_turn",
                "usage": {"input_tokens": PROMPT, "output_tokens": COMPLETION},
            }
        )
