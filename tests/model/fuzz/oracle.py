"""Says what a caller must get for the bytes that a vendor's server sent. It shares no code with the adapters.

It reads the whole body at once and only with Python's own JSON, by these rules:

- An answer is complete when the server reported its end: a reason (`finish_reason`, `stop_reason`), or the end mark.
- Nothing after an end mark that came after a reason belongs to the answer. After a reason, or after an end mark without
  one, more of the answer or an error may come.
- An event before the end that cannot be read, or that reports an error, makes the answer a failure.
- After the end, data that is no JSON object does not belong to the answer. Token counts are not part of the answer.
- Where the protocol does not say what a server means, an answer and a failure are both right.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from soma.model.v1.message_pb2 import (
    FINISH_REASON_CONTENT_FILTER,
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALLS,
)

_FINISHES = {
    "stop": FINISH_REASON_STOP,
    "length": FINISH_REASON_LENGTH,
    "tool_calls": FINISH_REASON_TOOL_CALLS,
    # The word of servers that forward others' answers.
    "tool_call": FINISH_REASON_TOOL_CALLS,
    "end_turn": FINISH_REASON_STOP,
    "max_tokens": FINISH_REASON_LENGTH,
    "tool_use": FINISH_REASON_TOOL_CALLS,
    "refusal": FINISH_REASON_CONTENT_FILTER,
}
# What an end without a reason may be called.
_UNNAMED = frozenset({FINISH_REASON_STOP, FINISH_REASON_TOOL_CALLS})


@dataclass
class Call:
    """A tool call as the server sent it."""

    key: Any = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Said:
    """What a server said.

    Attributes:
        ends: the finish reasons that a caller may get.
        vague_calls: whether the protocol leaves open to which call a piece belongs.
        vague_thoughts: whether a thought has a shape that may be left out.
    """

    text: str = ""
    refusal: str = ""
    thoughts: str = ""
    calls: list[Call] = field(default_factory=list)
    ends: frozenset[int] = _UNNAMED
    vague_calls: bool = False
    vague_thoughts: bool = False


@dataclass
class Verdict:
    """What a caller may get.

    Attributes:
        answers: the complete answers that it may get; without one it must get an error.
        may_fail: whether it may get an error, although there is an answer.
        sent: all text that the server sent; with an error, a caller gets the beginning of it.
    """

    answers: list[Said]
    may_fail: bool
    sent: str


class Unreadable(Exception):
    """An event does not have the shape of the protocol."""


def verdict(protocol: str, body: bytes, *, clean: bool) -> Verdict:
    """The verdict for this body; `clean` says whether the connection carried it to its announced end."""
    reader = Messages() if protocol == "anthropic" else Completions()
    if body.lstrip(b" \t\r\n\xef\xbb\xbf")[:1] in (b"{", b"["):
        return _of_document(reader, body, clean)
    for name, data, terminated in _events(body):
        reader.take(name, data, terminated)
    return reader.verdict()


def _of_document(reader: "Reader", body: bytes, clean: bool) -> Verdict:
    try:
        document = json.loads(body)
        if isinstance(document, list) and len(document) == 1:
            document = document[0]
        reader.document(document)
    except (ValueError, Unreadable):
        reader.failed = True
    reader.maybe = reader.maybe or not clean
    return reader.verdict()


def _events(body: bytes) -> Iterator[tuple[str, str, bool]]:
    """The events of a stream: name, data, and whether a blank line ended it (HTML standard, 9.2.6).

    A line that is a JSON object, or one named `error`, is an event of the name `error`: some servers send an error so.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    *blocks, last = re.sub(r"\r\n|\r", "\n", text).split("\n\n")
    for number, block in enumerate([*blocks, last]):
        name, data = "", []
        bare: str | None = None
        for line in block.split("\n"):
            member, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if member == "data":
                data.append(value)
            elif member == "event":
                name = value
            elif member == "error" or line.startswith("{"):
                bare = line if line.startswith("{") else value
        found = []
        if joined := "\n".join(data):
            found.append((name, joined))
        elif name == "error":
            # The beginning of an error.
            bare = bare or ""
        if bare is not None:
            # A whole error counts also for the rest of its event.
            found.insert(0 if _is_whole(bare) else len(found), ("bare", bare))
        yield from ((*each, number < len(blocks)) for each in found)


