"""The message object of an answer, and what it has in common with the events of a stream."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_TOOL_CALLS,
    Citation,
    Delta,
    Reasoning,
    Usage,
)
from soma.orchestrator.v1.chat_service_pb2 import ChatAnswer, ChatFinished, ChatStarted

from gateway.edge.anthropic.thoughts import Thoughts
from gateway.edge.provider_params import members_of
from services.messages.answer import Answer
from services.messages.place import place_of

_REASONS: Mapping[int, str] = {
    FINISH_REASON_LENGTH: "max_tokens",
    FINISH_REASON_TOOL_CALLS: "tool_use",
    FINISH_REASON_CONTENT_FILTER: "refusal",
}
Block = dict[str, Any]


def message(started: ChatStarted, content: list[Block], ended: Mapping[str, Any], usage: Mapping[str, Any]) -> Block:
    """The message object; at the beginning of a stream, without content and end."""
    return {
        "id": f"msg_{started.chat_id}",
        "type": "message",
        "role": "assistant",
        "model": started.model,
        "content": content,
        **ended,
        "usage": usage,
    }


def whole_message(answer: ChatAnswer, thoughts: Thoughts | None) -> bytes:
    """The JSON of a whole answer; `thoughts` is None if it has none."""
    delta, finished = answer.delta, answer.finished
    content = _content(delta, answer.started.provider, thoughts)
    ended = end(finished, refused=delta.refusal, called=bool(delta.tool_calls))
    return orjson.dumps(message(answer.started, content, ended, usage_object(finished.usage)))


def end(finished: ChatFinished, *, refused: bool, called: bool) -> dict[str, Any]:
    """Why an answer ended."""
    reason = _REASONS.get(finished.finish_reason, "end_turn")
    if reason == "end_turn":
        # Some servers say that they stopped when they called tools. A client calls them only if the reason says so.
        reason = "refusal" if refused else "tool_use" if called else reason
        if finished.stop_sequence and reason == "end_turn":
            reason = "stop_sequence"
    sequence = finished.stop_sequence if reason == "stop_sequence" else None
    details = {"type": "refusal", "category": None, "explanation": None} if reason == "refusal" else None
    return {"stop_reason": reason, "stop_sequence": sequence, "stop_details": details}


NOT_ENDED: Mapping[str, Any] = {"stop_reason": None, "stop_sequence": None, "stop_details": None}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Anthropic's `usage`: tokens of the cache are not among the `input_tokens`."""
    cached, written = usage.cached_prompt_tokens, usage.cache_write_prompt_tokens
    found: dict[str, Any] = {
        "input_tokens": max(0, usage.prompt_tokens - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        found["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return found


def citation_object(citation: Citation) -> dict[str, Any]:
    """A citation as Anthropic sent it; that of another provider is one of a page of the web."""
    if (found := members_of(citation.details)) and "cited_text" in found:
        return found
    return {
        "type": "web_search_result_location",
        "url": citation.url,
        "title": citation.title or None,
        "cited_text": citation.quote,
        "encrypted_index": "",
    }


def thought_block(thought: Reasoning, thoughts: Thoughts) -> Block:
    """The block of a whole thought."""
    if not thought.text and thought.redacted:
        return {"type": "redacted_thinking", "data": thoughts.data(thought)}
    return {"type": "thinking", "thinking": thought.text, "signature": thoughts.signature(thought)}


def call_block(call_id: str, name: str, arguments: Any, signature: str) -> Block:
    """The block of a call; `signature` is Gemini's, and comes back with the call."""
    extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments, **extra}


def _content(delta: Delta, provider: str, thoughts: Thoughts | None) -> list[Block]:
    """The blocks of a whole answer: its thoughts where they came, and a text for each part with citations."""
    answer = Answer()
    answer.add(delta)
    calls = [call_block(each.call_id, each.name, members_of(each.arguments), each.signature) for each in answer.calls]
    blocks: list[Block] = []
    said = called = 0
    for thought in answer.thoughts(provider) if thoughts is not None else ():
        characters, number = place_of(thought)
        blocks += _texts(delta, said, max(said, characters))
        blocks += calls[called:number]
        blocks.append(thought_block(thought, thoughts))  # type: ignore[arg-type]  # the loop has no turn without it
        said, called = max(said, characters), max(called, number)
    return [*blocks, *_texts(delta, said, len(delta.text)), *calls[called:]]


def _texts(delta: Delta, begin: int, end: int) -> Iterable[Block]:
    """The text from one character to another, cut where citations begin and end."""
    if begin >= end:
        return
    by_place: dict[tuple[int, int], list[Citation]] = {}
    for each in delta.citations:
        if begin <= each.start < each.end <= end:
            by_place.setdefault((each.start, each.end), []).append(each)
    at = begin
    for (first, last), citations in sorted(by_place.items(), key=lambda item: item[0]):
        if first < at:
            # It overlaps with the one before, whose text has been written.
            continue
        if first > at:
            yield {"type": "text", "text": delta.text[at:first], "citations": None}
        yield {"type": "text", "text": delta.text[first:last], "citations": list(map(citation_object, citations))}
        at = last
    # A provider that does not say where its citations belong means the whole text.
    rest = [citation_object(each) for each in delta.citations if not each.end] if end == len(delta.text) else []
    if at < end:
        yield {"type": "text", "text": delta.text[at:end], "citations": rest or None}
