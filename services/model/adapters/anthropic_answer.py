"""Reads a message of Anthropic's Messages API, in events or in one piece."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
    Citation,
    Delta,
    FinishReason,
    ReasoningDelta,
    ToolCallDelta,
)
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.messages.place import details_at
from services.model.adapters import refusal
from services.model.adapters.answer import AnswerReader, Pieces
from services.model.adapters.anthropic_blocks import SaidBlocks
from services.model.adapters.counts import count, member, usage_of
from services.model.adapters.surrogates import repaired
from services.model.adapters.tool_calls import new_call_id
from services.model.json_text import object_text

_PAUSED = "pause_turn"
_FINISH: "Mapping[str, FinishReason.ValueType]" = {
    "end_turn": FINISH_REASON_STOP,
    "stop_sequence": FINISH_REASON_STOP,
    # The answer is not complete; a caller cannot continue it.
    _PAUSED: FINISH_REASON_LENGTH,
    "max_tokens": FINISH_REASON_LENGTH,
    "model_context_window_exceeded": FINISH_REASON_LENGTH,
    "tool_use": FINISH_REASON_TOOL_CALLS,
    "refusal": FINISH_REASON_CONTENT_FILTER,
}
_READ = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(slots=True, eq=False)
class _Block:
    """A content block that has begun.

    Attributes:
        kind: its type.
        call_id: the id of a call, as it came.
        position: its position among the tool calls, or among the thoughts.
        begin: for a text, the number of characters of the answer before it.
        bare: the input in the start of a call whose input has not been streamed yet.
        signature: pieces of the signature of a thought.
        details: the place of a thought.
        citations: citations of a text, as they came.
    """

    kind: str
    call_id: Any = None
    position: int = -1
    begin: int = 0
    bare: str | None = None
    signature: list[str] = field(default_factory=list)
    details: str = ""
    citations: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Counts:
    """Tokens of a message."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    written: int = 0

    def add(self, usage: Mapping[str, Any]) -> None:
        """Take counts, which are cumulative. Tokens read from or written to a cache are prompt tokens too."""
        self.prompt = max(self.prompt, sum(count(usage.get(name)) for name in _READ))
        self.completion = max(self.completion, count(usage.get("output_tokens")))
        self.cached = max(self.cached, count(usage.get("cache_read_input_tokens")))
        self.written = max(self.written, count(usage.get("cache_creation_input_tokens")))
        thinking = count(member(usage.get("output_tokens_details"), "thinking_tokens"))
        self.reasoning = max(self.reasoning, thinking)

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.reasoning + other.reasoning,
            self.written + other.written,
        )


