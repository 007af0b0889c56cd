"""The methods of a vendor beside chat and vectors, as its file describes them: sound, pictures, judging, sorting.

`docs/providers.md` explains each key.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
UrlPath = Annotated[str, Field(pattern=r"^(/.*)?$")]
# How much a transcript tells: `TranscriptionOptions.Detail`.
Detail: TypeAlias = Literal["text", "segments", "speakers"]


@dataclass(frozen=True, config=STRICT)
class Method:
    """What all these methods have.

    Attributes:
        path: path after the base URL; `{model}` stands for the model's name. Empty if there is no such method.
        lacks: members of OpenAI's request, or of `provider_params`, that the vendor does not have.
        takes: the members of `provider_params` that the vendor has, if it refuses all others; None if it may have any.
        renames: the vendor's names of members, by OpenAI's names.
    """

    path: UrlPath = ""
    lacks: frozenset[str] = frozenset()
    takes: frozenset[str] | None = None
    renames: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, config=STRICT)
class Moderations(Method):
    """The method that judges texts. `images`: whether it judges pictures too."""

    path: UrlPath = "/moderations"
    images: bool = False


@dataclass(frozen=True, config=STRICT)
class Rerank(Method):
    """The method that sorts texts by how well they fit a question.

    `top` is the member for the number of the best that are wanted; empty if there is none. `documents` is the member
    with the texts.
    """

    path: UrlPath = "/rerank"
    documents: str = "documents"
    top: str = "top_n"


_OPENAI_DETAILS: Mapping[Detail, Mapping[str, Any]] = {
    "text": {"response_format": "json"},
    "segments": {"response_format": "verbose_json"},
    "speakers": {"response_format": "diarized_json"},
}


@dataclass(frozen=True, config=STRICT)
class Transcriptions(Method):
    """The method that writes down what is said.

    Attributes:
        translations: path of the method that does it in English; empty if there is none.
        details: for each detail that the vendor has, the members that ask for it.
        streams: whether the text can be had while it is made.
    """

    path: UrlPath = "/audio/transcriptions"
    translations: UrlPath = "/audio/translations"
    details: Mapping[Detail, Mapping[str, Any]] = Field(default_factory=lambda: _OPENAI_DETAILS)
    streams: bool = True


@dataclass(frozen=True, config=STRICT)
class Speech(Method):
    """The method that speaks a text."""

    path: UrlPath = "/audio/speech"


@dataclass(frozen=True, config=STRICT)
class Images(Method):
    """The method that makes pictures.

    Attributes:
        edits: path of the method that changes pictures; empty if there is none.
        form: how pictures are sent to it: as a form with files (OpenAI's), or as JSON with data URLs.
        bytes_word: the value of `response_format` that asks for bytes; empty if it is not sent.
        bytes_only: patterns of the names of models that send bytes only, and refuse `response_format`.
        sides: whether the size is sent as `width` and `height`.
        streams: whether unfinished pictures can be had.
    """

    path: UrlPath = "/images/generations"
    edits: UrlPath = ""
    form: Literal["files", "json"] = "files"
    bytes_word: str = "b64_json"
    bytes_only: tuple[str, ...] = ()
    sides: bool = False
    streams: bool = False
