"""Cuts facts and turns into passages: texts that are short enough to embed, cut between sentences if possible."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

# The most characters that the model service embeds.
MAX_CHARACTERS = 512
# A text this short means little without the key it was stored under: "teal" is found as "favourite colour: teal".
NEEDS_HEADING = 64
_MAX_HEADING = MAX_CHARACTERS - NEEDS_HEADING - 2

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[.!?…][\"'”’)\]])\s+|(?<=[。！？])|\n+")
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text, with a heading if the text does not say what it is about."""

    heading: str
    text: str

    @property
    def whole(self) -> str:
        """Heading and text as one, as it is embedded and quoted; at most `MAX_CHARACTERS`."""
        return f"{self.heading}: {self.text}" if self.heading and self.text else self.heading or self.text


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, in order, without the white space between them."""
    return [stripped for piece in _SENTENCE_END.split(text) if (stripped := piece.strip())]


def cut(text: str, limit: int = MAX_CHARACTERS) -> list[str]:
    """Pieces of at most `limit` characters: as many whole sentences as fit; a longer sentence is cut between words."""
    pieces: list[str] = []
    current = ""
    for part in (part for sentence in sentences(text) for part in _parts(sentence, limit)):
        if current and len(current) + 1 + len(part) <= limit:
            current = f"{current} {part}"
        else:
            if current:
                pieces.append(current)
            current = part
    return [*pieces, current] if current else pieces


def passages_of(key: str, value: Json) -> list[Passage]:
    """Passages of a fact, at least one."""
    text = readable(value).replace("\0", "\ufffd")
    if len(text) >= NEEDS_HEADING:
        pieces = cut(text)
        if pieces:
            return [Passage("", piece) for piece in pieces]
    words = " ".join(_SEPARATORS.sub(" ", key).split()) or key
    return [Passage(words[:_MAX_HEADING], text[:NEEDS_HEADING].strip())]


def readable(value: Json) -> str:
    """A value as text: a string is unchanged; any other value becomes one line for each scalar, behind its path."""
    return value if isinstance(value, str) else "\n".join(_lines(value, ""))


def _lines(value: Json, name: str) -> Iterator[str]:
    match value:
        case dict():
            for inner_name, inner in value.items():
                spoken = inner_name.replace("_", " ")
                yield from _lines(inner, f"{name} {spoken}" if name else spoken)
        case list() if any(isinstance(inner, list | dict) for inner in value):
            for inner in value:
                yield from _lines(inner, name)
        case list():
            yield _line(name, ", ".join(_scalar(inner) for inner in value))
        case _:
            yield _line(name, _scalar(value))


def _line(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text


def _scalar(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def _parts(sentence: str, limit: int) -> Iterator[str]:
    while len(sentence) > limit:
        end = sentence.rfind(" ", 0, limit + 1)
        if end <= 0:
            end = limit
        yield sentence[:end].rstrip()
        sentence = sentence[end:].lstrip()
    if sentence:
        yield sentence
