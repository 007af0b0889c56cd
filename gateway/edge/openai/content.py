"""The content of OpenAI's messages, items and outputs of tools: a string or an array of parts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Required, TypeAlias, TypeVar, cast, final

from pydantic import Discriminator, Field, Tag
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Media, Message
from typing_extensions import TypedDict

from gateway.edge.faults import TEXT_OR_LIST
from gateway.edge.media import Attached
from gateway.edge.openai.thoughts import RedactedBlock, ThinkingBlock, add_block
from gateway.edge.openai.words import missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import TextOr, by_member, strict

# Members of a part that providers have, and the contract has no field for.
SENT = frozenset({"cache_control", "prompt_cache_breakpoint", "citations", "title", "context", "uuid"})
KINDS = {
    **dict.fromkeys(("text", "input_text", "output_text"), "text"),
    **dict.fromkeys(("image_url", "input_image"), "image"),
    **dict.fromkeys(("file", "input_file"), "file"),
    **dict.fromkeys(("thinking", "redacted_thinking"), "thought"),
    "input_audio": "audio",
    "refusal": "refusal",
}
_DOCUMENTS = frozenset({"text", "image", "audio", "file"})
# What the messages of a role may hold.
HELD = {
    ROLE_SYSTEM: frozenset({"text"}),
    ROLE_USER: _DOCUMENTS,
    ROLE_TOOL: _DOCUMENTS,
    ROLE_ASSISTANT: frozenset({"text", "refusal", "thought"}),
}
ROLE_NAMES = {ROLE_SYSTEM: "a system", ROLE_USER: "a user", ROLE_TOOL: "a tool", ROLE_ASSISTANT: "an assistant"}


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
class UnknownChatPart(TypedDict):
    """A part whose type is missing or not known. Its `type` has all types of parts."""

    type: Literal["text", "refusal", "image_url", "input_audio", "file", "thinking", "redacted_thinking"]


@strict
class UnknownResponsePart(TypedDict):
    """The same, in responses."""

    type: Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"]


ChatPart = Annotated[
    Annotated[TextPart, Tag("union:text")]
    | Annotated[RefusalPart, Tag("union:refusal")]
    | Annotated[ImagePart, Tag("union:image")]
    | Annotated[AudioPart, Tag("union:audio")]
    | Annotated[FilePart, Tag("union:file")]
    | Annotated[ThinkingBlock, Tag("union:thought")]
    | Annotated[RedactedBlock, Tag("union:redacted")]
    | Annotated[UnknownChatPart, Tag("union:unknown")],
    by_member(
        "type",
        {
            "text": "union:text",
            "refusal": "union:refusal",
            "image_url": "union:image",
            "input_audio": "union:audio",
            "file": "union:file",
            "thinking": "union:thought",
            "redacted_thinking": "union:redacted",
        },
        "union:unknown",
    ),
]
ResponsePart = Annotated[
    Annotated[TextPart, Tag("union:text")]
    | Annotated[RefusalPart, Tag("union:refusal")]
    | Annotated[InputImagePart, Tag("union:image")]
    | Annotated[AudioPart, Tag("union:audio")]
    | Annotated[InputFilePart, Tag("union:file")]
    | Annotated[UnknownResponsePart, Tag("union:unknown")],
    by_member(
        "type",
        {
            "input_text": "union:text",
            "output_text": "union:text",
            "text": "union:text",
            "refusal": "union:refusal",
            "input_image": "union:image",
            "input_audio": "union:audio",
            "input_file": "union:file",
        },
        "union:unknown",
    ),
]
AnyPart: TypeAlias = (
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


def _branch(value: object) -> str | None:
    return "union:text" if type(value) is str else "union:list" if type(value) is list else None


L = TypeVar("L")
# A string, or a list of this type.
Content = Annotated[
    Annotated[str, Tag("union:text")] | Annotated[L, Tag("union:list")],
    Discriminator(_branch, custom_error_type=TEXT_OR_LIST, custom_error_message="neither a string nor an array"),
]
# The contract's limit.
ChatParts = Annotated[list[ChatPart], Field(fail_fast=True, max_length=1024)]
ResponseParts = Annotated[list[ResponsePart], Field(fail_fast=True, max_length=1024)]


def add_content(
    message: Message,
    content: str | Sequence[AnyPart | UnknownChatPart | UnknownResponsePart],
    where: str,
    attached: Attached,
) -> None:
    """Add content to a message; `where` is its parameter. One text is the message's content, and all else its parts.

    Raises:
        InvalidArgument: a part does not belong into a message of this role, or is not valid; the error names it.
    """
    if isinstance(content, str):
        # A message's content comes before its parts, and a thought comes before the text.
        if message.parts:
            message.parts.add().text.text = content
        else:
            message.content = content
        return
    # The model of the request has refused parts of unknown types.
    parts = cast("Sequence[AnyPart]", content)
    if len(parts) == 1 and "text" in parts[0] and SENT.isdisjoint(parts[0]) and not message.parts:
        message.content = parts[0]["text"]
        return
    for index, part in enumerate(parts):
        _add_part(message, part, f"{where}[{index}]", attached)


def _add_part(message: Message, part: AnyPart, where: str, attached: Attached) -> None:
    kind = KINDS[part["type"]]
    if kind not in HELD[message.role]:
        text = f"Invalid '{where}': {ROLE_NAMES[message.role]} message cannot have a part of the type '{part['type']}'."
        refuse(text, where, reasons.INVALID_VALUE)
    if part["type"] == "thinking" or part["type"] == "redacted_thinking":
        add_block(message, part)
        return
    added = message.parts.add()
    if not SENT.isdisjoint(part) and (params := sent(part, SENT, where)):
        added.provider_params = params
    if "text" in part:
        added.text.text = part["text"]
    elif "refusal" in part:
        added.text.text = part["refusal"]
    elif part["type"] == "image_url":
        image = part["image_url"]
        if isinstance(image, str):
            attached.url(added.image, image, f"{where}.image_url", "image/")
        else:
            _describe(added.image, image)
            attached.url(added.image, image["url"], f"{where}.image_url.url", "image/")
    elif part["type"] == "input_image":
        _describe(added.image, part)
        _source(added.image, part, where, {"image_url": "image/"}, attached)
    elif "input_audio" in part:
        attached.sound(added.audio, part["input_audio"]["data"], part["input_audio"]["format"], f"{where}.input_audio")
    elif "file" in part:
        _describe(added.file, part["file"])
        _source(added.file, part["file"], f"{where}.file", {}, attached)
    elif part["type"] == "input_file":
        _describe(added.file, part)
        _source(added.file, part, where, {"file_url": ""}, attached)


def _describe(media: Media, given: Mapping[str, Any]) -> None:
    if name := given.get("filename"):
        media.name = name[:512]
    if detail := given.get("detail"):
        media.detail = detail


def _source(media: Media, given: Mapping[str, Any], where: str, urls: Mapping[str, str], attached: Attached) -> None:
    """Set the one source that is given; `urls` are the members that are addresses, and the kinds of their data."""
    names = [name for name in ("file_data", "file_id", *urls) if given.get(name) is not None]
    if not names:
        missing(f"{where}.{next(iter(urls), 'file_data')}")
    name, param = names[0], f"{where}.{names[0]}"
    if len(names) > 1:
        message = f"Invalid '{where}': send only one of '{name}' and '{names[1]}'."
        refuse(message, param, reasons.MUTUALLY_EXCLUSIVE_PARAMETERS)
    if name in urls:
        attached.url(media, given[name], param, urls[name])
    elif name == "file_id":
        attached.file(media, given[name], param)
    else:
        attached.document(media, given[name], param)
