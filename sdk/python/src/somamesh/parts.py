"""The parts of a message: texts, pictures, sounds, documents and thoughts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from soma.model.v1 import message_pb2 as model

from somamesh.json_values import from_json, to_json
from somamesh.media import Audio, File, Image, media_fields, to_media


@dataclass(frozen=True, slots=True)
class Citation:
    """A place that an answer refers to: a page of the web, or a part of a document in the conversation.

    Attributes:
        url: the page; empty for a document of the conversation.
        quote: the words of the page or the document; empty when the provider does not quote them.
        start: the first character of the answer's text that it belongs to, counted from 0.
        end: the first character after that part; 0 when the provider does not say where it belongs.
        details: the citation as JSON text, as the provider sent it.
    """

    url: str = ""
    title: str = ""
    quote: str = ""
    start: int = 0
    end: int = 0
    details: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text as a part of a message; `citations` are only in answers.

    Attributes:
        provider_params: members that the contract has no field for, such as `cache_control`; sent as they are.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    provider_params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A thought of the model. It goes back to the provider that made it unchanged, and to no other.

    Attributes:
        text: the thought, or a summary of it; empty when the provider does not show it.
        signature: the provider's signature.
        redacted: the thought in a form that only the provider can read.
        provider: who made it; empty when that is not known.
        details: further members as JSON text, as the provider sent them.
    """

    text: str = ""
    signature: str = field(default="", repr=False)
    redacted: str = field(default="", repr=False)
    provider: str = ""
    details: str = field(default="", repr=False)


Part: TypeAlias = Text | Image | Audio | File | Reasoning

_KINDS: dict[type[Image | Audio | File], str] = {Image: "image", Audio: "audio", File: "file"}


def to_part(part: Part | str) -> model.Part:
    """A part of the contract; a string is a text.

    Raises:
        OSError: a file cannot be read.
        TypeError: it is not a part.
        ValueError: an address is not one, or the type of bytes is not known.
    """
    match part:
        case str():
            return model.Part(text=model.Text(text=part))
        case Text():
            text = model.Text(text=part.text, citations=map(_to_citation, part.citations))
            return model.Part(text=text, provider_params=to_json(part.provider_params))
        case Image() | Audio() | File():
            made = model.Part(provider_params=to_json(part.provider_params))
            getattr(made, _KINDS[type(part)]).CopyFrom(to_media(part))
            return made
        case Reasoning():
            thought = model.Reasoning(
                text=part.text,
                signature=part.signature,
                redacted=part.redacted,
                provider=part.provider,
                details=part.details,
            )
            return model.Part(reasoning=thought)
    raise TypeError(f"a part is a text, Text, Image, Audio, File or Reasoning, not {part!r:.80}")


def from_part(part: model.Part) -> Part | None:
    """Convert a part; None for a part that is newer than this package."""
    params = from_json(part.provider_params)
    match part.WhichOneof("part"):
        case "text":
            return Text(part.text.text, from_citations(part.text.citations), provider_params=params)
        case "image":
            return Image(**media_fields(part.image), detail=part.image.detail, provider_params=params)
        case "audio":
            return Audio(**media_fields(part.audio), provider_params=params)
        case "file":
            return File(**media_fields(part.file), provider_params=params)
        case "reasoning":
            return from_reasoning(part.reasoning)
    return None


def from_reasoning(thought: model.Reasoning) -> Reasoning:
    """Convert a thought."""
    return Reasoning(thought.text, thought.signature, thought.redacted, thought.provider, thought.details)


def from_citations(citations: Iterable[model.Citation]) -> tuple[Citation, ...]:
    """Convert the places that a text refers to."""
    return tuple(Citation(each.url, each.title, each.quote, each.start, each.end, each.details) for each in citations)


def _to_citation(citation: Citation) -> model.Citation:
    return model.Citation(
        url=citation.url,
        title=citation.title,
        quote=citation.quote,
        start=citation.start,
        end=citation.end,
        details=citation.details,
    )
