"""A chat completion request: its parameters, and its translation to the contract's ChatRequest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Required, TypeVar

from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import GenerationOptions, Sampling
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from typing_extensions import TypedDict

from gateway.edge.media import Attached, Inline
from gateway.edge.openai import shared
from gateway.edge.openai.extension import NOTHING, Extension, ExtensionRequest, extension_of
from gateway.edge.openai.messages import ChatMessages, add_messages
from gateway.edge.openai.tools import ChatFormat, ChatToolChoice, ChatTools, chat_tool_of, format_of, tool_choice_of
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import Reader, TextOr, must, strict

T = TypeVar("T")
INT32 = 2**31
INT64 = 2**63
# Parameters that are not supported, with the value that has no effect, if there is one: the older form of tools, and
# answers that are sounds or pictures.
UNSUPPORTED: dict[str, Any] = {"audio": None, "function_call": None, "functions": [], "modalities": ["text"]}
# Values that have no effect, of parameters that the contract has no field for.
NO_EFFECT: dict[str, Any] = {"logit_bias": {}, "store": False, "verbosity": "medium", "prediction": {}}
# Parameters that are part of the contract's Sampling.
SAMPLED = frozenset(
    {
        *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "repetition_penalty"),
        *("frequency_penalty", "presence_penalty", "stop", "seed", "logprobs", "top_logprobs"),
    }
)
# Parameters that say how much the model thinks.
THINKING = frozenset({"reasoning_effort", "reasoning", "thinking"})
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
class ReasoningSettings(TypedDict, total=False):
    """How much a model thinks, in OpenRouter's form; `exclude` leaves the thoughts out of the answer."""

    effort: shared.Effort | None
    max_tokens: shared.Tokens | None
    enabled: bool | None
    exclude: bool | None


@with_config(ConfigDict(strict=True, extra="allow"))
class Thinking(TypedDict, total=False):
    """How much a model thinks, in Anthropic's form, and in that of providers which have only the type."""

    type: Required[str]
    budget_tokens: shared.Tokens | None


@with_config(ConfigDict(strict=True, extra="allow"))
class ChatCompletionRequest(TypedDict, total=False):
    """The parameters that are read; null is the same as an absent parameter. Others reach the provider as they are."""

    model: str | None
    messages: ChatMessages | None
    stream: bool | None
    stream_options: StreamOptions | None
    max_tokens: shared.Tokens | None
    max_completion_tokens: shared.Tokens | None
    temperature: shared.Temperature | None
    top_p: shared.Share | None
    top_k: shared.TopK | None
    repetition_penalty: shared.Repetition | None
    frequency_penalty: Penalty | None
    presence_penalty: Penalty | None
    stop: TextOr[Stop, Annotated[list[Stop], Field(fail_fast=True, max_length=16)]] | None
    seed: Annotated[int, Field(ge=-INT64, le=INT64 - 1)] | None
    n: Annotated[int, Field(ge=1, le=128)] | None
    logprobs: bool | None
    top_logprobs: shared.Logprobs | None
    reasoning_effort: shared.Effort | None
    reasoning: ReasoningSettings | None
    thinking: Thinking | None
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
    modalities: Any


READER = Reader(ChatCompletionRequest, BODY)
READ = frozenset(ChatCompletionRequest.__annotations__)


@dataclass(slots=True)
class Ask:
    """The content of a client's request: the turn, and the form of the answer.

    Attributes:
        thoughts: the answer has the model's thoughts.
        inline: the bytes that the request has in itself; they have to be held before the turn is asked for.
    """

    request: ChatRequest = field(default_factory=ChatRequest)
    stream: bool = False
    include_usage: bool = False
    choices: int = 1
    thoughts: bool = True
    extension: Extension = NOTHING
    dropped: list[str] = field(default_factory=list)
    inline: list[Inline] = field(default_factory=list)


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
    attached = Attached()
    add_messages(request.messages, messages, attached)
    return Ask(
        request=request,
        stream=bool(given.get("stream")),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
        choices=given.get("n") or 1,
        thoughts=not (given.get("reasoning") or {}).get("exclude"),
        extension=extension,
        dropped=left_out,
        inline=attached.inline,
    )


