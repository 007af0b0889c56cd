"""Reads a chat completion of OpenAI, or of a server with its protocol, in chunks or in one piece."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    Delta,
    FinishReason,
    ReasoningDelta,
    TokenLogprob,
    Usage,
)
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.model.adapters import refusal
from services.model.adapters.answer import AnswerReader, Pieces
from services.model.adapters.counts import count, member, usage_of
from services.model.adapters.openai_citations import StreamedCitations
from services.model.adapters.openai_thoughts import THOUGHT_PARTS, StreamedThoughts, google_thought
from services.model.adapters.tool_calls import StreamedCalls

_log = structlog.get_logger(__name__)

# Finish reasons that are not failures, in lower case: OpenAI's, and those of servers that forward other vendors' words.
_FINISH: "Mapping[str, FinishReason.ValueType]" = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"), FINISH_REASON_STOP),
    **dict.fromkeys(("length", "max_tokens", "model_length"), FINISH_REASON_LENGTH),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), FINISH_REASON_TOOL_CALLS),
    **dict.fromkeys(
        ("content_filter", "refusal", "sensitive", "safety", "recitation", "blocklist", "prohibited_content"),
        FINISH_REASON_CONTENT_FILTER,
    ),
}


# Members of a choice with the stop sequence that ended the text: vLLM's, then SGLang's.
_STOPPED = ("stop_reason", "matched_stop")


class ChatAnswer(AnswerReader):
    """Reads one chat completion."""

    _event = "a chunk"

    def __init__(self, provider: str, stops: Sequence[str] = ()) -> None:
        super().__init__(provider)
        self._stops = stops
        self._usage: Usage | None = None
        self._calls: StreamedCalls | None = None
        self._thoughts: StreamedThoughts | None = None
        self._citations: StreamedCitations | None = None
        self._stop = ""

    def finished(self) -> tuple[Pieces, GenerationFinished]:
        """The pieces that were held back, and the final event.

        Raises:
            Unavailable: a tool call has no name, or the answer ended to call tools, but there is no call.
        """
        if self._finish == FINISH_REASON_TOOL_CALLS and self._calls is None:
            raise self._no_call()
        halves = self._joiner.flush() if self._joiner is not None else {}
        held: list[Delta] = []
        if self._thoughts is not None and (thoughts := self._thoughts.flush(halves)):
            held.append(Delta(reasoning=thoughts))
        held.extend(
            Delta(text=text, refusal=key == "refusal") for key in ("content", "refusal") if (text := halves.get(key))
        )
        if self._citations is not None and (citations := self._citations.flush()):
            held.append(Delta(citations=citations))
        try:
            if self._calls is not None and (calls := self._calls.flush(halves)):
                held.append(Delta(tool_calls=calls))
        except ValueError as error:
            raise refusal.protocol_error(self._provider, str(error)) from error
        return held, GenerationFinished(finish_reason=self._finish, usage=self._usage, stop_sequence=self._stop)

    def _closes(self, data: bytes) -> bool:
        if data.strip() != b"[DONE]":
            return False
        self._mark()
        return True

    def _read_whole(self, found: dict[str, Any]) -> Pieces:
        if not found.get("choices"):
            raise refusal.reported_error(self._provider, found.get("error") or found)
        choice = found["choices"][0]
        if not (choice.get("message") or choice.get("delta")):
            raise ValueError("there is no message")
        return self._read(found)

    def _read(self, chunk: dict[str, Any]) -> Pieces:
        if error := chunk.get("error"):
            raise refusal.reported_error(self._provider, error)
        choices = chunk.get("choices")
        if choices is None and (chunk.get("object") == "error" or "detail" in chunk):
            raise refusal.reported_error(self._provider, chunk)
        self.begun = True
        # Groq sends the usage in a separate member.
        if usage := chunk.get("usage") or member(chunk.get("x_groq"), "usage"):
            self._count(usage)
        if "citations" in chunk or "search_results" in chunk:
            self._places().listed(chunk)
        return self._choice(choices[0]) if choices else ()

    def _choice(self, choice: dict[str, Any]) -> Pieces:
        found: list[Delta] = []
        # An answer in one piece has a message, and some servers send one in the last chunk.
        delta = choice.get("delta") or choice.get("message") or {}
        if delta.get("reasoning_content") or delta.get("reasoning") or delta.get("reasoning_details"):
            self._think(found, self._thinking().read(delta, self._joiner))
        if content := delta.get("content"):
            logprobs = _logprobs(choice["logprobs"]) if choice.get("logprobs") else ()
            if type(content) is not str:
                self._parts(found, content, logprobs)
            elif "extra_content" in delta and (thought := google_thought(delta, content)) is not None:
                self._think(found, self._thinking().text(thought, self._joiner))
            else:
                self._say(found, content, logprobs)
        if text := delta.get("refusal"):
            if self._joiner is not None:
                text = self._joiner.join("refusal", text)
            logprobs = _logprobs(choice["logprobs"]) if choice.get("logprobs") else ()
            found.append(Delta(text=text, logprobs=logprobs, refusal=True))
        if (annotations := delta.get("annotations")) and (citations := self._places().annotated(annotations)):
            found.append(Delta(citations=citations))
        calls = delta.get("tool_calls")
        if not calls and (function := delta.get("function_call")):
            calls = ({"function": function},)
        if calls:
            if self._calls is None:
                self._calls = StreamedCalls()
            if self._thoughts is not None:
                self._thoughts.close()
            if pieces := self._calls.add(calls, self._joiner):
                found.append(Delta(tool_calls=pieces))
        if error := choice.get("error"):
            raise refusal.reported_error(self._provider, error)
        if reason := choice.get("finish_reason"):
            self._end(reason, _FINISH.get(reason.lower()))
            ended = [choice.get(name) for name in _STOPPED]
            self._stop = next((stop for stop in self._stops if stop in ended), "")
            if usage := choice.get("usage"):
                self._count(usage)
        return found

    def _say(self, found: list[Delta], text: str, logprobs: Sequence[TokenLogprob] = ()) -> None:
        """Add text of the answer."""
        if self._thoughts is not None:
            self._thoughts.close()
        if self._joiner is not None:
            text = self._joiner.join("content", text)
        if text:
            found.append(Delta(text=text, logprobs=logprobs) if logprobs else Delta(text=text))

    def _think(self, found: list[Delta], thoughts: Sequence[ReasoningDelta]) -> None:
        """Add pieces of thoughts."""
        if thoughts:
            found.append(Delta(reasoning=thoughts))

    def _thinking(self) -> StreamedThoughts:
        self._thoughts = self._thoughts or StreamedThoughts()
        return self._thoughts

    def _places(self) -> StreamedCitations:
        self._citations = self._citations or StreamedCitations()
        return self._citations

    def _parts(self, found: list[Delta], content: Any, logprobs: Sequence[TokenLogprob]) -> None:
        """Add content that is a list of parts."""
        for part in content if isinstance(content, list) else (content,):
            if isinstance(part, str):
                self._say(found, part, logprobs)
            elif part.get("type") in THOUGHT_PARTS:
                self._think(found, self._thinking().part(part, self._joiner))
            elif part.get("type") == "reference":
                found.extend(Delta(citations=[each]) for each in self._places().reference(part))
            elif (text := part.get("text") or part.get("refusal")) is not None:
                self._say(found, text, logprobs)
            else:
                _log.warning("provider_part_left_out", provider=self._provider, type=str(part.get("type"))[:64])
                continue
            logprobs = ()

    def _count(self, usage: Any) -> None:
        """Take token counts.

        They are cumulative, and some servers send them with each chunk; a missing count changes none.
        """
        if not isinstance(usage, dict):
            return
        before = self._usage or Usage()
        prompt = count(usage.get("prompt_tokens")) or count(usage.get("input_tokens"))
        completion = count(usage.get("completion_tokens")) or count(usage.get("output_tokens"))
        if prompt and not completion:
            completion = count(count(usage.get("total_tokens")) - prompt)
        read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
        self._usage = usage_of(
            prompt or before.prompt_tokens,
            completion or before.completion_tokens,
            # The second is DeepSeek's name for this count.
            count(member(read, "cached_tokens"))
            or count(usage.get("prompt_cache_hit_tokens"))
            or before.cached_prompt_tokens,
            count(member(written, "reasoning_tokens")) or before.reasoning_tokens,
            count(member(read, "cache_write_tokens")) or before.cache_write_prompt_tokens,
        )


def _logprobs(logprobs: Any) -> Sequence[TokenLogprob]:
    """The probabilities of tokens; empty when the server sends another shape, because the text is more important."""
    try:
        return [
            _logprob(token, top=[_logprob(other) for other in token.get("top_logprobs") or ()])
            for token in logprobs.get("content") or logprobs.get("refusal") or ()
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _logprob(token: dict[str, Any], top: Sequence[TokenLogprob] = ()) -> TokenLogprob:
    return TokenLogprob(
        token=token["token"], logprob=float(token["logprob"]), utf8=bytes(token.get("bytes") or ()), top=top
    )
