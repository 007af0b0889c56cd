"""A request for a response: its parameters, and its translation to the contract's CreateResponseRequest."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, Sampling
from soma.orchestrator.v1.response_service_pb2 import CreateResponseRequest, ResponseSettings
from typing_extensions import TypedDict

from gateway.edge.media import Attached, Inline
from gateway.edge.openai import shared
from gateway.edge.openai.extension import NOTHING, Extension, extension_of
from gateway.edge.openai.response_items import ResponseItems, add_inputs
from gateway.edge.openai.tools import (
    ResponseTextFormat,
    ResponseToolChoice,
    ResponseTools,
    format_of,
    tool_choice_of,
    tool_of,
)
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import Reader, strict

# Parameters that are not supported; an empty value has no effect.
UNSUPPORTED = frozenset({"access_programs", "context_management", "image", "moderation", "prompt"})
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
Penalty = Annotated[float, Field(ge=-2, le=2)]


@strict
class ResponseStreamOptions(TypedDict, total=False):
    """The options of a stream."""

    include_obfuscation: bool | None


@strict
class TextSettings(TypedDict, total=False):
    """The options of the answer's text."""

    format: ResponseTextFormat | None
    verbosity: str | None


@with_config(ConfigDict(strict=True, extra="allow"))
class Reasoning(TypedDict, total=False):
    """The options of a model's thinking. An answer has the thoughts that the provider shows, asked for or not."""

    effort: shared.Effort | None
    max_tokens: shared.Tokens | None
    summary: Literal["auto", "concise", "detailed"] | None
    generate_summary: Literal["auto", "concise", "detailed"] | None


@with_config(ConfigDict(strict=True, extra="allow"))
class ResponseRequest(shared.Parameters, total=False):
    """The parameters that are read; null is the same as an absent parameter. Others reach the provider as they are."""

    input: ResponseItems | None
    instructions: str | None
    previous_response_id: str | None
    store: bool | None
    background: bool | None
    stream_options: ResponseStreamOptions | None
    presence_penalty: Penalty | None
    frequency_penalty: Penalty | None
    max_output_tokens: shared.Tokens | None
    tools: ResponseTools | None
    tool_choice: ResponseToolChoice | None
    # A limit on calls of OpenAI's own tools, which do not exist here.
    max_tool_calls: shared.Tokens | None
    text: TextSettings | None
    include: Annotated[list[shared.Includable], Field(max_length=32)] | None
    reasoning: Reasoning | None
    # With `auto` a server may leave out the oldest input. This one never does, and the response says so.
    truncation: Literal["auto", "disabled"] | None
    # What a client says to OpenAI's statistics: the answer is the same without it.
    client_metadata: dict[str, Any] | None
    # The parameters of UNSUPPORTED.
    access_programs: Any
    context_management: Any
    image: Any
    moderation: Any
    prompt: Any


READER = Reader(ResponseRequest, BODY)
READ = frozenset(ResponseRequest.__annotations__)


@dataclass(slots=True)
class ResponseAsk:
    """The content of a client's request: the response, and the form of the answer.

    Attributes:
        encrypted: the thoughts of the answer have their `encrypted_content`.
        obfuscated: the pieces of a stream have a member that hides their lengths.
        inline: the bytes that the request has in itself; they have to be held before the response is asked for.
    """

    request: CreateResponseRequest = field(default_factory=CreateResponseRequest)
    stream: bool = False
    encrypted: bool = False
    obfuscated: bool = False
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)
    inline: list[Inline] = field(default_factory=list)


def read_response_request(body: bytes | bytearray, *, counted: bool = False) -> ResponseAsk:
    """Read the body of a request. If its tokens are only `counted`, the input may come from a response or conversation.

    Raises:
        InvalidArgument: with OpenAI's message; the first violation is the parameter at fault.
    """
    return response_ask(READER.json(body), counted=counted)