def _unsupported(given: ChatCompletionRequest) -> Iterator[str]:
    """The parameters of the request that are not supported."""
    for name, value in given.items():
        if name in UNSUPPORTED and value not in (None, UNSUPPORTED[name]):
            yield name


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
    options = GenerationOptions(
        sampling=_sampling(given),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        user=given.get("user") or "",
        drop_params=extension.drop_params,
        whole=not given.get("stream"),
    )
    if not THINKING.isdisjoint(given):
        _add_reasoning(options, given)
    options.tools.extend(chat_tool_of(tool, f"tools[{index}]") for index, tool in enumerate(given.get("tools") or ()))
    if choice := given.get("tool_choice"):
        options.tool_choice.CopyFrom(tool_choice_of(choice if isinstance(choice, str) else choice["function"]))
    if form := given.get("response_format"):
        where = "response_format"
        asked = format_of(form["json_schema"], where) if "json_schema" in form else format_of(form, where)
        options.response_format.CopyFrom(asked)
    names = [name for name, value in given.items() if name not in READ and value != NO_EFFECT.get(name)]
    names += shared.wanted_tier(given.get("service_tier"))
    # Of an answer that the provider keeps, the labels are for the provider.
    if given.get("store"):
        names.append("metadata")
    thinking = given.get("thinking")
    if thinking is not None and not _is_budget(thinking):
        names.append("thinking")
    if params := sent(given, names):
        options.provider_params = params
    return options


def _add_reasoning(options: GenerationOptions, given: ChatCompletionRequest) -> None:
    """Set how much the model thinks, which clients say in several forms."""
    settings = given.get("reasoning") or {}
    efforts = {"reasoning_effort": given.get("reasoning_effort"), "reasoning.effort": settings.get("effort")}
    budgets: dict[str, int | None] = {"reasoning.max_tokens": settings.get("max_tokens")}
    if (enabled := settings.get("enabled")) is False:
        efforts["reasoning.enabled"] = "none"
    elif enabled and not any(efforts.values()) and not any(budgets.values()):
        # OpenRouter's documentation says that thinking is enabled with this effort.
        efforts["reasoning.enabled"] = "medium"
    thinking = given.get("thinking")
    if thinking is not None and _is_budget(thinking):
        budgets["thinking.budget_tokens"] = thinking.get("budget_tokens")
    if (effort := _one_of(efforts)) is not None:
        options.reasoning.effort = effort
    if (budget := _one_of(budgets)) is not None:
        options.reasoning.budget_tokens = budget


def _is_budget(thinking: Thinking) -> bool:
    """Whether the setting is a budget, for which the contract has a field. Other settings are the provider's own."""
    return thinking["type"] == "enabled" and thinking.keys() == {"type", "budget_tokens"}


def _one_of(given: Mapping[str, T | None]) -> T | None:
    """The value that is set under one of these names."""
    values = {name: value for name, value in given.items() if value is not None}
    if len(set(values.values())) > 1:
        first, second, *_ = values
        message = f"Invalid '{second}': '{first}' has another value; send only one of them."
        refuse(message, second, reasons.MUTUALLY_EXCLUSIVE_PARAMETERS)
    return next(iter(values.values()), None)


def _sampling(given: ChatCompletionRequest) -> Sampling | None:
    if SAMPLED.isdisjoint(given):
        return None
    stop, seed, logprobs = given.get("stop"), given.get("seed"), given.get("top_logprobs")
    sampling = Sampling(
        max_tokens=given.get("max_completion_tokens") or given.get("max_tokens"),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        top_k=shared.top_k_of(given.get("top_k")),
        repetition_penalty=given.get("repetition_penalty"),
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
