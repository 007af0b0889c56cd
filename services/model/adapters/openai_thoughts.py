"""Reads the thoughts of a model that OpenAI-compatible servers stream, in the members that each has for them."""

from collections.abc import Iterator
from typing import Any

from soma.model.v1.message_pb2 import ReasoningDelta

from services.model.adapters.counts import member
from services.model.adapters.surrogates import SurrogateJoiner
from services.model.json_text import object_text

# Types of content parts that are thoughts.
THOUGHT_PARTS = ("thinking", "reasoning")
# Members of a delta with the text of a thought; a server that sends both sends the same text in both.
_TEXTS = ("reasoning_content", "reasoning")
# Members of an entry of `reasoning_details` that have fields of their own in the contract.
_FIELDS = ("text", "summary", "data", "signature")
# Members of a content part that have fields of their own in the contract.
_PART = ("type", "thinking", "reasoning", "text")
_TAGS = ("<thought>", "</thought>")


class StreamedThoughts:
    """The thoughts of one answer, numbered in the order in which they begin.

    Text without an entry of `reasoning_details` continues the last thought, unless text of the answer or a tool call
    came in between.
    """

    def __init__(self) -> None:
        self._count = 0
        self._open: int | None = None
        self._by_entry: dict[tuple[str, str], int] = {}
        self._entries: dict[int, dict[str, Any]] = {}

    def read(self, delta: dict[str, Any], joiner: SurrogateJoiner | None) -> list[ReasoningDelta]:
        """The pieces that one delta adds. What has another shape is left out: the answer is more important."""
        found: list[ReasoningDelta] = []
        said = False
        details = delta.get("reasoning_details")
        for entry in details if isinstance(details, list) else ():
            if not isinstance(entry, dict):
                continue
            piece = self._detailed(entry, joiner)
            said = said or bool(piece.text)
            found.append(piece)
        if said:
            return found
        text = next((text for name in _TEXTS if isinstance(text := delta.get(name), str) and text), "")
        return [*found, *self.text(text, joiner)]

    def part(self, part: dict[str, Any], joiner: SurrogateJoiner | None) -> list[ReasoningDelta]:
        """The pieces that a content part adds which is a thought: its text, and its further members."""
        found = self.text(_said(part), joiner)
        more = {name: value for name, value in part.items() if name not in _PART}
        if more and self._open is not None:
            found.append(ReasoningDelta(index=self._open, details=object_text(more)))
        return found

    def text(self, text: str, joiner: SurrogateJoiner | None) -> list[ReasoningDelta]:
        """The pieces that the next text of the open thought adds."""
        if not text:
            return []
        if self._open is None:
            self._open = self._begin()
        return self._piece(self._open, text, joiner)

    def close(self) -> None:
        """End the open thought, because something else of the answer came."""
        self._open = None

    def flush(self, held: dict[Any, str]) -> list[ReasoningDelta]:
        """The last pieces: halves of characters that were held back."""
        return [
            ReasoningDelta(index=index, text=text)
            for index in range(self._count)
            if (text := held.get(("thought", index), ""))
        ]

    def _detailed(self, entry: dict[str, Any], joiner: SurrogateJoiner | None) -> ReasoningDelta:
        """The piece of an entry of `reasoning_details`: its text, its signature, and the rest when it grows."""
        index = self._index_of(entry)
        piece = ReasoningDelta(
            index=index, signature=_string(entry.get("signature")), redacted=_string(entry.get("data"))
        )
        for each in self._piece(index, _string(entry.get("text")) or _string(entry.get("summary")), joiner):
            piece.text = each.text
        known = self._entries[index]
        more = {name: value for name, value in entry.items() if name not in _FIELDS and known.get(name) != value}
        if more:
            known.update(more)
            piece.details = object_text(known)
        return piece

    def _index_of(self, entry: dict[str, Any]) -> int:
        """Which thought an entry belongs to: the one of its type and index, unless it has another id."""
        key = (str(entry.get("type")), str(entry.get("index")))
        known = self._by_entry.get(key)
        if known is not None:
            given = entry.get("id")
            if given is None or self._entries[known].get("id") in (None, given):
                return known
        self._by_entry[key] = index = self._begin()
        self._entries[index] = {}
        return index

    def _begin(self) -> int:
        self._count += 1
        return self._count - 1

    def _piece(self, index: int, text: str, joiner: SurrogateJoiner | None) -> list[ReasoningDelta]:
        if joiner is not None and text:
            text = joiner.join(("thought", index), text)
        return [ReasoningDelta(index=index, text=text)] if text else []


def _said(part: dict[str, Any]) -> str:
    """The text of a content part that is a thought: Mistral has a list of texts in it, others have one text."""
    said = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
    return said if isinstance(said, str) else "".join(_texts(said if isinstance(said, list) else ()))


def google_thought(delta: dict[str, Any], content: str) -> str | None:
    """The thought that Gemini sends as content, without its tags; None if the content belongs to the answer."""
    if member(member(delta.get("extra_content"), "google"), "thought") is not True:
        return None
    return content.removeprefix(_TAGS[0]).removesuffix(_TAGS[1])


def _texts(parts: Any) -> Iterator[str]:
    for part in parts:
        yield _string(part) or _string(member(part, "text"))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
