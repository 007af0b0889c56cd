"""Content that is a string or an array of parts, in OpenAI's messages, items and outputs of tools."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, final

from pydantic import AfterValidator, Discriminator, Tag
from soma.errors.v1 import reasons
from typing_extensions import TypedDict

from gateway.edge.faults import TEXT_OR_LIST, refused
from gateway.edge.request_model import lenient

MEDIA = {
    "image_url": "Image content",
    "input_image": "Image content",
    "input_audio": "Audio content",
    "file": "File content",
    "input_file": "File content",
}


@final
@lenient
class TextPart(TypedDict):
    """A text part. Other members that clients send back are ignored."""

    text: str


@final
@lenient
class RefusalPart(TypedDict):
    """The text of an assistant's refusal."""

    refusal: str


def _refuse(part: dict[str, Any]) -> None:
    kind = part["type"]
    raise refused(reasons.UNSUPPORTED_PARAMETER, f"{MEDIA[kind]} ('{kind}') is not supported here: '{{param}}'.")


# For a part that no model of this mesh can read.
NOT_READ = AfterValidator(_refuse)


def _branch(value: object) -> str | None:
    return "union:text" if type(value) is str else "union:list" if type(value) is list else None


L = TypeVar("L")
# A string, or a list of this type.
Content = Annotated[
    Annotated[str, Tag("union:text")] | Annotated[L, Tag("union:list")],
    Discriminator(_branch, custom_error_type=TEXT_OR_LIST, custom_error_message="neither a string nor an array"),
]


def joined(content: str | Sequence[Mapping[str, object]]) -> str:
    """The text of a string, or of text and refusal parts, with a line break between two parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part["refusal"] if "refusal" in part else part["text"]) for part in content)
