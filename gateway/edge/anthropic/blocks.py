"""The content blocks of a request, and their translation to the contract's parts.

Members that are not known are ignored in blocks: a client sends back what an answer had, with what its library added.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Required, TypeAlias, final

from pydantic import Field, Tag
from soma.model.v1.message_pb2 import Media, Message, Part
from typing_extensions import TypedDict

from gateway.edge.anthropic.words import missing, refuse
from gateway.edge.media import MEDIA_TYPE, Attached, Inline
from gateway.edge.provider_params import sent
from gateway.edge.request_model import TextOr, by_member, lenient

# Members of a block that the contract has no field for. The provider gets those that it knows.
SENT = frozenset({"cache_control", "citations", "context", "title"})


class Marked(TypedDict, total=False):
    """A block that may have a mark for the provider's cache."""

    cache_control: dict[str, Any] | None


@final
@lenient
class TextBlock(Marked, total=False):
    """A text. Its citations are those of an answer."""

    type: Required[Literal["text"]]
    text: Required[str]


@final
@lenient
class Source(TypedDict, total=False):
    """Where the content of a picture or a document is."""

    type: Required[Literal["base64", "url", "file", "text", "content"]]
    media_type: str | None
    data: str | None
    url: str | None
    file_id: str | None
    content: TextOr[str, list[TextBlock]] | None


@final
@lenient
class ImageBlock(Marked):
    """A picture."""

    type: Literal["image"]
    source: Source


@final
@lenient
class DocumentBlock(Marked, total=False):
    """A document: a PDF, or a text."""

    type: Required[Literal["document"]]
    source: Required[Source]
    title: str | None
    context: str | None
    citations: Any


@final
@lenient
class ToolUseBlock(Marked, total=False):
    """A call of a tool. `extra_content` is what Gemini adds to a call, as this API gave it."""

    type: Required[Literal["tool_use"]]
    id: Required[str]
    name: Required[str]
    input: Required[dict[str, Any]]
    extra_content: Any


@final
@lenient
class ThinkingBlock(TypedDict):
    """A thought, with the signature that it came with."""

    type: Literal["thinking"]
    thinking: str
    signature: str


@final
@lenient
class RedactedBlock(TypedDict):
    """A thought that only its provider can read."""

    type: Literal["redacted_thinking"]
    data: str


@lenient
class UnknownResultBlock(TypedDict):
    """A block of another type in a result. Its `type` has all types that there are."""

    type: Literal["text", "image", "document"]


_RESULT_TAGS = {"text": "union:text", "image": "union:image", "document": "union:document"}
ResultBlock = Annotated[
    Annotated[TextBlock, Tag("union:text")]
    | Annotated[ImageBlock, Tag("union:image")]
    | Annotated[DocumentBlock, Tag("union:document")]
    | Annotated[UnknownResultBlock, Tag("union:unknown")],
    by_member("type", _RESULT_TAGS, "union:unknown"),
]


@final
@lenient
class ToolResultBlock(Marked, total=False):
    """The result of a tool."""

    type: Required[Literal["tool_result"]]
    tool_use_id: Required[Annotated[str, Field(min_length=1, max_length=256)]]
    content: TextOr[str, Annotated[list[ResultBlock], Field(fail_fast=True, max_length=1024)]] | None
    is_error: bool | None


@lenient
class UnknownBlock(TypedDict):
    """A block of another type. Its `type` has all types that there are."""

    type: Literal["text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"]


Block = Annotated[
    Annotated[TextBlock, Tag("union:text")]
    | Annotated[ImageBlock, Tag("union:image")]
    | Annotated[DocumentBlock, Tag("union:document")]
    | Annotated[ToolUseBlock, Tag("union:call")]
    | Annotated[ToolResultBlock, Tag("union:result")]
    | Annotated[ThinkingBlock, Tag("union:thought")]
    | Annotated[RedactedBlock, Tag("union:redacted")]
    | Annotated[UnknownBlock, Tag("union:unknown")],
    by_member(
        "type",
        {
            **_RESULT_TAGS,
            "tool_use": "union:call",
            "tool_result": "union:result",
            "thinking": "union:thought",
            "redacted_thinking": "union:redacted",
        },
        "union:unknown",
    ),
]
Blocks = Annotated[list[Block], Field(fail_fast=True, max_length=1024)]
Shown: TypeAlias = TextBlock | ImageBlock | DocumentBlock


def add_shown(message: Message, blocks: Sequence[Any], where: str, attached: Attached, first: int = 0) -> None:
    """Add texts, pictures and documents; one plain text is the message's content, and all else its parts.

    `first` is the place of the first block at `where`.

    Raises:
        InvalidArgument: a source is not valid; the error names it.
    """
    if len(blocks) == 1 and not message.parts and not message.content:
        only = blocks[0]
        if only["type"] == "text" and only.get("cache_control") is None:
            message.content = only["text"]
            return
    for index, block in enumerate(blocks, first):
        _add(message.parts.add(), block, f"{where}.{index}", attached)


def _add(part: Part, block: Shown, where: str, attached: Attached) -> None:
    if block["type"] == "text":
        part.text.text = block["text"]
    elif block["type"] == "image":
        _picture(part.image, block["source"], f"{where}.source", attached)
    else:
        if title := block.get("title"):
            part.file.name = title[:512]
        _document(part.file, block["source"], f"{where}.source", attached)
    names = SENT if block["type"] == "document" else ("cache_control",)
    if params := sent(block, names, where):
        part.provider_params = params


def _picture(media: Media, source: Source, where: str, attached: Attached) -> None:
    if source["type"] not in ("base64", "url", "file"):
        refuse(f"{where}.type", "Input should be one of 'base64', 'url', 'file'")
    _elsewhere(media, source, where, attached, "image/")


def _document(media: Media, source: Source, where: str, attached: Attached) -> None:
    if source["type"] == "text":
        media.data, media.media_type = _given(source, "data", where).encode(), "text/plain"
    elif source["type"] == "content":
        content = source.get("content")
        if not content:
            missing(f"{where}.content")
        text = content if isinstance(content, str) else "\n".join(each["text"] for each in content)
        media.data, media.media_type = text.encode(), "text/plain"
    else:
        _elsewhere(media, source, where, attached, "")


def _elsewhere(media: Media, source: Source, where: str, attached: Attached, kind: str) -> None:
    """Set bytes, an address or the id of a file."""
    if source["type"] == "base64":
        media_type = _given(source, "media_type", where)
        if not MEDIA_TYPE.fullmatch(media_type) or not media_type.startswith(kind):
            refuse(f"{where}.media_type", f"'{media_type[:128]}' is not a media type that can be here")
        media.media_type = media_type
        attached.inline.append(Inline(media, _given(source, "data", where), f"{where}.data"))
    elif source["type"] == "url":
        attached.url(media, _given(source, "url", where), f"{where}.url", kind)
    else:
        attached.file(media, _given(source, "file_id", where), f"{where}.file_id")


def _given(source: Source, name: Literal["media_type", "data", "url", "file_id"], where: str) -> str:
    value = source.get(name)
    if not value:
        missing(f"{where}.{name}")
    return value