class Reader(ABC):
    """What is common to the protocols."""

    def __init__(self) -> None:
        self.said = Said()
        # Whether a reason of the end came, and whether the end mark came.
        self.ended = False
        self.marked = False
        # Whether the end mark came after a reason.
        self.settled = False
        self.failed = False
        # Whether an error is right too.
        self.maybe = False

    def take(self, name: str, data: str, terminated: bool) -> None:
        """Take the next event."""
        if self.settled:
            return
        if data.strip() == "[DONE]" and isinstance(self, Completions):
            self.mark()
            return
        try:
            event = json.loads(data.encode("utf-8", "surrogateescape"))
        except ValueError:
            if name == "bare" or (name == "error" and not terminated):
                # The beginning of an error.
                self.maybe = True
            self.failed = self.failed or name == "error" or not (self.ended or self.marked)
            return
        if name == "error":
            self.failed = True
        elif not isinstance(event, dict):
            self.failed = self.failed or not (self.ended or self.marked)
        else:
            if name == "bare" and not event.get("error"):
                self.maybe = True
            try:
                self.event(event)
            except Unreadable:
                self.failed = True

    @abstractmethod
    def event(self, event: dict[str, Any]) -> None:
        """Take a JSON object."""

    @abstractmethod
    def document(self, document: Any) -> None:
        """Take an answer in one piece."""

    def verdict(self) -> Verdict:
        """The verdict on what was taken."""
        said = self.said
        said.text, said.refusal, said.thoughts = map(_shown, (said.text, said.refusal, said.thoughts))
        for call in said.calls:
            call.name, call.arguments = _shown(call.name), _shown(call.arguments)
        nameless = any(not each.name for each in said.calls)
        self.maybe = self.maybe or self.said.vague_calls
        # It ended to call tools, but there is no call.
        incomplete = self.said.ends == {FINISH_REASON_TOOL_CALLS} and not self.said.calls
        complete = (
            not incomplete
            and (self.ended or self.marked)
            and not self.failed
            and (not nameless or self.said.vague_calls)
        )
        return Verdict([self.said] if complete else [], self.maybe, self.said.text)

    def mark(self) -> None:
        """Take the end mark."""
        self.marked, self.settled = True, self.ended

    def end(self, reason: Any) -> None:
        """Take the reason of the end."""
        if reason is None:
            return
        if not reason:
            self.maybe = True
        elif not isinstance(reason, str):
            raise Unreadable
        elif reason not in _FINISHES:
            self.failed = True
        else:
            self.ended = True
            self.said.ends = frozenset({_FINISHES[reason]})

    def member(self, holder: dict[str, Any], name: str, kind: type) -> Any:
        """A member of this type, or None.

        An empty value of another type is nothing, or a failure.

        Raises:
            Unreadable: it has another type.
        """
        value = holder.get(name)
        if value is None or type(value) is kind:
            return value
        if value:
            raise Unreadable
        self.maybe = True
        return None