class MessageAnswer(AnswerReader):
    """Reads one answer: a message, or several if the model pauses its turn.

    Args:
        keeps: whether to keep what the message says as it came, so that a paused turn can be continued.
    """

    _event = "an event"

    def __init__(self, provider: str, *, keeps: bool = False) -> None:
        super().__init__(provider)
        self._said = SaidBlocks() if keeps else None
        self._counts = _Counts()
        self._earlier = _Counts()
        # Whether the start of the message came, before anything else of it.
        self._started = False
        # The open blocks, by their index.
        self._blocks: dict[Any, _Block] = {}
        self._ids: set[str] = set()
        self._thoughts = 0
        # Characters of the text so far.
        self._length = 0
        self._reason = ""
        self._stop = ""

    @property
    def paused(self) -> bool:
        """Whether the model paused its turn, and waits to be asked again with what it said."""
        return self._reason == _PAUSED

    def resume(self) -> list[dict[str, Any]]:
        """What the message said, in blocks; the next message that is read continues the answer."""
        said = self._said.take() if self._said is not None else []
        self._earlier += self._counts
        self._counts = _Counts()
        self._blocks.clear()
        self._reason = ""
        self.begun = self.ended = self._reasoned = self._done = self._started = False
        return said

    def finished(self) -> tuple[Pieces, GenerationFinished]:
        """The pieces that were held back, and the final event.

        Raises:
            Unavailable: the message ended to call tools, but there is no call.
        """
        if self._finish == FINISH_REASON_TOOL_CALLS and not self._ids:
            raise self._no_call()
        held = [piece for index in list(self._blocks) for piece in self._close(index)]
        # Texts whose block did not begin.
        held.extend(Delta(text=half) for half in (self._joiner.flush().values() if self._joiner is not None else ()))
        counts = self._earlier + self._counts
        usage = None
        if counts.prompt or counts.completion:
            usage = usage_of(counts.prompt, counts.completion, counts.cached, counts.reasoning, counts.written)
        return held, GenerationFinished(finish_reason=self._finish, usage=usage, stop_sequence=self._stop)

    def _read_whole(self, found: dict[str, Any]) -> Pieces:
        if "content" not in found:
            raise refusal.reported_error(self._provider, found.get("error") or found)
        if error := found.get("error"):
            raise refusal.reported_error(self._provider, error)
        pieces: list[Delta] = []
        for index, block in enumerate(found["content"] or ()):
            pieces.extend(self._open(index, block))
            pieces.extend(self._close(index))
        self._take_counts(found.get("usage"))
        pieces.extend(self._take_end(found))
        return pieces

    def _read(self, event: dict[str, Any]) -> Pieces:
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event.get("index"), event["delta"])
            case "content_block_start":
                self.begun = True
                return self._open(event.get("index"), event["content_block"])
            case "content_block_stop":
                return self._close(event.get("index"))
            case "message_start":
                if self._started and (self._blocks or self._length or self._ids or self._thoughts):
                    raise refusal.protocol_error(self._provider, "a second message begins before the end of the first")
                self.begun = self._started = True
                self._take_counts(event["message"].get("usage"))
            case "message_delta":
                self.begun = True
                self._take_counts(event.get("usage"))
                return self._take_end(event.get("delta") or {})
            case "message_stop":
                self._mark()
            case kind if event.get("error") or kind in ("error", None):
                raise refusal.reported_error(self._provider, event.get("error") or event)
            case kind if type(kind) is not str:
                raise TypeError
        # Pings, and types of events that a newer API may add.
        return ()

    def _open(self, index: Any, start: dict[str, Any]) -> Pieces:
        """Begin a block. In a whole answer its start has everything."""
        kind, known = start["type"], self._blocks.get(index)
        if type(kind) is not str or not kind:
            raise TypeError
        held: Pieces = ()
        if known is not None:
            if known.kind == kind == "tool_use" and known.call_id == start.get("id"):
                # The server sent it twice.
                return ()
            # The server does not say where blocks end.
            held = self._close(index)
        self._blocks[index] = block = _Block(kind, start.get("id"))
        return [*held, *self._begin(index, block, start)]

    def _begin(self, index: Any, block: _Block, start: dict[str, Any]) -> Pieces:
        """The pieces in the start of a block."""
        if self._said is not None:
            self._said.begin(index, start)
        match block.kind:
            case "text":
                block.begin = self._length
                if isinstance(citations := start.get("citations"), list):
                    block.citations.extend(citations)
                return self._text(index, start.get("text"))
            case "thinking":
                block.position = self._next_thought()
                block.signature.append(_string(start.get("signature")))
                block.details = details_at(self._length, len(self._ids))
                return self._thought(index, block, start.get("thinking"))
            case "redacted_thinking":
                position, details = self._next_thought(), details_at(self._length, len(self._ids))
                redacted = ReasoningDelta(index=position, redacted=_string(start.get("data")), details=details)
                return (Delta(reasoning=[redacted]),)
            case "tool_use":
                if not (name := start["name"]):
                    raise ValueError("a call has no name")
                block.position = len(self._ids)
                call_id = str(start.get("id") or "")
                if not call_id or call_id in self._ids:
                    call_id = new_call_id()
                self._ids.add(call_id)
                block.bare = object_text(start.get("input") or {})
                return (Delta(tool_calls=[ToolCallDelta(index=block.position, call_id=call_id, name=name)]),)
        return ()

    def _delta(self, index: Any, delta: dict[str, Any]) -> Pieces:
        if self._said is not None:
            self._said.add(index, delta)
        match delta["type"]:
            case "text_delta":
                return self._text(index, delta["text"])
            case "thinking_delta":
                return self._thought(index, self._open_block(index), delta["thinking"])
            case "signature_delta":
                self._open_block(index).signature.append(_string(delta.get("signature")))
            case "citations_delta":
                self._open_block(index).citations.append(delta.get("citation"))
            case "input_json_delta" if piece := delta["partial_json"]:
                block = self._open_block(index)
                if block.kind == "tool_use":
                    block.bare = None
                    if self._joiner is not None:
                        piece = self._joiner.join(index, piece)
                    return (_arguments(block.position, piece),)
            case kind if type(kind) is not str:
                raise TypeError
        return ()

    def _open_block(self, index: Any) -> _Block:
        """The block of a piece.

        Raises:
            Unavailable: it has not begun, or has ended; so a part of the answer is missing.
        """
        block = self._blocks.get(index)
        if block is None:
            raise refusal.protocol_error(self._provider, "a piece of a block came without its start, or after its end")
        return block

    def _text(self, index: Any, text: str | None) -> Pieces:
        if self._joiner is not None and text:
            text = self._joiner.join(index, text)
        if not text:
            return ()
        self._length += len(text)
        return (Delta(text=text),)

    def _thought(self, index: Any, block: _Block, text: str | None) -> Pieces:
        if self._joiner is not None and text:
            text = self._joiner.join(index, text)
        return (Delta(reasoning=[ReasoningDelta(index=block.position, text=text)]),) if text else ()

    def _next_thought(self) -> int:
        self._thoughts += 1
        return self._thoughts - 1

    def _close(self, index: Any) -> Pieces:
        """What is known only at the end of a block."""
        block = self._blocks.pop(index, None)
        if block is None:
            return ()
        # The end of its text, if that breaks off in a character.
        half = self._joiner.end(index) if self._joiner is not None else ""
        match block.kind:
            case "text":
                self._length += len(half)
                citations = [
                    _citation(each, block.begin, self._length) for each in block.citations if isinstance(each, dict)
                ]
                return (Delta(text=half, citations=citations),) if half or citations else ()
            case "thinking":
                signature = "".join(block.signature)
                if not (half or signature):
                    return ()
                thought = ReasoningDelta(index=block.position, text=half, signature=signature, details=block.details)
                return (Delta(reasoning=[thought]),)
            case "tool_use":
                # The input of a call that was not streamed: `{}` when the call has none.
                rest = half if block.bare is None else block.bare
                return (_arguments(block.position, rest),) if rest else ()
        return ()

    def _take_counts(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._counts.add(usage)

    def _take_end(self, ended: Mapping[str, Any]) -> Pieces:
        """Take the reason of the end; the pieces are the reason of a refusal that came without a text."""
        reason = ended.get("stop_reason")
        if not reason:
            return ()
        self._end(reason, _FINISH.get(reason))
        self._reason = reason
        self._stop = _string(ended.get("stop_sequence"))
        why = _string(member(ended.get("stop_details"), "explanation")) if reason == "refusal" else ""
        return (Delta(text=repaired(why), refusal=True),) if why and not self._length else ()


def _arguments(position: int, text: str) -> Delta:
    return Delta(tool_calls=[ToolCallDelta(index=position, arguments=text)])


def _citation(found: Mapping[str, Any], start: int, end: int) -> Citation:
    """A citation of any type of location: in a document, a search result, or a page of the web."""
    source = _string(found.get("url") or found.get("source"))
    return Citation(
        url=repaired(source) if source.startswith(("http://", "https://")) else "",
        title=repaired(_string(found.get("title") or found.get("document_title"))),
        quote=repaired(_string(found.get("cited_text"))),
        start=start,
        end=end,
        details=object_text(found),
    )


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
