"""A chat completion request: its parameters, and its translation to the contract's ChatRequest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Required, TypeVar

from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.options_pb2 import GenerationOptions
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest
from typing_extensions import TypedDict

from gateway.edge.media import Attached
from gateway.edge.openai import sampling, shared
from gateway.edge.openai.ask import Ask
from gateway.edge.openai.completion import ChatForm
from gateway.edge.openai.extension import Extension, extension_of
from gateway.edge.openai.messages import ChatMessages, add_messages
from gateway.edge.openai.tools import ChatFormat, ChatToolChoice, ChatTools, chat_tool_of, format_of, tool_choice_of
from gateway.edge.openai.words import BODY, missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import Reader, strict

T = TypeVar("T")
# Parameters that are not supported, with the value that has no effect, if there is one: the older form of tools, and
# answers that are sounds or pictures.
UNSUPPORTED: dict[str, Any] = {"audio": None, "function_call": None, "functions": [], "modalities": ["text"]}
# Values that have no effect, of parameters that the contract has no field for.
NO_EFFECT: dict[str, Any] = {"logit_bias": {}, "store": False, "verbosity": "medium", "prediction": {}}
# Parameters that say how much the model thinks.
THINKING = frozenset({"reasoning_effort", "reasoning", "thinking"})


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
class ChatCompletionRequest(shared.Parameters, total=False):
    """The parameters that are read; null is the same as an absent parameter. Others reach the provider as they are."""

    messages: ChatMessages | None
    stream_options: sampling.StreamOptions | None
    max_tokens: shared.Tokens | None
    max_completion_tokens: shared.Tokens | None
    frequency_penalty: sampling.Penalty | None
    presence_penalty: sampling.Penalty | None
    stop: sampling.Stops | None
    seed: sampling.Seed | None
    n: Annotated[int, Field(ge=1, le=128)] | None
    logprobs: bool | None
    reasoning_effort: shared.Effort | None
    reasoning: ReasoningSettings | None
    thinking: Thinking | None
    tools: ChatTools | None
    tool_choice: ChatToolChoice | None
    response_format: ChatFormat | None
    # The parameters of UNSUPPORTED.
    audio: Any
    function_call: Any
    functions: Any
    modalities: Any


READER = Reader(ChatCompletionRequest, BODY)
READ = frozenset(ChatCompletionRequest.__annotations__)


@dataclass(slots=True)
class ChatAsk(Ask):
    """A request for a chat completion; `thoughts` says whether the answer has those of the model."""

    thoughts: bool = True

    @property
    def form(self) -> ChatForm:
        return ChatForm(self.thoughts)


def read_chat_request(body: bytes | bytearray) -> ChatAsk:
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
    return ChatAsk(
        request=request,
        stream=bool(given.get("stream")),
        include_usage=bool((given.get("stream_options") or {}).get("include_usage")),
        each=given.get("n") or 1,
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
    shared.check_stream_options(given)
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
        sampling=sampling.sampling_of(given, _top_logprobs(given)),
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


def _top_logprobs(given: ChatCompletionRequest) -> int | None:
    asked = given.get("top_logprobs")
    return 0 if asked is None and given.get("logprobs") else asked


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
