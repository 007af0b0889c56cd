"""A chat completion request: its parameters, and its translation to the contract's ChatRequest."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import GenerationOptions, ReasoningOptions, Sampling
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from typing_extensions import TypedDict

from gateway.edge.openai import shared
from gateway.edge.openai.extension import NOTHING, Extension, ExtensionRequest, extension_of
from gateway.edge.openai.messages import ChatMessages, add_messages
from gateway.edge.openai.tools import ChatFormat, ChatToolChoice, ChatTools, format_of, tool_choice_of, tool_of
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.request_model import Reader, TextOr, must, strict

INT32 = 2**31
INT64 = 2**63
# Parameters that are not supported, with the value that has no effect, if there is one.
UNSUPPORTED: dict[str, Any] = {
    "audio": None,
    "function_call": None,
    "functions": [],
    "logit_bias": {},
    "modalities": ["text"],
    "moderation": None,
    "prediction": None,
    "store": False,
    "verbosity": "medium",
    "web_search_options": None,
}
# Parameters that are part of the contract's Sampling.
SAMPLED = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty"),
        *("stop", "seed", "logprobs", "top_logprobs"),
    }
)
Penalty = Annotated[float, Field(ge=-2, le=2)]
Stop = Annotated[
    str,
    must(
        lambda text: 0 < len(text) <= 256,
        reasons.INVALID_VALUE,
        "Invalid '{param}': expected a string of 1 to 256 characters.",
    ),
]


@strict
class StreamOptions(TypedDict, total=False):
    """The options of a stream."""

    include_usage: bool | None
    include_obfuscation: shared.Off


@strict
class ChatCompletionRequest(TypedDict, total=False):
    """All permitted parameters; null is the same as an absent parameter."""

    model: str | None
    messages: ChatMessages | None
    stream: bool | None
    stream_options: StreamOptions | None
    max_tokens: shared.Tokens | None
    max_completion_tokens: shared.Tokens | None
    temperature: shared.Temperature | None
    top_p: shared.Share | None
    frequency_penalty: Penalty | None
    presence_penalty: Penalty | None
    stop: TextOr[Stop, Annotated[list[Stop], Field(fail_fast=True, max_length=4)]] | None
    seed: Annotated[int, Field(ge=-INT64, le=INT64 - 1)] | None
    n: Annotated[int, Field(ge=1, le=128)] | None
    logprobs: bool | None
    top_logprobs: shared.Logprobs | None
    reasoning_effort: shared.Effort | None
    tools: ChatTools | None
    tool_choice: ChatToolChoice | None
    parallel_tool_calls: bool | None
    response_format: ChatFormat | None
    user: str | None
    conversation: shared.Conversation | None
    metadata: shared.Metadata | None
    service_tier: shared.ServiceTier | None
    soma: ExtensionRequest | None
    # Hints to OpenAI's own caches and abuse checks: the answer is the same without them.
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_retention: str | None
    prompt_cache_options: dict[str, Any] | None
    # The parameters of UNSUPPORTED.
    audio: Any
    function_call: Any
    functions: Any
    logit_bias: Any
    modalities: Any
    moderation: Any
    prediction: Any
    store: Any
    verbosity: Any
    web_search_options: Any


READER = Reader(ChatCompletionRequest, BODY)


@dataclass(slots=True)
class Ask:
    """The content of a client's request: the turn, and the form of the answer."""

    request: ChatRequest = field(default_factory=ChatRequest)
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)


def read_chat_request(body: bytes | bytearray) -> Ask:
    """Read the body of a request.

    Raises:
        InvalidArgument: with OpenAI's message; the first violation is the parameter at fault.
    """
    given = READER.json(body)
    extension = extension_of(given.get("soma"))
    left_out = shared.dropped(_unsupported(given), extension)
    messages = given.get("messages")
    if messages is None:
        missing("messages")
    _check_together(given)
    request = ChatRequest(
        model=given.get("model") or "",
        conversation_id=shared.conversation_of(given.get("conversation")),
        strategy=extension.strategy,
        options=_options(given, extension),
    )
    add_messages(request.messages, messages)
    return Ask(
        request=request,
        stream=bool(given.get("stream")),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
        choices=given.get("n") or 1,
        extension=extension,
        dropped=left_out,
    )


def _unsupported(given: ChatCompletionRequest) -> Iterator[str]:
    """The parameters of the request that are not supported."""
    for name, value in given.items():
        if name in UNSUPPORTED and value not in (None, UNSUPPORTED[name]):
            yield name
    if given.get("service_tier") not in (None, *shared.ANY_TIER):
        yield "service_tier"


def _check_together(given: ChatCompletionRequest) -> None:
    if given.get("stream_options") is not None and not given.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        refuse(message, "stream_options", reasons.INVALID_VALUE)
    if given.get("max_tokens") is not None and given.get("max_completion_tokens") is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        refuse(message, "max_tokens", reasons.INVALID_VALUE)
    if given.get("top_logprobs") is not None and not given.get("logprobs"):
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        refuse(message, "top_logprobs", reasons.INVALID_VALUE)
    if (given.get("n") or 1) > 1 and shared.conversation_of(given.get("conversation")):
        message = "Invalid 'n': a conversation goes on with one answer, so 'n' has to be 1 with 'conversation'."
        refuse(message, "n", reasons.INVALID_VALUE)
    if not given.get("tools"):
        for name in ("tool_choice", "parallel_tool_calls"):
            if given.get(name) not in (None, "none"):
                message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                refuse(message, name, reasons.INVALID_VALUE)


def _options(given: ChatCompletionRequest, extension: Extension) -> GenerationOptions:
    effort = given.get("reasoning_effort")
    options = GenerationOptions(
        sampling=_sampling(given),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        reasoning=None if effort is None else ReasoningOptions(effort=effort),
        user=given.get("user") or "",
        drop_params=extension.drop_params,
    )
    options.tools.extend(tool_of(tool["function"]) for tool in given.get("tools") or ())
    if choice := given.get("tool_choice"):
        options.tool_choice.CopyFrom(tool_choice_of(choice if isinstance(choice, str) else choice["function"]))
    if form := given.get("response_format"):
        where = "response_format"
        asked = format_of(form["json_schema"], where) if "json_schema" in form else format_of(form, where)
        options.response_format.CopyFrom(asked)
    return options


def _sampling(given: ChatCompletionRequest) -> Sampling | None:
    if SAMPLED.isdisjoint(given):
        return None
    stop, seed, logprobs = given.get("stop"), given.get("seed"), given.get("top_logprobs")
    sampling = Sampling(
        max_tokens=given.get("max_completion_tokens") or given.get("max_tokens"),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        frequency_penalty=given.get("frequency_penalty"),
        presence_penalty=given.get("presence_penalty"),
        stop_sequences=[stop] if isinstance(stop, str) else stop,
        seed=None if seed is None else _folded(seed),
        top_logprobs=0 if logprobs is None and given.get("logprobs") else logprobs,
    )
    return sampling if sampling.ByteSize() else None


def _folded(seed: int) -> int:
    """A seed with the 32 bits of the contract. A larger seed is folded, so that equal seeds stay equal."""
    return seed if -INT32 <= seed < INT32 else (seed ^ seed >> 32) & (INT32 - 1)