class Completions(Reader):
    """OpenAI's chat completions, and those of servers with its protocol."""

    def __init__(self) -> None:
        super().__init__()
        self._by_index: dict[Any, Call] = {}
        self._latest: Call | None = None

    def document(self, document: Any) -> None:
        """Take a chat completion."""
        if not isinstance(document, dict) or document.get("error") or not document.get("choices"):
            raise Unreadable
        choices = self.member(document, "choices", list)
        if not (isinstance(choices[0], dict) and (choices[0].get("message") or choices[0].get("delta"))):
            # There is no answer in it.
            raise Unreadable
        self.event(document)
        # The document is whole, also when it does not say why the answer ended.
        self.maybe = self.maybe or not self.ended
        self.ended = True

    def event(self, event: dict[str, Any]) -> None:
        """Take a chunk."""
        if event.get("error") or event.get("object") == "error":
            self.failed = True
            return
        choices = self.member(event, "choices", list)
        if not choices:
            return
        choice = choices[0]
        if not isinstance(choice, dict):
            self.maybe = True
            if choice:
                raise Unreadable
            return
        if choice.get("error"):
            self.failed = True
            return
        delta = self.member(choice, "delta", dict) or self.member(choice, "message", dict) or {}
        self._think(delta)
        self._content(delta)
        self.said.refusal += self.member(delta, "refusal", str) or ""
        entries = self.member(delta, "tool_calls", list) or ()
        for entry in entries:
            self._call(entry, len(entries))
        self.end(choice.get("finish_reason"))

    def _think(self, delta: dict[str, Any]) -> None:
        details, said = delta.get("reasoning_details"), ""
        if details is not None and not isinstance(details, list):
            self.said.vague_thoughts = True
        for entry in details if isinstance(details, list) else ():
            texts = [entry.get(name) for name in ("text", "summary")] if isinstance(entry, dict) else [0]
            if any(text is not None and not isinstance(text, str) for text in texts):
                self.said.vague_thoughts = True
            said += next((text for text in texts if isinstance(text, str) and text), "")
        plain = [delta.get(name) for name in ("reasoning_content", "reasoning")]
        if any(text is not None and not isinstance(text, str) for text in plain):
            self.said.vague_thoughts = True
        self.said.thoughts += said or next((text for text in plain if isinstance(text, str) and text), "")

    def _content(self, delta: dict[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, str):
            google = delta.get("extra_content")
            google = google.get("google") if isinstance(google, dict) else None
            if isinstance(google, dict) and google.get("thought") is True:
                self.said.thoughts += content.removeprefix("<thought>").removesuffix("</thought>")
            else:
                self.said.text += content
            return
        if content is None:
            return
        if not content:
            self.maybe = True
            return
        for part in content if isinstance(content, list) else [content]:
            self._part(part)

    def _part(self, part: Any) -> None:
        if isinstance(part, str):
            self.said.text += part
            return
        if not isinstance(part, dict):
            raise Unreadable
        if part.get("type") in ("thinking", "reasoning"):
            self._thought_part(part.get("thinking"))
        elif part.get("type") != "reference":
            text = self.member(part, "text", str)
            self.said.text += text or ""
            # A kind of content that nobody knows.
            self.maybe = self.maybe or text is None

    def _thought_part(self, thinking: Any) -> None:
        if isinstance(thinking, str):
            self.said.thoughts += thinking
            return
        for part in thinking if isinstance(thinking, list) else (0,):
            text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                self.said.thoughts += text
            else:
                self.said.vague_thoughts = True

    def _call(self, entry: Any, together: int) -> None:
        """Take a piece of a call."""
        if not isinstance(entry, dict):
            raise Unreadable
        function = self.member(entry, "function", dict) or {}
        arguments = function.get("arguments")
        call_id, index = entry.get("id"), entry.get("index")
        if any(call.name and call.call_id == call_id for call in self.said.calls):
            # It is known already.
            name = named if isinstance(named := function.get("name"), str) else ""
            self.maybe = self.maybe or bool(named and not name)
        else:
            name = self.member(function, "name", str) or ""
        if not isinstance(call_id, str | None):
            self.said.vague_calls, call_id = True, str(call_id)
        if type(index) is not int and index is not None:
            self.said.vague_calls, index = True, None
        if not isinstance(arguments, str | None):
            # Some servers send an object.
            self.maybe = self.maybe or not (arguments and isinstance(arguments, dict))
            arguments = json.dumps(arguments, separators=(",", ":"), ensure_ascii=False) if arguments else ""
        call = self._find(call_id or "", index, name, together)
        call.name = call.name or name
        if not (arguments and arguments == call.arguments and _is_whole(arguments)):
            call.arguments += arguments or ""
        self._latest = call

    def _find(self, call_id: str, index: int | None, name: str, together: int) -> Call:
        """The call of a piece.

        A name with a new id, or without an id, begins a call. A piece with neither belongs to the call with its index.
        """
        known = next((call for call in self.said.calls if call_id and call.call_id == call_id), None)
        if known is not None:
            late = bool(name) and not known.name
            self.said.vague_calls = self.said.vague_calls or late or bool(name and known.key != index)
            return known
        last = self._by_index.get(index) if index is not None else self._latest
        if not call_id and not name and last is not None:
            self.said.vague_calls = self.said.vague_calls or (index is None and together > 1)
            return last
        if last is not None and (not last.name or not call_id or not name):
            # It may be a name or an id that comes late, or the same name again.
            self.said.vague_calls = True
        if not name and not call_id:
            self.said.vague_calls = True
        call = Call(index, call_id)
        self.said.calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call


class Messages(Reader):
    """Anthropic's messages."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False
        self._blocks: dict[Any, tuple[str, Call | None]] = {}
        # Calls whose input was in the start of their block, so far.
        self._bare: dict[Any, Call] = {}
        self._closed: set[Any] = set()

    def document(self, document: Any) -> None:
        """Take a message."""
        if not isinstance(document, dict) or document.get("error") or "content" not in document:
            raise Unreadable
        for index, block in enumerate(self.member(document, "content", list) or ()):
            self._start(index, block)
        if not document.get("content"):
            # A message without content is an answer only if the model had nothing to say.
            self.maybe = True
        self.end(document.get("stop_reason"))
        self.maybe = self.maybe or not self.ended
        self.ended = True

    def event(self, event: dict[str, Any]) -> None:
        """Take an event."""
        kind, index = event.get("type"), event.get("index")
        if "index" in event and type(index) is not int:
            self.maybe = True
        if event.get("error") or kind == "error":
            self.failed = True
            return
        if not isinstance(kind, str):
            # Nobody can say what it is.
            raise Unreadable
        match kind:
            case "message_start":
                content = bool(self.said.text or self.said.calls or self.said.thoughts)
                if content and self._begun:
                    # Another message.
                    self.failed = True
                self.maybe = self.maybe or content or self._begun
                self._begun = True
                if not isinstance(event.get("message"), dict):
                    self.maybe = True
            case "content_block_start":
                self._start(_key(index), event.get("content_block"))
            case "content_block_delta":
                self._delta(_key(index), event.get("delta"))
            case "content_block_stop":
                self._closed.add(_key(index))
            case "message_delta":
                self.end((self.member(event, "delta", dict) or {}).get("stop_reason"))
            case "message_stop":
                # Its end mark; without a reason it may be a failure.
                self.maybe = self.maybe or not self.ended
                self.mark()

    def _start(self, index: Any, block: Any) -> None:
        if not isinstance(block, dict) or not isinstance(block.get("type"), str) or not block["type"]:
            raise Unreadable
        if index in self._blocks and index not in self._closed:
            # A second start of an open block.
            self.maybe = True
            known = self._blocks[index][1]
            if known is not None and block.get("id") == known.call_id:
                return
        self._closed.discard(index)
        kind, call = block["type"], None
        if kind == "text":
            self.said.text += self.member(block, "text", str) or ""
        elif kind == "thinking":
            self.said.thoughts += self.member(block, "thinking", str) or ""
        elif kind == "tool_use":
            name, given = block.get("name"), block.get("input")
            if not (isinstance(name, str) and name):
                raise Unreadable
            if given and not isinstance(given, dict):
                self.maybe = True
            call_id = block.get("id")
            if call_id is not None and not isinstance(call_id, str):
                self.said.vague_calls = True
            again = next((each for each in self.said.calls if call_id and each.call_id == call_id), None)
            if again is not None:
                self.said.vague_calls = True
            call = Call(index, call_id if isinstance(call_id, str) else "", name, json.dumps(given or {}))
            self._bare[index] = call
            self.said.calls.append(call)
        self._blocks[index] = kind, call

    def _delta(self, index: Any, delta: Any) -> None:
        if not isinstance(delta, dict) or not isinstance(delta.get("type"), str):
            raise Unreadable
        kind, call = self._blocks.get(index, ("", None))
        if not kind or index in self._closed:
            self.maybe = True
        match delta["type"]:
            case "text_delta":
                if kind not in ("text", ""):
                    self.maybe = True
                if delta.get("text") is None:
                    self.maybe = True
                self.said.text += self.member(delta, "text", str) or ""
            case "thinking_delta":
                if kind != "thinking":
                    self.maybe = self.said.vague_thoughts = True
                if delta.get("thinking") is None:
                    self.maybe = True
                self.said.thoughts += self.member(delta, "thinking", str) or ""
            case "signature_delta" if not isinstance(delta.get("signature"), str):
                self.maybe = True
            case "citations_delta" if not isinstance(delta.get("citation"), dict):
                self.maybe = True
            case "input_json_delta" if kind and call is None:
                # The input of a block that is no call of the caller's tools.
                self.maybe = True
            case "input_json_delta":
                if delta.get("partial_json") is None:
                    self.maybe = True
                piece = self.member(delta, "partial_json", str) or ""
                if call is not None:
                    if piece and self._bare.pop(index, None) is not None:
                        call.arguments = ""
                    call.arguments += piece
                elif piece:
                    # The beginning of this call is missing.
                    raise Unreadable


def _shown(text: str) -> str:
    """The text with U+FFFD for each half of a character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _key(index: Any) -> Any:
    return index if isinstance(index, int | str | None) else repr(index)


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False