def response_ask(given: ResponseRequest, *, counted: bool = False) -> ResponseAsk:
    """What a checked request asks for; with `counted` it needs no input if it continues something.

    Raises:
        InvalidArgument: with OpenAI's message; the first violation is the parameter at fault.
    """
    extension = extension_of(given.get("soma"))
    left_out = shared.dropped(_unsupported(given), extension)
    asked = given.get("input")
    if asked is None and not (counted and (given.get("previous_response_id") or given.get("conversation"))):
        missing("input")
    _check_together(given)
    request = CreateResponseRequest(
        model=given.get("model") or "",
        settings=ResponseSettings(
            instructions=given.get("instructions") or "",
            metadata=given.get("metadata"),
            previous_response_id=given.get("previous_response_id") or "",
            conversation_id=shared.conversation_of(given.get("conversation")),
            strategy=extension.strategy,
            store=given.get("store"),
            background=bool(given.get("background")),
            options=_options(given, extension),
            max_tool_calls=given.get("max_tool_calls"),
            safety_identifier=given.get("safety_identifier") or "",
            prompt_cache_key=given.get("prompt_cache_key") or "",
            reasoning_summary=_summary(given.get("reasoning") or {}),
        ),
    )
    attached = Attached()
    if asked is not None:
        add_inputs(request.input, asked, attached)
    return ResponseAsk(
        request=request,
        stream=bool(given.get("stream")),
        encrypted=ENCRYPTED in (given.get("include") or ()),
        obfuscated=bool((given.get("stream_options") or {}).get("include_obfuscation")),
        extension=extension,
        dropped=left_out,
        inline=attached.inline,
    )


def _unsupported(given: ResponseRequest) -> Iterator[str]:
    """The parameters of the request that are not supported."""
    for name, value in given.items():
        if name in UNSUPPORTED and value not in (None, {}, []):
            yield name
    for name, value in (given.get("reasoning") or {}).items():
        if name not in Reasoning.__annotations__ and value is not None:
            yield f"reasoning.{name}"


def _check_together(given: ResponseRequest) -> None:
    if given.get("previous_response_id") and shared.conversation_of(given.get("conversation")):
        message = (
            "Mutually exclusive parameters: Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'."
        )
        refuse(message, "previous_response_id", reasons.MUTUALLY_EXCLUSIVE_PARAMETERS)
    if given.get("background") and given.get("store") is False:
        refuse("Invalid 'background': it requires 'store' to be true.", "background", reasons.INVALID_VALUE)
    if not given.get("tools") and given.get("tool_choice") not in (None, "auto", "none"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        refuse(message, "tool_choice", reasons.INVALID_VALUE)


def _summary(reasoning: Reasoning) -> str:
    return reasoning.get("summary") or reasoning.get("generate_summary") or ""


def _options(given: ResponseRequest, extension: Extension) -> GenerationOptions:
    reasoning = given.get("reasoning") or {}
    effort, budget = reasoning.get("effort"), reasoning.get("max_tokens")
    options = GenerationOptions(
        sampling=_sampling(given),
        reasoning=None if effort is None and budget is None else ReasoningOptions(effort=effort, budget_tokens=budget),
        user=given.get("user") or "",
        drop_params=extension.drop_params,
        # A response made in the background is streamed, because its events can be read while it is being made.
        whole=not given.get("stream") and not given.get("background"),
    )
    if form := (given.get("text") or {}).get("format"):
        options.response_format.CopyFrom(format_of(form, "text.format"))
    if tools := given.get("tools"):
        options.tools.extend(tool_of(tool, f"tools[{index}]") for index, tool in enumerate(tools))
        if choice := given.get("tool_choice"):
            options.tool_choice.CopyFrom(tool_choice_of(choice))
        parallel = given.get("parallel_tool_calls")
        if parallel is not None:
            options.parallel_tool_calls = parallel
    others: dict[str, Any] = {name: value for name, value in given.items() if name not in READ}
    others |= {name: given.get(name) for name in shared.wanted_tier(given.get("service_tier"))}
    if (verbosity := (given.get("text") or {}).get("verbosity")) != "medium":
        others["verbosity"] = verbosity
    if params := sent(others, others):
        options.provider_params = params
    return options


def _sampling(given: ResponseRequest) -> Sampling | None:
    # Zero alternatives have an effect only if the client asks for the probabilities.
    asked = LOGPROBS in (given.get("include") or ())
    sampling = Sampling(
        max_tokens=given.get("max_output_tokens"),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        top_k=shared.top_k_of(given.get("top_k")),
        repetition_penalty=given.get("repetition_penalty"),
        presence_penalty=given.get("presence_penalty"),
        frequency_penalty=given.get("frequency_penalty"),
        top_logprobs=given.get("top_logprobs") or (0 if asked else None),
    )
    return sampling if sampling.ByteSize() else None
