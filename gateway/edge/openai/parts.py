"""The parts of content in OpenAI's requests. Chat completions and responses have the same ones under other names."""

from typing import Annotated, Any, Literal, Required, final

from pydantic import Field, Tag
from typing_extensions import TypedDict

from gateway.edge.openai.thoughts import RedactedBlock, ThinkingBlock
from gateway.edge.request_model import TextOr, by_member, strict

# Members of a part that providers have, and the contract has no field for.
SENT = frozenset({"cache_control", "prompt_cache_breakpoint", "citations", "title", "context", "uuid"})


class PartMembers(TypedDict, total=False):
    """Members that parts of all types may have: those of SENT."""

    cache_control: dict[str, Any] | None
    prompt_cache_breakpoint: dict[str, Any] | None
    citations: Any
    title: str | None
    context: str | None
    uuid: str | None


@final
@strict
class TextPart(PartMembers, total=False):
    """A text, with the members that a client sends back with the text of an answer; those are ignored."""

    type: Required[Literal["text", "input_text", "output_text"]]
    text: Required[str]
    annotations: Any
    logprobs: Any
    parsed: Any
    id: Any
    index: Any


@final
@strict
class RefusalPart(PartMembers):
    """The text of an assistant's refusal."""

    type: Literal["refusal"]
    refusal: str


@strict
class ImageAddress(TypedDict, total=False):
    """The address of a picture, in chat completions. `format` is its type, which a data URL says too."""

    url: Required[str]
    detail: str | None
    format: Any


@final
@strict
class ImagePart(PartMembers):
    """A picture, in chat completions."""

    type: Literal["image_url"]
    image_url: TextOr[str, ImageAddress]


@final
@strict
class InputImagePart(PartMembers, total=False):
    """A picture, in responses."""

    type: Required[Literal["input_image"]]
    image_url: str | None
    file_id: str | None
    detail: str | None


@strict
class Sound(TypedDict):
    """A sound: its bytes as base64, and how they are coded."""

    data: str
    format: str


@final
@strict
class AudioPart(PartMembers):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: Sound


@strict
class File(TypedDict, total=False):
    """A document, in chat completions. `format` is its type, which a data URL says too."""

    file_data: str | None
    file_id: str | None
    filename: str | None
    format: Any


@final
@strict
class FilePart(PartMembers):
    """A document, in chat completions."""

    type: Literal["file"]
    file: File


@final
@strict
class InputFilePart(PartMembers, total=False):
    """A document, in responses."""

    type: Required[Literal["input_file"]]
    file_data: str | None
    file_id: str | None
    file_url: str | None
    filename: str | None
    detail: str | None


@strict
class UnknownPart(TypedDict):
    """A part whose type is missing or not known. Its `type` has all types of parts."""

    type: Literal[
        "text",
        "refusal",
        "image_url",
        "input_audio",
        "file",
        "thinking",
        "redacted_thinking",
        "input_text",
        "output_text",
        "input_image",
        "input_file",
    ]


Part = (
    TextPart
    | RefusalPart
    | ImagePart
    | InputImagePart
    | AudioPart
    | FilePart
    | InputFilePart
    | ThinkingBlock
    | RedactedBlock
)
# Parts of both interfaces, because libraries send those of one to the other.
TaggedPart = Annotated[
    Annotated[TextPart, Tag("union:text")]
    | Annotated[RefusalPart, Tag("union:refusal")]
    | Annotated[ImagePart, Tag("union:image")]
    | Annotated[InputImagePart, Tag("union:input_image")]
    | Annotated[AudioPart, Tag("union:audio")]
    | Annotated[FilePart, Tag("union:file")]
    | Annotated[InputFilePart, Tag("union:input_file")]
    | Annotated[ThinkingBlock, Tag("union:thought")]
    | Annotated[RedactedBlock, Tag("union:redacted")]
    | Annotated[UnknownPart, Tag("union:unknown")],
    by_member(
        "type",
        {
            "text": "union:text",
            "input_text": "union:text",
            "output_text": "union:text",
            "refusal": "union:refusal",
            "image_url": "union:image",
            "input_image": "union:input_image",
            "input_audio": "union:audio",
            "file": "union:file",
            "input_file": "union:input_file",
            "thinking": "union:thought",
            "redacted_thinking": "union:redacted",
        },
        "union:unknown",
    ),
]
# The contract's limit.
Parts = Annotated[list[TaggedPart], Field(fail_fast=True, max_length=1024)]
