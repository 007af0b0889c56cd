"""Members that chat completions and responses have alike."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field
from soma.errors.v1 import reasons
from typing_extensions import TypedDict

from gateway.edge.openai.extension import Extension
from gateway.edge.openai.words import UNSUPPORTED, unsupported
from gateway.edge.request_model import TextOr, must, strict

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Logprobs = Annotated[int, Field(ge=0, le=20)]
# How much a model that thinks may think; it says itself which of these it does not take.
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# Which of OpenAI's machines answer.
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
# Those that leave it to the server.
ANY_TIER = ("auto", "default")
_LABEL = "Invalid '{param}': a key has at most 64 characters, a value at most 512."
Metadata = Annotated[
    dict[
        Annotated[str, must(lambda key: len(key) <= 64, reasons.STRING_ABOVE_MAX_LENGTH, _LABEL)],
        Annotated[str, must(lambda label: len(label) <= 512, reasons.STRING_ABOVE_MAX_LENGTH, _LABEL)],
    ],
    Field(max_length=16),
]
# A parameter that may be given as long as it asks for nothing.
Off = Annotated[Any, must(lambda value: value in (None, False), reasons.UNSUPPORTED_PARAMETER, UNSUPPORTED)]


@strict
class ConversationObject(TypedDict):
    """A conversation by its id."""

    id: str


Conversation = TextOr[str, ConversationObject]


def conversation_of(conversation: str | ConversationObject | None) -> str:
    """A conversation's id, which stands by itself or in an object; empty without one."""
    return conversation["id"] if isinstance(conversation, dict) else conversation or ""


def dropped(params: Iterable[str], extension: Extension) -> list[str]:
    """The parameters that are not supported and are left out.

    Raises:
        InvalidArgument: the client did not allow that.
    """
    names = list(params)
    if names and not extension.drop_params:
        unsupported(names[0])
    return names
