"""Members that chat completions and responses have in common."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from soma.errors.v1 import reasons
from typing_extensions import TypedDict

from gateway.edge.openai.extension import Extension, ExtensionRequest
from gateway.edge.openai.words import UNSUPPORTED, refuse, unsupported
from gateway.edge.request_model import TextOr, must, strict

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Logprobs = Annotated[int, Field(ge=0, le=20)]
# The effort of a model that thinks. The model itself refuses values that it does not support.
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
# 0 and -1 turn it off, as vLLM has it.
TopK = Annotated[int, Field(ge=-1, le=1000)]
Repetition = Annotated[float, Field(ge=0, le=2)]
# Which of a provider's servers answer; the words differ between providers.
ServiceTier = Annotated[str, Field(max_length=64)]
# The values that leave the choice to the provider.
ANY_TIER = ("auto", "default")
_LABEL = "Invalid '{param}': a key has at most 64 characters, a value at most 512."
Metadata = Annotated[
    dict[
        Annotated[str, must(lambda key: len(key) <= 64, reasons.STRING_ABOVE_MAX_LENGTH, _LABEL)],
        Annotated[str, must(lambda label: len(label) <= 512, reasons.STRING_ABOVE_MAX_LENGTH, _LABEL)],
    ],
    Field(max_length=16),
]
# What a response may include beside the usual. Most of it belongs to OpenAI's own tools, which no answer here has used.
Includable = Literal[
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]
# A parameter that is permitted as long as its value has no effect.
Off = Annotated[Any, must(lambda value: value in (None, False), reasons.UNSUPPORTED_PARAMETER, UNSUPPORTED)]


@strict
class ConversationObject(TypedDict):
    """A conversation by its id."""

    id: str


Conversation = TextOr[str, ConversationObject]


class Parameters(TypedDict, total=False):
    """The parameters that requests for chat completions and for responses have in common."""

    model: str | None
    stream: bool | None
    temperature: Temperature | None
    top_p: Share | None
    top_k: TopK | None
    repetition_penalty: Repetition | None
    top_logprobs: Logprobs | None
    parallel_tool_calls: bool | None
    user: str | None
    conversation: Conversation | None
    metadata: Metadata | None
    service_tier: ServiceTier | None
    soma: ExtensionRequest | None
    # Hints to OpenAI's own caches and abuse checks: the answer is the same without them.
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    prompt_cache_options: dict[str, Any] | None


def conversation_of(conversation: str | ConversationObject | None) -> str:
    """The id of a conversation, from a string or an object; empty if there is no conversation."""
    return conversation["id"] if isinstance(conversation, dict) else conversation or ""


def check_stream_options(given: Mapping[str, Any]) -> None:
    """Refuse options of a stream without a stream.

    Raises:
        InvalidArgument: they are there.
    """
    if given.get("stream_options") is not None and not given.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        refuse(message, "stream_options", reasons.INVALID_VALUE)


def top_k_of(top_k: int | None) -> int | None:
    """The contract's `top_k`; None if it is turned off."""
    return top_k if top_k is not None and top_k > 0 else None


def wanted_tier(tier: str | None) -> tuple[str, ...]:
    """The name of the parameter, if it asks for certain servers."""
    return ("service_tier",) if tier not in (None, *ANY_TIER) else ()


def dropped(params: Iterable[str], extension: Extension) -> list[str]:
    """The parameters that are not supported and are left out.

    Raises:
        InvalidArgument: the client did not allow dropping them.
    """
    names = list(params)
    if names and not extension.drop_params:
        unsupported(names[0])
    return names
