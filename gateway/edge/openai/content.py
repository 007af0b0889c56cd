"""The content of OpenAI's messages, items and outputs of tools: a string or an array of parts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

from pydantic import Discriminator, Tag
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Media, Message

from gateway.edge.faults import TEXT_OR_LIST
from gateway.edge.media import Attached
from gateway.edge.openai.parts import SENT, Part, UnknownPart
from gateway.edge.openai.thoughts import add_block
from gateway.edge.openai.words import missing, refuse
from gateway.edge.provider_params import sent

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


def _branch(value: object) -> str | None:
    return "union:text" if type(value) is str else "union:list" if type(value) is list else None


L = TypeVar("L")
# A string, or a list of this type.
Content = Annotated[
    Annotated[str, Tag("union:text")] | Annotated[L, Tag("union:list")],
    Discriminator(_branch, custom_error_type=TEXT_OR_LIST, custom_error_message="neither a string nor an array"),
]


def add_content(
    message: Message,
    content: str | Sequence[Part | UnknownPart],
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
    parts = cast("Sequence[Part]", content)
    if len(parts) == 1 and "text" in parts[0] and SENT.isdisjoint(parts[0]) and not message.parts:
        message.content = parts[0]["text"]
        return
    for index, part in enumerate(parts):
        _add_part(message, part, f"{where}[{index}]", attached)


def _add_part(message: Message, part: Part, where: str, attached: Attached) -> None:
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
